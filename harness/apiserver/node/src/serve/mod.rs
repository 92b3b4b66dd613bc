//! The API server's answers: requests in, replies out. HTTP itself is elsewhere, so that the same code serves a process
//! and a simulation.

mod health;
mod read;
mod watch;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kms_apiserver::version::Version;
use kms_apiserver_api::Resource;
use serde_json::Value;

pub use health::{Health, Informers};
pub use watch::WatchReply;

use crate::cacher::Cacher;
use crate::clock::{Chance, Clock};
use crate::encryption::Encryption;
use crate::registry::Registry;
use crate::rest::{Query, Refusal, Route, Verb, discovery};

/// A request.
#[derive(Clone, Default)]
pub struct Request {
    /// The HTTP method.
    pub method: String,
    /// The path.
    pub path: String,
    /// What stands after the question mark.
    pub query: String,
    /// The header `Accept`.
    pub accept: String,
    /// The header `Content-Type`.
    pub content_type: String,
    /// The body.
    pub body: Bytes,
}

impl Request {
    /// A GET of a path with its query.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target, Bytes::new())
    }

    /// A request with a JSON body.
    pub fn new(method: &str, target: &str, body: impl Into<Bytes>) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            accept: "application/json".to_owned(),
            content_type: "application/json".to_owned(),
            body: body.into(),
        }
    }
}

/// An answer.
pub enum Reply {
    /// A JSON document.
    Json {
        /// The HTTP code.
        code: u16,
        /// The header `Retry-After`, in seconds.
        retry_after: Option<u32>,
        /// The document.
        body: Value,
    },
    /// A text.
    Text {
        /// The HTTP code.
        code: u16,
        /// The text.
        body: String,
    },
    /// Events, one after another.
    Watch(WatchReply),
}

impl Reply {
    /// 200 with a document.
    pub fn ok(body: Value) -> Self {
        Reply::Json {
            code: 200,
            retry_after: None,
            body,
        }
    }
}

impl std::convert::From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        Reply::Json {
            code: refusal.code,
            retry_after: refusal.retry_after,
            body: refusal.status,
        }
    }
}

/// What the answers are made from.
pub struct Api {
    /// The emulated version.
    pub version: Version,
    /// The objects in the store.
    pub registry: Registry,
    /// One watch cache for each kind.
    pub cachers: BTreeMap<Resource, Arc<Cacher>>,
    /// The encryption.
    pub encryption: Encryption,
    /// Time.
    pub clock: Clock,
    /// Chance.
    pub chance: Chance,
    /// What the health paths show.
    pub health: Health,
    /// Whether a LIST without a resource version comes from the cache: from 1.31, on a store that reports how far a
    /// watch is.
    pub list_from_cache: bool,
}

impl Api {
    /// Answers a request. Dropping the future is the client's hanging up.
    pub async fn handle(&self, request: Request) -> Reply {
        let query = Query::of(&request.query);
        let route = Route::of(&request.path);
        let Some(verb) = Verb::of(&request.method) else {
            return Refusal::method_not_allowed().into();
        };
        let only_get = |document: Value| {
            if verb == Verb::Get {
                Reply::ok(document)
            } else {
                Refusal::method_not_allowed().into()
            }
        };
        match route {
            Route::Health { root, check } => self.show_health(root, check.as_deref(), &query).await,
            Route::Metrics => Reply::Text {
                code: 200,
                body: self.encryption.metrics(),
            },
            Route::Version => only_get(discovery::version(self.version)),
            Route::Api => only_get(discovery::api()),
            Route::Apis => only_get(discovery::apis()),
            Route::ApiV1 => only_get(discovery::api_v1()),
            Route::OpenApi => only_get(discovery::openapi()),
            Route::OpenApiV1 => only_get(discovery::openapi_v1()),
            Route::Unknown if request.path.starts_with("/api") => {
                Refusal::no_such_resource().into()
            }
            Route::Unknown => Reply::Text {
                code: 404,
                body: "404 page not found\n".to_owned(),
            },
            Route::Collection {
                resource,
                namespace,
            } => {
                let namespace = namespace.as_deref();
                let done = match verb {
                    Verb::Get if query.flag("watch") => {
                        self.watch(resource, namespace, None, &query, &request)
                            .await
                    }
                    Verb::Get => self.list(resource, namespace, &query, &request).await,
                    Verb::Post => self.create(resource, namespace, &query, &request).await,
                    Verb::Put | Verb::Patch | Verb::Delete => Err(Refusal::method_not_allowed()),
                };
                done.unwrap_or_else(Reply::from)
            }
            Route::Object {
                resource,
                namespace,
                name,
            } => {
                let done = match verb {
                    Verb::Get if query.flag("watch") => {
                        self.watch(resource, Some(&namespace), Some(&name), &query, &request)
                            .await
                    }
                    Verb::Get => {
                        self.get(resource, &namespace, &name, &query, &request)
                            .await
                    }
                    Verb::Put => {
                        self.update(resource, &namespace, &name, &query, &request)
                            .await
                    }
                    Verb::Patch => {
                        self.patch(resource, &namespace, &name, &query, &request)
                            .await
                    }
                    Verb::Delete => self.delete(resource, &namespace, &name, &request).await,
                    Verb::Post => Err(Refusal::method_not_allowed()),
                };
                done.unwrap_or_else(Reply::from)
            }
        }
    }

    /// The cache of a kind.
    pub fn cacher(&self, resource: Resource) -> &Arc<Cacher> {
        self.cachers.get(&resource).expect("every kind has a cache")
    }
}
