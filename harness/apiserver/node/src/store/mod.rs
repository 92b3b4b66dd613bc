//! Where a server keeps its values: a store with revisions, as etcd is one.
//!
//! Keys are whole (`/registry/secrets/default/demo`), values are opaque. What is stored, and under which key, is
//! decided elsewhere.

pub mod etcd;
pub mod memory;
pub mod mvcc;

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use thiserror::Error;

/// An operation on its way.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A value and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The whole key.
    pub key: String,
    /// The stored bytes.
    pub value: Bytes,
    /// The revision at which the key came into being.
    pub create_revision: i64,
    /// The revision of this value.
    pub mod_revision: i64,
}

/// What a range read asks for: the keys with a prefix, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// Only keys that begin with this.
    pub prefix: String,
    /// Only keys at or after this one, where a page before ended.
    pub from: Option<String>,
    /// At most so many entries; all of them without.
    pub limit: Option<usize>,
    /// The state at this revision; the newest without.
    pub revision: Option<i64>,
}

impl Range {
    /// Everything under a prefix, newest state.
    pub fn all(prefix: impl Into<String>) -> Self {
        Range {
            prefix: prefix.into(),
            from: None,
            limit: None,
            revision: None,
        }
    }
}

/// The answer to a [`Range`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The entries, by key.
    pub entries: Vec<Entry>,
    /// How many there are from where the page began, those after its end included.
    pub count: u64,
    /// The store's revision at the time of the read.
    pub revision: i64,
}

/// What must be so for a change to take place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Any,
    /// There is no such key.
    Absent,
    /// The key has this `mod_revision`.
    Revision(i64),
}

/// The outcome of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It took place, at this revision. Deleting what is not there takes place and leaves the revision as it is.
    Done {
        /// The store's revision after it.
        revision: i64,
    },
    /// The expectation did not hold; nothing changed.
    Conflict {
        /// What is there.
        current: Option<Entry>,
    },
}

/// What a watch reports, in the order of revisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A key has a new value.
    Put {
        /// The new value.
        entry: Entry,
        /// The value before, if there was one.
        previous: Option<Entry>,
    },
    /// A key is gone.
    Delete {
        /// The value before; absent if it has been compacted away.
        previous: Option<Entry>,
        /// The key.
        key: String,
        /// The revision at which it went.
        revision: i64,
    },
    /// Everything up to this revision has been reported.
    Progress {
        /// The revision.
        revision: i64,
    },
}

impl Change {
    /// The revision that the change belongs to.
    pub fn revision(&self) -> i64 {
        match self {
            Change::Put { entry, .. } => entry.mod_revision,
            Change::Delete { revision, .. } | Change::Progress { revision } => *revision,
        }
    }
}

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    /// The asked-for revision has been compacted away.
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted,
    /// The asked-for revision does not exist yet.
    #[error("etcdserver: mvcc: required revision is a future revision")]
    Future,
    /// The store did not answer, or answered with an error.
    #[error("{0}")]
    Unavailable(String),
}

/// A store with revisions. All methods may be called concurrently.
pub trait Store: Send + Sync {
    /// One key, newest state, and the store's revision.
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, (Option<Entry>, i64)>;

    /// The keys with a prefix.
    fn range(&self, range: Range) -> StoreFuture<'_, Page>;

    /// Writes a value if the expectation holds.
    fn put<'a>(&'a self, key: &'a str, value: Bytes, expect: Expect) -> StoreFuture<'a, Changed>;

    /// Removes a key if the expectation holds.
    fn delete<'a>(&'a self, key: &'a str, expect: Expect) -> StoreFuture<'a, Changed>;

    /// Everything that happens to keys with a prefix, from a revision on (that one included).
    fn watch<'a>(&'a self, prefix: &'a str, from: i64) -> StoreFuture<'a, Box<dyn Changes>>;

    /// Forgets what was superseded before a revision.
    fn compact(&self, revision: i64) -> StoreFuture<'_, ()>;
}

/// An open watch. Dropped, it ends. Waiting for the next change may be given up and begun again without loss.
pub trait Changes: Send {
    /// The changes that come next, at least one. After an error the watch is of no more use.
    fn next(&mut self) -> StoreFuture<'_, Vec<Change>>;

    /// Asks for a [`Change::Progress`] when everything before has been reported. Returns at once.
    fn ask_progress(&mut self);
}

/// The least key after all keys with a prefix, as etcd wants it for a range. `None`: there is no end.
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

/// The least key after `key`.
pub fn successor(key: &str) -> String {
    format!("{key}\0")
}
