//! The trait.

use std::future::Future;
use std::pin::Pin;

use serde_json::Value;
use thiserror::Error;

use crate::answer::{Answer, WatchEvent};
use crate::target::{Call, ListOptions, Method, Resource, StoredValue, Target};

/// Something that is on its way. Boxed, so that `dyn ApiServer` can be held.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, Trouble>> + Send + 'a>>;

/// The harness could not do its job: no connection, no answer in the caller's time, an answer that is not HTTP or not
/// JSON, a part that is missing. Never what the server said.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Trouble(pub String);

impl Trouble {
    /// A trouble in words.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// The start of a watch.
pub enum Watching {
    /// The server refused it.
    Refused(Answer),
    /// It is open.
    Open(Box<dyn Events>),
}

/// An open watch. Dropped, it is closed.
pub trait Events: Send {
    /// The next event; nothing when the server has closed the watch.
    fn next(&mut self) -> Pending<'_, Option<WatchEvent>>;
}

/// One kube-apiserver.
///
/// All methods may be called concurrently. Paths are those of the Kubernetes API; implementations serve the kinds of
/// [`Resource`], the health paths and `/metrics` at least.
pub trait ApiServer: Send + Sync {
    /// Sends one request and waits for its answer, at most [`Call::timeout`]; then the caller hangs up and the result is
    /// [`Trouble`].
    fn call(&self, call: Call) -> Pending<'_, Answer>;

    /// Opens a watch.
    fn watch(&self, resource: Resource, options: ListOptions) -> Pending<'_, Watching>;

    /// Stops the server at once, as a crash would, and starts it again with the same flags. Returns when it serves
    /// HTTP, ready or not.
    fn restart(&self) -> Pending<'_, ()>;

    /// Replaces the text of the encryption configuration file. The server takes it up by its own poll (KMS2-RELOAD-02);
    /// the method does not wait for that.
    fn write_config<'a>(&'a self, text: &'a str) -> Pending<'a, ()>;

    /// The value as it lies in the store, read past the server.
    fn stored<'a>(&'a self, target: &'a Target) -> Pending<'a, Option<StoredValue>>;

    /// Puts a value into the store past the server: what a damage, a restore from backup or an intruder does. `None`
    /// removes the key.
    fn store<'a>(&'a self, target: &'a Target, value: Option<Vec<u8>>) -> Pending<'a, ()>;

    /// Creates an object; its name and namespace are taken from the target.
    fn create<'a>(&'a self, target: &'a Target, object: Value) -> Pending<'a, Answer> {
        let object = named(target, object);
        self.call(Call::new(Method::Post, target.collection()).with_body(object))
    }

    /// Reads one object, newest state.
    fn get<'a>(&'a self, target: &'a Target) -> Pending<'a, Answer> {
        self.call(Call::new(Method::Get, target.path()))
    }

    /// Lists objects.
    fn list(&self, resource: Resource, options: ListOptions) -> Pending<'_, Answer> {
        self.call(Call::new(Method::Get, options.path(resource, false)))
    }

    /// Replaces an object with what is given: its `metadata.resourceVersion`, if there is one, must be the current one.
    fn update<'a>(&'a self, target: &'a Target, object: Value) -> Pending<'a, Answer> {
        let object = named(target, object);
        self.call(Call::new(Method::Put, target.path()).with_body(object))
    }

    /// Deletes an object.
    fn delete<'a>(&'a self, target: &'a Target) -> Pending<'a, Answer> {
        self.call(Call::new(Method::Delete, target.path()))
    }

    /// Deletes an object that cannot be decrypted (from 1.37, KMS2-DEC-13).
    fn delete_unreadable<'a>(&'a self, target: &'a Target) -> Pending<'a, Answer> {
        let options = serde_json::json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "ignoreStoreReadErrorWithClusterBreakingPotential": true,
        });
        self.call(Call::new(Method::Delete, target.path()).with_body(options))
    }

    /// Asks a health path such as `/readyz?verbose` or `/healthz/kms-providers`.
    fn health<'a>(&'a self, path: &'a str) -> Pending<'a, Answer> {
        self.call(Call::new(Method::Get, path))
    }

    /// The metrics in Prometheus' text format.
    fn metrics(&self) -> Pending<'_, String> {
        Box::pin(async {
            let answer = self.call(Call::new(Method::Get, "/metrics")).await?;
            if answer.code == 200 {
                Ok(answer.text().to_owned())
            } else {
                Err(Trouble::new(format!("/metrics answered {}", answer.code)))
            }
        })
    }
}

/// The object with the target's kind, name and namespace in it.
fn named(target: &Target, mut object: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.entry("apiVersion").or_insert_with(|| "v1".into());
        fields
            .entry("kind")
            .or_insert_with(|| target.resource.kind().into());
        let metadata = fields
            .entry("metadata")
            .or_insert_with(|| Value::Object(serde_json::Map::new()));
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.insert("name".to_owned(), target.name.clone().into());
            if target.resource.namespaced() {
                metadata.insert("namespace".to_owned(), target.namespace.clone().into());
            }
        }
    }
    object
}
