//! What can happen to the bytes between two hosts.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What happens to bytes of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Direction {
    /// Nothing passes. What was sent waits, as TCP's retransmissions would make it, and passes after the repair.
    pub held: bool,
    /// Each piece arrives later by a time drawn between the two, never before the piece that was sent before it.
    pub latency: Option<(Duration, Duration)>,
    /// At most so many bytes a second.
    pub bandwidth: Option<NonZeroU64>,
    /// It ends, as if its sender had finished; the opposite direction stays open. What has ended does not open again.
    pub ended: bool,
}

impl Direction {
    /// A direction through which nothing passes.
    pub const HELD: Self = Self {
        held: true,
        latency: None,
        bandwidth: None,
        ended: false,
    };

    pub(crate) fn alters(&self) -> bool {
        *self != Self::default()
    }
}

/// What happens to new connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accept {
    /// They are carried to the server.
    #[default]
    Carry,
    /// They are reset at once, as if nobody listened.
    Refuse,
}

/// All of it. The default is a faithful link.
///
/// A partition is [`Direction::HELD`] both ways. A new connection is still accepted in it, since the kernel does that;
/// it then hangs where a real one would hang while it connects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// From the client to the server.
    pub to_server: Direction,
    /// From the server to the client.
    pub to_client: Direction,
    /// New connections.
    pub accept: Accept,
}

impl Rules {
    /// A partition: nothing passes either way.
    pub const PARTITION: Self = Self {
        to_server: Direction::HELD,
        to_client: Direction::HELD,
        accept: Accept::Carry,
    };
}

/// One side of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Who connects.
    Client,
    /// Who is connected to.
    Server,
}

/// What faults touched since the start. A fault that touched nothing proves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Connections taken.
    pub connections: u64,
    /// Connections refused.
    pub refused: u64,
    /// Connections reset or half closed.
    pub broken: u64,
    /// Pieces that were held, delayed or slowed.
    pub pieces: u64,
}

impl Touched {
    /// Everything that a fault did.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.refused + self.broken + self.pieces
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub connections: AtomicU64,
    pub refused: AtomicU64,
    pub broken: AtomicU64,
    pub pieces: AtomicU64,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    pub fn touched(&self) -> Touched {
        Touched {
            connections: self.connections.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            broken: self.broken.load(Ordering::Relaxed),
            pieces: self.pieces.load(Ordering::Relaxed),
        }
    }
}
