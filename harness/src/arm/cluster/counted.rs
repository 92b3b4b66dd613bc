//! What relays and API servers count: requests to Vault, and what faults touched on the way.

use std::collections::BTreeMap;

use kms_history::chaos::VaultPath;

use super::Parts;
use super::intent::Count;
use super::observe::Observer;

/// The counts of one moment.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    requests: BTreeMap<VaultPath, u64>,
    links: u64,
    calls: u64,
    asked: u64,
}

/// The last counts, and what of them was told.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    now: Seen,
    noted: BTreeMap<VaultPath, u64>,
}

impl Seen {
    /// Asks all relays; nothing if one of them does not answer, for then the last known stays.
    pub async fn look(parts: &Parts, observer: &Observer) -> Option<Self> {
        let mut seen = Self::default();
        for placed in &parts.relays {
            let state = placed.relay.state().await.ok()?;
            seen.links += state.link_hits;
            seen.calls += state.call_hits;
            for (path, count) in state.requests.into_iter().flatten() {
                *seen.requests.entry(path).or_default() += count;
            }
        }
        seen.asked = if parts.counts() {
            seen.requests.values().sum()
        } else {
            observer.calls()
        };
        Some(seen)
    }
}

impl Counted {
    /// Takes new counts, if there are any.
    pub fn take(&mut self, seen: Option<Seen>) {
        if let Some(seen) = seen {
            self.now = seen;
        }
    }

    /// What of this kind came since another moment; what happens at once is counted by whoever did it.
    pub fn since(&self, before: &Self, count: Count) -> u64 {
        let of = |seen: &Seen| match count {
            Count::Changed => 0,
            Count::Links => seen.links,
            Count::Calls => seen.calls,
            Count::Asked => seen.asked,
        };
        of(&self.now).saturating_sub(of(&before.now))
    }

    /// Requests to Vault that were not told yet.
    pub fn new_requests(&mut self) -> BTreeMap<VaultPath, u64> {
        let new = self.now.requests.iter().map(|(path, count)| {
            let before = self.noted.get(path).copied().unwrap_or_default();
            (*path, count.saturating_sub(before))
        });
        let new = new.filter(|(_, count)| *count > 0).collect();
        self.noted.clone_from(&self.now.requests);
        new
    }
}
