//! The state of a store with revisions, without locks and without waiting.
//!
//! Revisions count from 1, as in etcd: the first write makes revision 2.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use bytes::Bytes;

use super::{Change, Changed, Entry, Expect, Page, Range, StoreError};

/// One version of a key; without a value the key is gone.
#[derive(Debug)]
struct Version {
    mod_revision: i64,
    create_revision: i64,
    value: Option<Bytes>,
}

/// All versions that have not been compacted away.
#[derive(Debug)]
pub struct Mvcc {
    revision: i64,
    compacted: i64,
    /// For each key its versions, oldest first.
    keys: BTreeMap<String, Vec<Version>>,
    /// What happened, oldest first, from the first revision after `compacted` on.
    log: VecDeque<Change>,
}

impl Default for Mvcc {
    fn default() -> Self {
        Mvcc {
            revision: 1,
            compacted: 0,
            keys: BTreeMap::new(),
            log: VecDeque::new(),
        }
    }
}

impl Mvcc {
    /// The revision of the last change.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The newest value of a key.
    pub fn get(&self, key: &str) -> Option<Entry> {
        let newest = self.keys.get(key)?.last()?;
        entry(key, newest)
    }

    /// The keys with a prefix, at a revision.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] and [`StoreError::Future`].
    pub fn range(&self, range: &Range) -> Result<Page, StoreError> {
        let at = range.revision.unwrap_or(self.revision);
        if at > self.revision {
            return Err(StoreError::Future);
        }
        if at < self.compacted {
            return Err(StoreError::Compacted);
        }
        let from = range.from.as_deref().unwrap_or_default().max(&range.prefix);
        let mut entries = Vec::new();
        let mut count = 0;
        for (key, versions) in self
            .keys
            .range::<str, _>((Bound::Included(from), Bound::Unbounded))
        {
            if !key.starts_with(&range.prefix) {
                break;
            }
            let version = versions
                .iter()
                .rev()
                .find(|version| version.mod_revision <= at);
            if let Some(found) = version.and_then(|version| entry(key, version)) {
                count += 1;
                if range.limit.is_none_or(|limit| entries.len() < limit) {
                    entries.push(found);
                }
            }
        }
        Ok(Page {
            entries,
            count,
            revision: self.revision,
        })
    }

    /// Writes a value if the expectation holds.
    pub fn put(&mut self, key: &str, value: Bytes, expect: Expect) -> Changed {
        let previous = match self.check(key, expect) {
            Ok(previous) => previous,
            Err(conflict) => return conflict,
        };
        self.revision += 1;
        let create_revision = previous
            .as_ref()
            .map_or(self.revision, |previous| previous.create_revision);
        let version = Version {
            mod_revision: self.revision,
            create_revision,
            value: Some(value),
        };
        let entry = entry(key, &version).expect("a version with a value");
        self.log.push_back(Change::Put { entry, previous });
        self.push(key, version);
        Changed::Done {
            revision: self.revision,
        }
    }

    /// Removes a key if the expectation holds.
    pub fn delete(&mut self, key: &str, expect: Expect) -> Changed {
        let previous = match self.check(key, expect) {
            Ok(Some(previous)) => previous,
            Ok(None) => {
                return Changed::Done {
                    revision: self.revision,
                };
            }
            Err(conflict) => return conflict,
        };
        self.revision += 1;
        let version = Version {
            mod_revision: self.revision,
            create_revision: 0,
            value: None,
        };
        self.push(key, version);
        self.log.push_back(Change::Delete {
            key: key.to_owned(),
            previous: Some(previous),
            revision: self.revision,
        });
        Changed::Done {
            revision: self.revision,
        }
    }

    /// What happened to keys with a prefix from a revision on (that one included), at most about `limit` changes, and
    /// the revision up to which this is all there is.
    ///
    /// # Errors
    /// [`StoreError::Compacted`].
    pub fn changes(
        &self,
        prefix: &str,
        from: i64,
        limit: usize,
    ) -> Result<(Vec<Change>, i64), StoreError> {
        if from <= self.compacted {
            return Err(StoreError::Compacted);
        }
        let first = self.log.partition_point(|change| change.revision() < from);
        let mut found = Vec::new();
        for change in self.log.range(first..) {
            let (Change::Put {
                entry: Entry { key, .. },
                ..
            }
            | Change::Delete { key, .. }) = change
            else {
                continue;
            };
            if key.starts_with(prefix) {
                if found.len() == limit {
                    // one change a revision: nothing is torn apart here
                    return Ok((found, change.revision() - 1));
                }
                found.push(change.clone());
            }
        }
        Ok((found, self.revision))
    }

    /// Forgets what was superseded before a revision.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] if that has happened already, [`StoreError::Future`].
    pub fn compact(&mut self, revision: i64) -> Result<(), StoreError> {
        if revision > self.revision {
            return Err(StoreError::Future);
        }
        if revision <= self.compacted {
            return Err(StoreError::Compacted);
        }
        self.compacted = revision;
        let kept = self
            .log
            .partition_point(|change| change.revision() <= revision);
        self.log.drain(..kept);
        self.keys.retain(|_, versions| {
            // the newest version at `revision` is still readable there, unless it says that the key is gone
            let newest = versions.partition_point(|version| version.mod_revision <= revision);
            versions.drain(..newest.saturating_sub(1));
            if versions
                .first()
                .is_some_and(|first| first.mod_revision <= revision && first.value.is_none())
            {
                versions.remove(0);
            }
            !versions.is_empty()
        });
        Ok(())
    }

    fn check(&self, key: &str, expect: Expect) -> Result<Option<Entry>, Changed> {
        let current = self.get(key);
        let holds = match expect {
            Expect::Any => true,
            Expect::Absent => current.is_none(),
            Expect::Revision(revision) => current
                .as_ref()
                .is_some_and(|current| current.mod_revision == revision),
        };
        if holds {
            Ok(current)
        } else {
            Err(Changed::Conflict { current })
        }
    }

    fn push(&mut self, key: &str, version: Version) {
        match self.keys.get_mut(key) {
            Some(versions) => versions.push(version),
            None => drop(self.keys.insert(key.to_owned(), vec![version])),
        }
    }
}

fn entry(key: &str, version: &Version) -> Option<Entry> {
    Some(Entry {
        key: key.to_owned(),
        value: version.value.clone()?,
        create_revision: version.create_revision,
        mod_revision: version.mod_revision,
    })
}
