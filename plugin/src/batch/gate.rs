//! How many requests to Vault there are at once, all lanes together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::event::VaultOp;

/// Places that callers leave free for the probe and for a login.
const RESERVED: usize = 2;

/// Requests of all lanes together.
pub struct Gate {
    max: usize,
    all: AtomicUsize,
    decrypts: AtomicUsize,
    /// Rung when a place is free again.
    pub released: Notify,
}

impl Gate {
    /// At most `max_in_flight` requests to Vault at once, those of probe and login included.
    pub fn new(max_in_flight: usize) -> Self {
        Self {
            max: max_in_flight.saturating_sub(RESERVED).max(1),
            all: AtomicUsize::new(0),
            decrypts: AtomicUsize::new(0),
            released: Notify::new(),
        }
    }

    /// Takes a place; Decrypts always leave one to Encrypt.
    pub fn take(self: &Arc<Self>, op: VaultOp) -> Option<Pass> {
        let all = self.all.load(Ordering::Relaxed);
        let decrypts = self.decrypts.load(Ordering::Relaxed);
        let is_decrypt = op == VaultOp::Decrypt;
        if all >= self.max || (is_decrypt && decrypts >= (self.max - 1).max(1)) {
            return None;
        }
        self.all.fetch_add(1, Ordering::Relaxed);
        self.decrypts
            .fetch_add(usize::from(is_decrypt), Ordering::Relaxed);
        Some(Pass {
            gate: self.clone(),
            is_decrypt,
        })
    }
}

/// A place; dropping it leaves it to others.
pub struct Pass {
    gate: Arc<Gate>,
    is_decrypt: bool,
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.all.fetch_sub(1, Ordering::Relaxed);
        self.gate
            .decrypts
            .fetch_sub(usize::from(self.is_decrypt), Ordering::Relaxed);
        self.gate.released.notify_waiters();
    }
}
