//! WATCH.

use std::time::Duration;

use kms_apiserver_api::Resource;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::read::revision;
use super::{Api, Reply, Request};
use crate::cache::{CacheEvent, EventKind};
use crate::cacher::{From, Next, Watch};
use crate::clock::Clock;
use crate::object::Object;
use crate::rest::select::Selector;
use crate::rest::{Query, Refusal, table};

/// How long a watch stays open where the client does not say: 30 minutes, the least that kube-apiserver gives.
const OPEN_FOR: Duration = Duration::from_secs(30 * 60);

/// How often a client that wants bookmarks gets one.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// An open watch with what its client asked for.
pub struct WatchReply {
    watch: Watch,
    resource: Resource,
    selector: Selector,
    deadline: Instant,
    /// Set if the client wants tables.
    table: Option<Clock>,
    bookmark_at: Option<Instant>,
    /// How many of the first objects have not been handed over, if their end is to be marked.
    initial: Option<usize>,
}

impl Api {
    /// Opens a watch on a collection or on one object.
    pub(super) async fn watch(
        &self,
        resource: Resource,
        namespace: Option<&str>,
        name: Option<&str>,
        query: &Query,
        request: &Request,
    ) -> Result<Reply, Refusal> {
        let mut fields = query.text("fieldSelector").to_owned();
        if let Some(name) = name {
            fields = format!("metadata.name={name},{fields}");
        }
        let selector =
            Selector::parse(&fields, query.text("labelSelector")).map_err(Refusal::bad_request)?;
        let seconds =
            match query.text("timeoutSeconds") {
                "" | "0" => OPEN_FOR,
                text => Duration::from_secs(text.parse().map_err(|_| {
                    Refusal::bad_request(format!("invalid timeoutSeconds {text:?}"))
                })?),
            };
        let wanted = revision(query.text("resourceVersion"))?;
        let with_initial = query.flag("sendInitialEvents");
        let cacher = self.cacher(resource);
        cacher.ready().map_err(Refusal::not_ready)?;
        let from = match wanted {
            Some(wanted) if wanted > 0 && !with_initial => From::Revision(wanted),
            Some(_) if !with_initial => From::Now,
            None if !with_initial => From::Now,
            wanted => {
                // with the first objects, the watch is as new as a list
                let newest = match wanted {
                    Some(wanted) => wanted,
                    None => {
                        let newest = self
                            .registry
                            .store()
                            .get(self.registry.keys().prefix())
                            .await;
                        newest
                            .map_err(|error| Refusal::internal(error.to_string()))?
                            .1
                    }
                };
                let fresh = cacher.wait_fresh(newest).await;
                fresh.map_err(|current| Refusal::too_large_revision(newest, current))?;
                From::Now
            }
        };
        let prefix = self.registry.keys().collection(resource, namespace);
        let watch = cacher.watch(&prefix, from).map_err(Refusal::not_ready)?;
        let now = Instant::now();
        Ok(Reply::Watch(WatchReply {
            resource,
            selector,
            deadline: now + seconds,
            table: table::wanted(&request.accept).then_some(self.clock),
            bookmark_at: query
                .flag("allowWatchBookmarks")
                .then_some(now + BOOKMARK_EVERY),
            initial: with_initial.then(|| watch.pending()),
            watch,
        }))
    }
}

impl WatchReply {
    /// The next event as a document; nothing when the server closes the watch. Waiting may be given up and begun again
    /// without loss.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if self.initial == Some(0) {
                self.initial = None;
                return Some(self.bookmark(true));
            }
            let bookmark_at = self.bookmark_at.unwrap_or(self.deadline);
            let next = tokio::select! {
                biased;
                next = self.watch.next() => next,
                () = sleep_until(bookmark_at.min(self.deadline)) => {
                    if Instant::now() >= self.deadline {
                        return None;
                    }
                    self.bookmark_at = Some(Instant::now() + BOOKMARK_EVERY);
                    return Some(self.bookmark(false));
                }
            };
            match next {
                Next::Event(event) => {
                    if let Some(initial) = &mut self.initial {
                        *initial = initial.saturating_sub(1);
                    }
                    if let Some(document) = self.show(&event) {
                        return Some(document);
                    }
                }
                Next::TooOld(too_old) => {
                    // one error, and then the end
                    self.deadline = Instant::now();
                    let refusal = Refusal::too_old(self.watch.revision(), too_old);
                    return Some(json!({"type": "ERROR", "object": refusal.status}));
                }
                Next::Closed => return None,
            }
        }
    }

    /// What a client with this selector sees of a change.
    fn show(&self, event: &CacheEvent) -> Option<Value> {
        let was = event
            .previous
            .as_ref()
            .is_some_and(|previous| self.selector.matches(previous));
        let is = event.kind != EventKind::Deleted && self.selector.matches(&event.object);
        let (kind, object) = match (was, is) {
            (false, true) => ("ADDED", self.document(&event.object)),
            (true, true) => ("MODIFIED", self.document(&event.object)),
            (true, false) => {
                // what left the selection is shown as it was in it, at the revision at which it left
                let mut last = Object::clone(event.previous.as_ref().unwrap_or(&event.object));
                last.meta.resource_version = event.revision.to_string();
                let object = self.document(&last);
                ("DELETED", object)
            }
            (false, false) => return None,
        };
        let mut shown = json!({ "type": kind });
        shown["object"] = object; // the macro would copy it
        Some(shown)
    }

    fn document(&self, object: &Object) -> Value {
        match &self.table {
            None => object.to_json(true),
            Some(clock) => {
                let metadata = json!({"resourceVersion": object.meta.resource_version});
                table::of([object], metadata, clock.now().unix)
            }
        }
    }

    fn bookmark(&self, end_of_initial: bool) -> Value {
        let mut metadata = json!({"resourceVersion": self.watch.revision().to_string(), "creationTimestamp": null});
        if end_of_initial {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        json!({
            "type": "BOOKMARK",
            "object": {"kind": self.resource.kind(), "apiVersion": "v1", "metadata": metadata},
        })
    }
}
