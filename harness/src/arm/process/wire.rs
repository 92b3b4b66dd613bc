//! What passes from a plugin to its Vault: which calls, and every byte, to be searched for what must not be there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kms_history::chaos::VaultPath;
use kms_history::search::holds;
use kms_proxy::{End, Tap};

/// Most bytes that are kept; far more than a scenario sends.
const KEPT: usize = 64 << 20;

/// Looks on at the proxies of one node. Clones share it.
#[derive(Clone, Default)]
pub struct Wire(Arc<Mutex<Seen>>);

struct Seen {
    /// Most bytes that are kept.
    room: usize,
    calls: BTreeMap<VaultPath, u64>,
    total: u64,
    bytes: Vec<u8>,
    /// The beginning of a request that has not come whole, by connection.
    begun: BTreeMap<u64, Vec<u8>>,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            room: KEPT,
            calls: BTreeMap::new(),
            total: 0,
            bytes: Vec::new(),
            begun: BTreeMap::new(),
        }
    }
}

impl Wire {
    /// One that counts requests and keeps no byte of them.
    pub fn counting() -> Self {
        let wire = Self::default();
        wire.seen().room = 0;
        wire
    }

    /// For a proxy. Of several, each needs connection numbers of its own.
    pub fn tap(&self, proxy: u64) -> Tap {
        let wire = self.clone();
        Arc::new(move |connection, towards, bytes| {
            if towards == End::Server {
                wire.seen().take((proxy << 32) | connection, bytes);
            }
        })
    }

    /// The calls since the last time they were taken.
    pub fn take_calls(&self) -> BTreeMap<VaultPath, u64> {
        std::mem::take(&mut self.seen().calls)
    }

    /// All calls so far.
    pub fn total(&self) -> u64 {
        self.seen().total
    }

    /// Whether the bytes so far hold this.
    pub fn holds(&self, needle: &[u8]) -> bool {
        holds(&self.seen().bytes, needle)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn take(&mut self, connection: u64, bytes: &[u8]) {
        let room = self.room.saturating_sub(self.bytes.len());
        self.bytes
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
        let begun = self.begun.entry(connection).or_default();
        begun.extend_from_slice(bytes);
        while let Some((path, length)) = request(begun) {
            begun.drain(..length);
            *self.calls.entry(path).or_default() += 1;
            self.total += 1;
        }
    }
}

/// The first request, if its head is there whole: what it asks, and as much of it as has come.
fn request(bytes: &[u8]) -> Option<(VaultPath, usize)> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]);
    let path = text.split(' ').nth(1).unwrap_or_default();
    let body: usize = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, length)| length.trim().parse().ok())
        .unwrap_or_default();
    (bytes.len() >= head + body).then(|| (VaultPath::of(path), head + body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_in_pieces_and_in_a_row() {
        let wire = Wire::default();
        let tap = wire.tap(0);
        let text = "POST /v1/transit/encrypt/k HTTP/1.1\r\ncontent-Length: 4\r\n\r\nGET GET /v1/auth/token/lookup-self HTTP/1.1\r\n\r\n";
        for byte in text.as_bytes() {
            tap(1, End::Server, &[*byte]);
        }
        tap(
            2,
            End::Server,
            b"PUT /v1/auth/approle/login HTTP/1.1\r\n\r\n",
        );
        tap(2, End::Client, b"GET /v1/other HTTP/1.1\r\n\r\n");
        let calls = wire.take_calls();
        let wanted = [VaultPath::Login, VaultPath::Lookup, VaultPath::Encrypt];
        assert_eq!(calls, BTreeMap::from(wanted.map(|path| (path, 1))));
        assert_eq!((wire.total(), wire.take_calls().len()), (3, 0));
        assert!(wire.holds(b"lookup-self") && !wire.holds(b"/v1/other"));
    }
}
