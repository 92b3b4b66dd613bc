//! A map whose entries may be collected after a while, as apimachinery's expiring cache with
//! expired entries allowed: a look-up never renews and never refuses, an insert collects
//! (KMS2-CACHE-02).

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::time::Duration;

/// The map. Unbounded (KMS2-CACHE-01).
pub(crate) struct Expiring<K, V> {
    ttl: Duration,
    inserts: u64,
    entries: BTreeMap<K, Entry<V>>,
    /// By the end of their time, then by insert, so that equal times stay apart.
    ends: BTreeMap<(Duration, u64), K>,
}

struct Entry<V> {
    end: (Duration, u64),
    value: V,
}

impl<K: Ord + Clone, V> Expiring<K, V> {
    pub(crate) fn new(ttl: Duration) -> Self {
        Expiring {
            ttl,
            inserts: 0,
            entries: BTreeMap::new(),
            ends: BTreeMap::new(),
        }
    }

    /// Finds an entry, whether or not its time is over.
    pub(crate) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// Sets an entry with a fresh time, and drops all whose time is over: an entry exactly as old
    /// as the limit goes.
    pub(crate) fn insert(&mut self, now: Duration, key: K, value: V) {
        let end = (now + self.ttl, self.inserts);
        self.inserts += 1;
        self.ends.insert(end, key.clone());
        if let Some(old) = self.entries.insert(key, Entry { end, value }) {
            self.ends.remove(&old.end);
        }
        while let Some(first) = self.ends.first_entry()
            && first.key().0 <= now
        {
            self.entries.remove(&first.remove());
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}
