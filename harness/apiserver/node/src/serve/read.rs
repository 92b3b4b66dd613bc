//! GET and LIST.

use std::sync::Arc;

use kms_apiserver_api::Resource;
use serde_json::{Value, json};

use super::{Api, Reply, Request};
use crate::object::Object;
use crate::registry::RegistryError;
use crate::rest::select::Selector;
use crate::rest::{Query, Refusal, table};
use crate::store::{Range, StoreError, successor};

/// Where a list is read.
enum Source {
    /// The cache, as it is.
    CacheAsItIs,
    /// The cache, once it knows this revision.
    CacheNotOlderThan(i64),
    /// The cache once it is as new as the store, else the store.
    CacheOrStore,
    /// The store, newest state or at a revision.
    Store(Option<i64>),
}

/// One page of a list.
struct Listed {
    objects: Vec<(String, Arc<Object>)>,
    revision: i64,
    /// Whether this is everything, or else how many follow.
    more: Option<u64>,
}

impl Api {
    /// One object: from the store, or from the cache if the client takes any age.
    pub(super) async fn get(
        &self,
        resource: Resource,
        namespace: &str,
        name: &str,
        query: &Query,
        request: &Request,
    ) -> Result<Reply, Refusal> {
        let key = self.registry.keys().object(resource, namespace, name);
        let cacher = self.cacher(resource);
        if let Some(wanted) = revision(query.text("resourceVersion"))?
            && cacher.ready().is_ok()
        {
            let fresh = cacher.wait_fresh(wanted).await;
            fresh.map_err(|current| Refusal::too_large_revision(wanted, current))?;
            let object = cacher
                .get(&key)
                .ok_or_else(|| Refusal::not_found(resource, name))?;
            return Ok(Reply::ok(self.shown(&object, request)));
        }
        let read = self
            .registry
            .get(resource, &key)
            .await
            .map_err(|error| Refusal::of(error, resource, name))?;
        Ok(Reply::ok(self.shown(&read.object, request)))
    }

    /// A list, or a page of it.
    pub(super) async fn list(
        &self,
        resource: Resource,
        namespace: Option<&str>,
        query: &Query,
        request: &Request,
    ) -> Result<Reply, Refusal> {
        let selector = Selector::parse(query.text("fieldSelector"), query.text("labelSelector"));
        let selector = selector.map_err(Refusal::bad_request)?;
        let limit = match query.text("limit") {
            "" | "0" => None,
            text => Some(
                text.parse()
                    .map_err(|_| Refusal::bad_request(format!("invalid limit {text:?}")))?,
            ),
        };
        let prefix = self.registry.keys().collection(resource, namespace);
        let continued = match query.text("continue") {
            "" => None,
            token => Some(open_token(token)?),
        };
        let listed = match continued {
            Some((at, from)) => {
                let from = Some(format!("{prefix}{from}"));
                self.list_store(resource, &prefix, from, limit, Some(at), &selector)
                    .await?
            }
            None => match self.source(query, limit)? {
                Source::Store(at) => {
                    self.list_store(resource, &prefix, None, limit, at, &selector)
                        .await?
                }
                Source::CacheAsItIs => {
                    self.cacher(resource).ready().map_err(Refusal::not_ready)?;
                    self.list_cache(resource, &prefix, None, &selector)
                }
                Source::CacheNotOlderThan(wanted) => {
                    let cacher = self.cacher(resource);
                    cacher.ready().map_err(Refusal::not_ready)?;
                    let fresh = cacher.wait_fresh(wanted).await;
                    fresh.map_err(|current| Refusal::too_large_revision(wanted, current))?;
                    self.list_cache(resource, &prefix, None, &selector)
                }
                Source::CacheOrStore => {
                    self.list_newest(resource, &prefix, limit, &selector)
                        .await?
                }
            },
        };
        let metadata = metadata(&prefix, &listed, &selector);
        if table::wanted(&request.accept) {
            let objects = listed.objects.iter().map(|(_, object)| &**object);
            return Ok(Reply::ok(table::of(
                objects,
                metadata,
                self.clock.now().unix,
            )));
        }
        let items: Vec<Value> = listed
            .objects
            .iter()
            .map(|(_, object)| object.to_json(false))
            .collect();
        let mut list = json!({ "kind": format!("{}List", resource.kind()), "apiVersion": "v1" });
        // the macro would copy them
        list["metadata"] = metadata;
        list["items"] = items.into();
        Ok(Reply::ok(list))
    }

    /// One object, as the client wants to see it.
    fn shown(&self, object: &Object, request: &Request) -> Value {
        if table::wanted(&request.accept) {
            let metadata = json!({"resourceVersion": object.meta.resource_version});
            table::of([object], metadata, self.clock.now().unix)
        } else {
            object.to_json(true)
        }
    }

    /// Where to read, by the parameters of the request.
    fn source(&self, query: &Query, limit: Option<usize>) -> Result<Source, Refusal> {
        let wanted = revision(query.text("resourceVersion"))?;
        Ok(match (wanted, query.text("resourceVersionMatch")) {
            (Some(wanted), "Exact") => Source::Store(Some(wanted)),
            (Some(0), _) => Source::CacheAsItIs,
            // without a match, a page at a revision is read there
            (Some(wanted), "") if limit.is_some() => Source::Store(Some(wanted)),
            (Some(wanted), _) => Source::CacheNotOlderThan(wanted),
            (None, _) if !self.list_from_cache => Source::Store(None),
            // pages come from the cache since 1.34
            (None, _) if limit.is_some() && self.version.minor() < 34 => Source::Store(None),
            (None, _) => Source::CacheOrStore,
        })
    }

