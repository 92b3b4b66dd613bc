//! The task that fills and follows one resource's watch cache, and those who wait for it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use kms_apiserver_api::Resource;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use crate::cache::{
    AfterError, CacheEvent, EventKind, Item, NotReady, RELIST_PAUSE, Reflector, TooOld, WatchCache,
};
use crate::clock::Clock;
use crate::object::Object;
use crate::registry::{Corrupt, Registry};
use crate::store::{Change, Entry, Range, StoreError};

/// How long a read waits for the cache to be as new as the store.
const FRESH_WITHIN: Duration = Duration::from_secs(3);

/// How often the store is asked how far it is while a read waits.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// How a version of the server fills its cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filling {
    /// How many values are decoded at a time on the watch path (KMS2-DEC-14).
    pub decoders: usize,
    /// Whether the first list goes through the watch path, and only then through a list.
    pub through_watch: bool,
    /// What the texts call the listed type: `<unspecified>`, or none, and then `*core.Secret` and the like.
    pub names_type: bool,
}

/// One resource's watch cache with its waiters.
pub struct Cacher {
    resource: Resource,
    registry: Registry,
    clock: Clock,
    filling: Filling,
    state: Mutex<WatchCache>,
    changed: Notify,
    progress_wanted: Notify,
}

/// Why following the store ended.
enum Broken {
    Store,
    /// A value could not be read.
    Data,
    /// The value before a deletion could not be read, in versions that name such values: only a list helps.
    Deletion,
}

impl Cacher {
    /// A cache that is empty until [`Cacher::run`] fills it.
    pub fn new(resource: Resource, registry: Registry, clock: Clock, filling: Filling) -> Self {
        let state = Mutex::new(WatchCache::new(clock.now().mono));
        let (changed, progress_wanted) = (Notify::new(), Notify::new());
        Cacher {
            resource,
            registry,
            clock,
            filling,
            state,
            changed,
            progress_wanted,
        }
    }

    /// Fills and follows, for ever.
    pub async fn run(&self) {
        loop {
            self.with(WatchCache::begin);
            match self.fill().await {
                Ok(revision) => {
                    self.follow(revision).await;
                    let now = self.clock.now().mono;
                    self.with(|state| state.lose(now));
                }
                Err(text) => self.with(|state| state.failed(text)),
            }
            sleep(RELIST_PAUSE).await;
        }
    }

    /// Whether the cache can be asked.
    ///
    /// # Errors
    /// What to answer if not.
    pub fn ready(&self) -> Result<(), NotReady> {
        let now = self.clock.now().mono;
        self.lock().ready(now)
    }

    /// The revision up to which it knows everything.
    pub fn revision(&self) -> i64 {
        self.lock().revision()
    }

    /// Waits until it can be asked.
    pub async fn wait_ready(&self) {
        loop {
            let changed = self.changed.notified();
            if self.ready().is_ok() {
                return;
            }
            changed.await;
        }
    }

    /// Waits until it knows a revision, at most 3 s.
    ///
    /// # Errors
    /// The revision it knows by then.
    pub async fn wait_fresh(&self, revision: i64) -> Result<(), i64> {
        let deadline = Instant::now() + FRESH_WITHIN;
        // an answer wakes who waits, so asking again at once would never end
        let mut ask_at = Instant::now();
        loop {
            let changed = self.changed.notified();
            let known = self.revision();
            if known >= revision {
                return Ok(());
            }
            let now = Instant::now();
            if now >= deadline {
                return Err(known);
            }
            if now >= ask_at {
                self.progress_wanted.notify_one();
                ask_at = now + ASK_EVERY;
            }
            tokio::select! {
                biased;
                () = changed => {}
                () = sleep_until(deadline.min(ask_at)) => {}
            }
        }
    }

