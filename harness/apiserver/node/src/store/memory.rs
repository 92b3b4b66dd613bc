//! The store in memory: [`Mvcc`] behind a lock. Several servers may share one.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use super::mvcc::Mvcc;
use super::{Change, Changed, Changes, Entry, Expect, Page, Range, Store, StoreError, StoreFuture};

/// How many changes a watch hands over at once.
const BATCH: usize = 1000;

/// A store in memory. Clones share the same state.
#[derive(Clone, Default)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<Mvcc>,
    changed: Notify,
}

impl MemoryStore {
    /// An empty store at revision 1.
    pub fn new() -> Self {
        Self::default()
    }

    fn with<T>(&self, act: impl FnOnce(&mut Mvcc) -> T) -> T {
        self.shared.with(act)
    }

    fn change(&self, act: impl FnOnce(&mut Mvcc) -> Changed) -> Result<Changed, StoreError> {
        let changed = self.with(act);
        self.shared.changed.notify_waiters();
        Ok(changed)
    }
}

impl Shared {
    fn with<T>(&self, act: impl FnOnce(&mut Mvcc) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Store for MemoryStore {
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, (Option<Entry>, i64)> {
        Box::pin(async move { Ok(self.with(|state| (state.get(key), state.revision()))) })
    }

    fn range(&self, range: Range) -> StoreFuture<'_, Page> {
        Box::pin(async move { self.with(|state| state.range(&range)) })
    }

    fn put<'a>(&'a self, key: &'a str, value: Bytes, expect: Expect) -> StoreFuture<'a, Changed> {
        Box::pin(async move { self.change(|state| state.put(key, value, expect)) })
    }

    fn delete<'a>(&'a self, key: &'a str, expect: Expect) -> StoreFuture<'a, Changed> {
        Box::pin(async move { self.change(|state| state.delete(key, expect)) })
    }

    fn watch<'a>(&'a self, prefix: &'a str, from: i64) -> StoreFuture<'a, Box<dyn Changes>> {
        Box::pin(async move {
            let watch = MemoryChanges {
                shared: Arc::clone(&self.shared),
                prefix: prefix.to_owned(),
                next: from,
                progress_wanted: false,
            };
            Ok(Box::new(watch) as Box<dyn Changes>)
        })
    }

    fn compact(&self, revision: i64) -> StoreFuture<'_, ()> {
        Box::pin(async move { self.with(|state| state.compact(revision)) })
    }
}

struct MemoryChanges {
    shared: Arc<Shared>,
    prefix: String,
    /// The first revision that has not been looked at.
    next: i64,
    progress_wanted: bool,
}

impl Changes for MemoryChanges {
    fn next(&mut self) -> StoreFuture<'_, Vec<Change>> {
        Box::pin(async move {
            loop {
                let shared = Arc::clone(&self.shared);
                let notified = shared.changed.notified();
                let (mut changes, complete) =
                    shared.with(|state| state.changes(&self.prefix, self.next, BATCH))?;
                if std::mem::take(&mut self.progress_wanted) && complete >= self.next - 1 {
                    changes.push(Change::Progress { revision: complete });
                }
                self.next = self.next.max(complete + 1);
                if !changes.is_empty() {
                    return Ok(changes);
                }
                notified.await;
            }
        })
    }

    fn ask_progress(&mut self) {
        self.progress_wanted = true;
    }
}