    /// The newest state: from the cache if it gets there within 3 s, else from the store.
    async fn list_newest(
        &self,
        resource: Resource,
        prefix: &str,
        limit: Option<usize>,
        selector: &Selector,
    ) -> Result<Listed, Refusal> {
        let cacher = self.cacher(resource);
        if let Err(not_ready) = cacher.ready() {
            return match limit {
                Some(_) => {
                    self.list_store(resource, prefix, None, limit, None, selector)
                        .await
                }
                None => Err(Refusal::not_ready(not_ready)),
            };
        }
        let (_, newest) = self
            .registry
            .store()
            .get(prefix)
            .await
            .map_err(store_failed)?;
        if cacher.wait_fresh(newest).await.is_ok() {
            Ok(self.list_cache(resource, prefix, limit, selector))
        } else {
            self.list_store(resource, prefix, None, limit, None, selector)
                .await
        }
    }

    fn list_cache(
        &self,
        resource: Resource,
        prefix: &str,
        limit: Option<usize>,
        selector: &Selector,
    ) -> Listed {
        let (items, revision) = self.cacher(resource).list(prefix);
        let mut matching = items
            .into_iter()
            .filter(|(_, object)| selector.matches(object));
        let objects: Vec<_> = matching
            .by_ref()
            .take(limit.unwrap_or(usize::MAX))
            .collect();
        let rest = matching.count() as u64;
        Listed {
            objects,
            revision,
            more: (rest > 0).then_some(rest),
        }
    }

    async fn list_store(
        &self,
        resource: Resource,
        prefix: &str,
        from: Option<String>,
        limit: Option<usize>,
        at: Option<i64>,
        selector: &Selector,
    ) -> Result<Listed, Refusal> {
        let mut listed = Listed {
            objects: Vec::new(),
            revision: 0,
            more: None,
        };
        let mut range = Range {
            prefix: prefix.to_owned(),
            from,
            limit,
            revision: at,
        };
        loop {
            let page = self.registry.page(resource, range.clone()).await;
            let (objects, page) = page.map_err(|error| match error {
                RegistryError::Store(StoreError::Compacted) if range.from.is_some() => {
                    Refusal::expired_continue()
                }
                RegistryError::Store(StoreError::Compacted) => {
                    Refusal::expired_revision(at.unwrap_or_default())
                }
                RegistryError::Store(StoreError::Future) => Refusal::too_large_revision(
                    at.unwrap_or_default(),
                    self.cacher(resource).revision(),
                ),
                error => Refusal::of(error, resource, ""),
            })?;
            let revision = range.revision.unwrap_or(page.revision);
            listed.revision = revision;
            let rest = page.count.saturating_sub(objects.len() as u64);
            let last = objects.last().map(|(key, _)| key.clone());
            listed.objects.extend(
                objects
                    .into_iter()
                    .filter(|(_, object)| selector.matches(object))
                    .map(|(key, object)| (key, Arc::new(object))),
            );
            // a selector may leave a page short: more is read until it is full
            let full = limit.is_none_or(|limit| listed.objects.len() >= limit);
            match last {
                Some(last) if rest > 0 && !full => {
                    let missing = limit.map(|limit| limit - listed.objects.len());
                    range = Range {
                        from: Some(successor(&last)),
                        limit: missing,
                        revision: Some(revision),
                        ..range
                    };
                }
                _ => {
                    listed.more = (rest > 0).then_some(rest);
                    return Ok(listed);
                }
            }
        }
    }
}

fn store_failed(error: StoreError) -> Refusal {
    Refusal::internal(error.to_string())
}

/// A resource version in a query.
pub(super) fn revision(text: &str) -> Result<Option<i64>, Refusal> {
    match text {
        "" => Ok(None),
        _ => match text.parse() {
            Ok(revision) if revision >= 0 => Ok(Some(revision)),
            _ => {
                let why = format!(
                    "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
                );
                Err(Refusal::bad_request(why))
            }
        },
    }
}

/// The `metadata` of a list.
fn metadata(prefix: &str, listed: &Listed, selector: &Selector) -> Value {
    let mut metadata = json!({"resourceVersion": listed.revision.to_string()});
    if let (Some(more), Some((last, _))) = (listed.more, listed.objects.last()) {
        let next = format!("{}\0", last.strip_prefix(prefix).unwrap_or(last));
        metadata["continue"] = make_token(listed.revision, &next).into();
        if selector.is_empty() {
            metadata["remainingItemCount"] = more.into();
        }
    }
    metadata
}

/// The token of a page: as kube-apiserver writes it.
fn make_token(revision: i64, start: &str) -> String {
    use base64::Engine;
    let token = json!({"v": "meta.k8s.io/v1", "rv": revision, "start": start});
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(token.to_string())
}

fn open_token(token: &str) -> Result<(i64, String), Refusal> {
    use base64::Engine;
    let bad = || Refusal::bad_request("invalid continue token");
    let json = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(token)
        .map_err(|_| bad())?;
    let json: Value = serde_json::from_slice(&json).map_err(|_| bad())?;
    let revision = json["rv"]
        .as_i64()
        .filter(|revision| *revision > 0)
        .ok_or_else(bad)?;
    let start = json["start"]
        .as_str()
        .filter(|start| !start.is_empty())
        .ok_or_else(bad)?;
    Ok((revision, start.to_owned()))
}
