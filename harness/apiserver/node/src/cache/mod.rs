//! The watch cache of one resource: what it holds and what it decides. Nothing waits here.
//!
//! It follows kube-apiserver's cacher: filled by a first list, kept up by one watch, asked by every LIST and WATCH. What
//! it does when stored data cannot be read decides how a cluster fails (KMS2-DEC-13): at the start it is never filled;
//! at run time it stands still for 30 s and then counts as not filled.

mod reflector;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

pub use reflector::{AfterError, RELIST_PAUSE, Reflector};

use crate::object::Object;

/// How many events are kept for watches that start in the past.
const EVENTS_KEPT: usize = 10_000;

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It is new.
    Added,
    /// It changed.
    Modified,
    /// It is gone.
    Deleted,
}

/// One change in the cache.
#[derive(Clone, Debug)]
pub struct CacheEvent {
    /// What happened.
    pub kind: EventKind,
    /// The store's key.
    pub key: String,
    /// The object after it; of one that is gone, the last state with the revision of its end.
    pub object: Arc<Object>,
    /// The object before it.
    pub previous: Option<Arc<Object>>,
    /// When it happened.
    pub revision: i64,
}

/// A read object with its key.
pub type Item = (String, Arc<Object>);

/// Why the cache cannot be asked: an HTTP answer 429.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotReady {
    /// The message.
    pub message: String,
    /// When to come again, in seconds.
    pub retry_after: u32,
}

/// A revision from before the oldest event that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooOld {
    /// The oldest revision from which a watch can start.
    pub oldest: i64,
}

#[derive(Debug)]
enum State {
    Ready,
    /// Since when, and what the last try failed with.
    Filling {
        since: Duration,
        error: Option<String>,
    },
}

/// The cache of one resource.
#[derive(Debug)]
pub struct WatchCache {
    state: State,
    /// Rises when all open watches are to be closed.
    generation: u64,
    objects: BTreeMap<String, Arc<Object>>,
    revision: i64,
    events: VecDeque<CacheEvent>,
    /// All events after this revision are kept.
    complete_after: i64,
}

impl WatchCache {
    /// A cache that begins to be filled now.
    pub fn new(now: Duration) -> Self {
        WatchCache {
            state: State::Filling {
                since: now,
                error: None,
            },
            generation: 0,
            objects: BTreeMap::new(),
            revision: 0,
            events: VecDeque::new(),
            complete_after: 0,
        }
    }

    /// Whether it can be asked.
    ///
    /// # Errors
    /// What to answer if not.
    pub fn ready(&self, now: Duration) -> Result<(), NotReady> {
        match &self.state {
            State::Ready => Ok(()),
            State::Filling { since, error } => {
                let why = error
                    .as_ref()
                    .map_or_else(String::new, |error| format!(": {error}"));
                let message = format!("storage is (re)initializing{why}");
                Err(NotReady {
                    message,
                    retry_after: retry_after(now.saturating_sub(*since)),
                })
            }
        }
    }

    /// Up to which revision it knows everything.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Watches that were opened at another generation are over.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The objects, by key.
    pub fn objects(&self) -> &BTreeMap<String, Arc<Object>> {
        &self.objects
    }

    /// The first list is complete: the cache is ready.
    pub fn fill(&mut self, objects: impl IntoIterator<Item = Item>, revision: i64) {
        self.objects = objects.into_iter().collect();
        self.revision = revision;
        self.events.clear();
        self.complete_after = revision;
        self.state = State::Ready;
    }

    /// A key has a new object.
    pub fn put(&mut self, key: String, object: Arc<Object>, revision: i64) {
        let previous = self.objects.insert(key.clone(), Arc::clone(&object));
        let kind = if previous.is_some() {
            EventKind::Modified
        } else {
            EventKind::Added
        };
        self.push(CacheEvent {
            kind,
            key,
            object,
            previous,
            revision,
        });
    }

    /// A key is gone; `last` is what it held.
    pub fn delete(&mut self, key: String, last: &Object, revision: i64) {
        let previous = self.objects.remove(&key);
        let mut object = last.clone();
        object.meta.resource_version = revision.to_string();
        self.push(CacheEvent {
            kind: EventKind::Deleted,
            key,
            object: Arc::new(object),
            previous,
            revision,
        });
    }

    /// Nothing else happened up to a revision.
    pub fn progress(&mut self, revision: i64) {
        self.revision = self.revision.max(revision);
    }

    /// The watch broke and is not repaired: LIST and WATCH are refused from now on. Open watches stay open until the
    /// next try begins.
    pub fn lose(&mut self, now: Duration) {
        self.state = State::Filling {
            since: now,
            error: None,
        };
    }

    /// A new try to fill begins: watches of before are closed.
    pub fn begin(&mut self) {
        self.generation += 1;
    }

    /// The try failed.
    pub fn failed(&mut self, text: String) {
        if let State::Filling { error, .. } = &mut self.state {
            *error = Some(text);
        }
    }

    /// What happened after a revision.
    ///
    /// # Errors
    /// The revision is too old.
    pub fn since(&self, revision: i64) -> Result<impl Iterator<Item = &CacheEvent>, TooOld> {
        if revision < self.complete_after {
            return Err(TooOld {
                oldest: self.complete_after,
            });
        }
        let first = self
            .events
            .partition_point(|event| event.revision <= revision);
        Ok(self.events.range(first..))
    }

    fn push(&mut self, event: CacheEvent) {
        self.revision = event.revision;
        self.events.push_back(event);
        if self.events.len() > EVENTS_KEPT
            && let Some(oldest) = self.events.pop_front()
        {
            self.complete_after = oldest.revision;
        }
    }
}

/// Seconds to wait after so long an outage: e^(0.06 t), from 1 to 30, as kube-apiserver computes it (measured: 2 after
/// 15 s, 4 after 25 s, 14 after 45 s, 17 after 48 s).
fn retry_after(outage: Duration) -> u32 {
    let seconds = (0.06 * outage.as_secs_f64()).exp().clamp(1.0, 30.0);
    // between 1 and 30
    seconds as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_grows_with_the_outage_as_measured() {
        let after = |seconds| retry_after(Duration::from_secs(seconds));
        assert_eq!([0, 15, 25, 45, 48, 600].map(after), [1, 2, 4, 14, 17, 30]);
    }

    #[test]
    fn a_cache_that_was_lost_says_why_only_after_the_next_try() {
        let mut cache = WatchCache::new(Duration::ZERO);
        cache.fill([], 5);
        assert_eq!(cache.ready(Duration::from_secs(1)), Ok(()));
        cache.lose(Duration::from_secs(32));
        let message =
            |cache: &WatchCache| cache.ready(Duration::from_secs(33)).unwrap_err().message;
        assert_eq!(message(&cache), "storage is (re)initializing");
        cache.failed("failed to list <unspecified>: x".to_owned());
        assert_eq!(
            message(&cache),
            "storage is (re)initializing: failed to list <unspecified>: x"
        );
    }
}