    /// The objects whose keys begin with a prefix, with the revision they are of.
    pub fn list(&self, prefix: &str) -> (Vec<Item>, i64) {
        let state = self.lock();
        let objects = state
            .objects()
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix));
        (
            objects
                .map(|(key, object)| (key.clone(), Arc::clone(object)))
                .collect(),
            state.revision(),
        )
    }

    /// One object.
    pub fn get(&self, key: &str) -> Option<Arc<Object>> {
        self.lock().objects().get(key).cloned()
    }

    /// A watch from a revision on.
    ///
    /// # Errors
    /// The cache cannot be asked.
    pub fn watch(self: &Arc<Self>, prefix: &str, from: From) -> Result<Watch, NotReady> {
        self.ready()?;
        let state = self.lock();
        let mut pending = VecDeque::new();
        let revision = match from {
            From::Now => {
                let objects = state
                    .objects()
                    .range(prefix.to_owned()..)
                    .take_while(|(key, _)| key.starts_with(prefix));
                pending.extend(objects.map(|(key, object)| CacheEvent {
                    kind: EventKind::Added,
                    key: key.clone(),
                    object: Arc::clone(object),
                    previous: None,
                    revision: object.meta.resource_version.parse().unwrap_or_default(),
                }));
                state.revision()
            }
            From::Revision(revision) => revision,
        };
        let generation = state.generation();
        drop(state);
        Ok(Watch {
            cacher: Arc::clone(self),
            prefix: prefix.to_owned(),
            generation,
            revision,
            pending,
        })
    }

    /// Fills the cache: first along the watch path where the version does so, then, if that fails, by a list.
    async fn fill(&self) -> Result<i64, String> {
        let prefix = self.registry.keys().collection(self.resource, None);
        let what = if self.filling.names_type {
            format!("*core.{}", self.resource.kind())
        } else {
            "<unspecified>".to_owned()
        };
        if self.filling.through_watch {
            let page = self
                .registry
                .store()
                .range(Range::all(prefix.as_str()))
                .await;
            let page = page.map_err(|error| format!("failed to list {what}: {error}"))?;
            let decoded = stream::iter(page.entries)
                .map(|entry| async move { self.open(&entry).await })
                .buffered(self.filling.decoders);
            let objects: Result<Vec<Item>, Corrupt> = if self.filling.decoders > 1 {
                // decoders that work beside each other go on to the end; the error is looked at afterwards
                decoded.collect::<Vec<_>>().await.into_iter().collect()
            } else {
                decoded.try_collect().await
            };
            if let Ok(objects) = objects {
                self.with(|state| state.fill(objects, page.revision));
                return Ok(page.revision);
            }
        }
        let (objects, page) = self
            .registry
            .page(self.resource, Range::all(prefix))
            .await
            .map_err(|error| format!("failed to list {what}: {error}"))?;
        let revision = page.revision;
        self.with(|state| {
            state.fill(
                objects
                    .into_iter()
                    .map(|(key, object)| (key, Arc::new(object))),
                revision,
            )
        });
        Ok(revision)
    }

    /// Follows the store until the cache has to be filled anew.
    async fn follow(&self, mut revision: i64) {
        let mut reflector = Reflector::default();
        loop {
            let broken = self.follow_one(&mut revision).await;
            let now = self.clock.now().mono;
            match reflector.watch_broke(now, matches!(broken, Broken::Data)) {
                AfterError::Watch(pause) => sleep(pause).await,
                AfterError::Relist => return,
            }
        }
    }

    /// One watch of the store, until it breaks.
    async fn follow_one(&self, revision: &mut i64) -> Broken {
        let prefix = self.registry.keys().collection(self.resource, None);
        let Ok(mut changes) = self.registry.store().watch(&prefix, *revision + 1).await else {
            return Broken::Store;
        };
        loop {
            let next: Result<Vec<Change>, StoreError> = tokio::select! {
                biased;
                next = changes.next() => next,
                () = self.progress_wanted.notified() => {
                    changes.ask_progress();
                    continue;
                }
            };
            let Ok(next) = next else { return Broken::Store };
            if let Err(broken) = self.apply(next, revision).await {
                return broken;
            }
        }
    }

    /// Decodes changes, several at a time, and takes them over in their order.
    async fn apply(&self, changes: Vec<Change>, revision: &mut i64) -> Result<(), Broken> {
        let mut decoded = stream::iter(changes)
            .map(|change| async move {
                let object = match &change {
                    Change::Put { entry, .. } => {
                        Some(self.open(entry).await.map_err(|_| Broken::Data)?)
                    }
                    Change::Delete {
                        previous: Some(previous),
                        ..
                    } => {
                        let only_list_helps = self.registry.names_corrupt();
                        let broken = if only_list_helps {
                            Broken::Deletion
                        } else {
                            Broken::Data
                        };
                        Some(self.open(previous).await.map_err(|_| broken)?)
                    }
                    Change::Delete { previous: None, .. } | Change::Progress { .. } => None,
                };
                Ok((change, object))
            })
            .buffered(self.filling.decoders);
        while let Some(next) = decoded.next().await {
            let (change, object) = next?;
            let at = change.revision();
            self.with(|state| match (change, object) {
                (Change::Put { .. }, Some((key, object))) => state.put(key, object, at),
                (Change::Delete { .. }, Some((key, object))) => state.delete(key, &object, at),
                (Change::Delete { key, .. }, None) => {
                    if let Some(known) = state.objects().get(&key).cloned() {
                        state.delete(key, &known, at);
                    }
                }
                (Change::Put { .. } | Change::Progress { .. }, _) => state.progress(at),
            });
            *revision = at;
        }
        Ok(())
    }

    async fn open(&self, entry: &Entry) -> Result<Item, Corrupt> {
        let read = self.registry.open(self.resource, entry).await?;
        Ok((entry.key.clone(), Arc::new(read.object)))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, WatchCache> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes who waits for it.
    fn with(&self, act: impl FnOnce(&mut WatchCache)) {
        act(&mut self.lock());
        self.changed.notify_waiters();
    }
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// With everything there is as new, and then what happens.
    Now,
    /// With what happened after a revision.
    Revision(i64),
}

/// An open watch on the cache.
pub struct Watch {
    cacher: Arc<Cacher>,
    prefix: String,
    generation: u64,
    /// Everything up to here has been handed over or is pending.
    revision: i64,
    pending: VecDeque<CacheEvent>,
}

/// What a watch hands over.
pub enum Next {
    /// A change.
    Event(CacheEvent),
    /// The watch began too far back.
    TooOld(TooOld),
    /// The server closes the watch.
    Closed,
}

impl Watch {
    /// What comes next. Waiting may be given up and begun again without loss.
    pub async fn next(&mut self) -> Next {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Next::Event(event);
            }
            let changed = self.cacher.changed.notified();
            {
                let state = self.cacher.lock();
                if state.generation() != self.generation {
                    return Next::Closed;
                }
                match state.since(self.revision) {
                    Ok(events) => {
                        let ours = events.filter(|event| event.key.starts_with(&self.prefix));
                        self.pending.extend(ours.cloned());
                    }
                    Err(too_old) => return Next::TooOld(too_old),
                }
                self.revision = self.revision.max(state.revision());
            }
            if self.pending.is_empty() {
                changed.await;
            }
        }
    }

    /// The objects that were there when the watch began and have not been handed over.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The revision up to which everything has been handed over, once nothing is pending.
    pub fn revision(&self) -> i64 {
        self.revision
    }
}
