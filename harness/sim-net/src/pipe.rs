//! One direction of a connection: what was written, when it arrives, what was lost on the way.
//!
//! A pure state machine over bytes and instants. It is told whether the path is open and never asks.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::time::Instant;

use crate::tcp::{self, WINDOW};

/// Where a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    /// There at this time.
    Arrives(Instant),
    /// Nowhere: it will be sent again.
    Lost,
    /// Held on its way.
    Held,
}

#[derive(Clone, Copy, Debug)]
struct Packet {
    /// Bytes not read yet.
    length: usize,
    /// The end of the stream.
    fin: bool,
    /// First sent at.
    sent: Instant,
    place: Where,
}

/// What the path does with a packet now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// It takes this long.
    Open(Duration),
    /// It is dropped.
    Cut,
    /// It is kept until the release.
    Held,
}

/// What a reader finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// So many bytes have arrived.
    Bytes(usize),
    /// The end of the stream has arrived.
    End,
    /// Nothing yet; the next arrival, if one is certain.
    Nothing(Option<Instant>),
}

/// One direction.
#[derive(Debug)]
pub struct Pipe {
    bytes: VecDeque<u8>,
    packets: VecDeque<Packet>,
    /// The latest arrival that was promised: nothing overtakes.
    latest: Instant,
    /// Read, but the acknowledgement was lost: still in the window, since then.
    unacknowledged: usize,
    unacknowledged_since: Option<Instant>,
    ended: bool,
}

impl Pipe {
    pub fn new(now: Instant) -> Self {
        Self {
            bytes: VecDeque::new(),
            packets: VecDeque::new(),
            latest: now,
            unacknowledged: 0,
            unacknowledged_since: None,
            ended: false,
        }
    }

    /// Bytes that fit into the window.
    pub fn room(&self) -> usize {
        WINDOW.saturating_sub(self.bytes.len() + self.unacknowledged)
    }

    /// The writer has ended it.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Sends bytes; the caller has seen that there is room. The arrival, if it is certain.
    pub fn send(&mut self, bytes: &[u8], now: Instant, path: Path) -> Option<Instant> {
        self.bytes.extend(bytes);
        self.push(bytes.len(), false, now, path)
    }

    /// Sends the end of the stream, once.
    pub fn end(&mut self, now: Instant, path: Path) -> Option<Instant> {
        if self.ended {
            return None;
        }
        self.ended = true;
        self.push(0, true, now, path)
    }

    fn push(&mut self, length: usize, fin: bool, now: Instant, path: Path) -> Option<Instant> {
        let before = self.packets.back().map(|packet| packet.place);
        let place = match (before, path) {
            // whatever comes after a gap waits for the gap
            (Some(Where::Lost), _) | (_, Path::Cut) => Where::Lost,
            (Some(Where::Held), _) | (_, Path::Held) => Where::Held,
            (_, Path::Open(latency)) => Where::Arrives(self.after(now + latency)),
        };
        self.packets.push_back(Packet {
            length,
            fin,
            sent: now,
            place,
        });
        match place {
            Where::Arrives(at) => Some(at),
            Where::Lost | Where::Held => None,
        }
    }

    fn after(&mut self, at: Instant) -> Instant {
        self.latest = self.latest.max(at);
        self.latest
    }

    /// The path is cut: what is on its way is lost. How many packets.
    pub fn cut(&mut self, now: Instant) -> u64 {
        let mut lost = 0;
        for packet in &mut self.packets {
            let on_its_way = match packet.place {
                Where::Arrives(at) => at > now,
                Where::Held => true,
                Where::Lost => false,
            };
            if on_its_way {
                packet.place = Where::Lost;
                lost += 1;
            }
        }
        // what was promised is off; what has arrived stays
        self.latest = now;
        lost
    }

    /// Everything on its way is held. How many packets.
    pub fn hold(&mut self, now: Instant) -> u64 {
        let mut held = 0;
        for packet in &mut self.packets {
            if matches!(packet.place, Where::Arrives(at) if at > now) {
                packet.place = Where::Held;
                held += 1;
            }
        }
        self.latest = now;
        held
    }

    /// The path is open again: held packets go on, lost ones are sent again when TCP's back-off says so.
    pub fn open(&mut self, now: Instant, mut latency: impl FnMut() -> Duration) {
        let again = self
            .first_lost()
            .map(|sent| tcp::retransmission(sent, now).max(now));
        let mut latest = self.latest;
        for packet in &mut self.packets {
            let from = match packet.place {
                Where::Arrives(_) => continue,
                Where::Held => now,
                Where::Lost => again.unwrap_or(now),
            };
            latest = latest.max(from + latency());
            packet.place = Where::Arrives(latest);
        }
        self.latest = latest;
    }

    fn first_lost(&self) -> Option<Instant> {
        let lost = self.packets.iter().find(|p| p.place == Where::Lost);
        lost.map(|packet| packet.sent)
    }

    /// Since when something that was sent has not been acknowledged because it, or the acknowledgement, was lost.
    pub fn stuck_since(&self) -> Option<Instant> {
        match (self.first_lost(), self.unacknowledged_since) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// What a reader finds now.
    pub fn front(&self, now: Instant) -> Front {
        let mut bytes = 0;
        for packet in &self.packets {
            match packet.place {
                Where::Arrives(at) if at <= now => {}
                Where::Arrives(at) if bytes == 0 => return Front::Nothing(Some(at)),
                _ => break,
            }
            if packet.fin && bytes == 0 {
                return Front::End;
            }
            bytes += packet.length;
        }
        if bytes == 0 {
            Front::Nothing(None)
        } else {
            Front::Bytes(bytes)
        }
    }

    /// Takes so many arrived bytes out; acknowledgements may be lost. At most what [`Pipe::front`] named, and what there is
    /// room for.
    pub fn read(&mut self, count: usize, into: &mut ReadBuf<'_>, now: Instant, acknowledged: bool) {
        let (head, tail) = self.bytes.as_slices();
        let first = head.len().min(count);
        into.put_slice(&head[..first]);
        into.put_slice(&tail[..count - first]);
        self.bytes.drain(..count);
        let mut left = count;
        while let Some(packet) = self.packets.front_mut() {
            if packet.fin || packet.length > left {
                packet.length -= left;
                break;
            }
            left -= packet.length;
            self.packets.pop_front();
        }
        if !acknowledged && count > 0 {
            self.unacknowledged += count;
            self.unacknowledged_since.get_or_insert(now);
        }
    }

    /// Acknowledgements come through again. Whether room was made.
    pub fn acknowledge(&mut self) -> bool {
        self.unacknowledged_since = None;
        std::mem::take(&mut self.unacknowledged) > 0
    }

    /// When the first bytes arrive, for an end that is no longer there to take them.
    pub fn first_arrival(&self) -> Option<Instant> {
        let bytes = self.packets.iter().filter(|packet| !packet.fin);
        let mut arrivals = bytes.filter_map(|packet| match packet.place {
            Where::Arrives(at) => Some(at),
            Where::Lost | Where::Held => None,
        });
        arrivals.next()
    }

    /// Forgets what was not read.
    pub fn discard(&mut self) {
        self.bytes.clear();
        self.packets.clear();
        self.unacknowledged = 0;
        self.unacknowledged_since = None;
    }
}
