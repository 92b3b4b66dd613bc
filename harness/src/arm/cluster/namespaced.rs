//! The cluster's API as a scenario's engine sees it: what the engine calls `default` is the run's own namespace, and
//! everything that is made carries the run's label.

use std::sync::Arc;

use kms_apiserver_api::{
    Answer, ApiServer, Call, ListOptions, Pending, Resource, StoredValue, Target, Watching,
};
use serde_json::Value;

use super::store::Canaries;
use super::{LABEL, NAMESPACE};

/// Where the engine believes its objects to be.
const ENGINES: &str = "/api/v1/namespaces/default/";

/// The server behind it, and what lies in its store, where somebody may look there.
pub struct Namespaced {
    server: Arc<dyn ApiServer>,
    canaries: Option<Canaries>,
}

impl Namespaced {
    /// This server.
    pub fn new(server: Arc<dyn ApiServer>, canaries: Option<Canaries>) -> Self {
        Self { server, canaries }
    }
}

impl ApiServer for Namespaced {
    fn call(&self, mut call: Call) -> Pending<'_, Answer> {
        if let Some(rest) = call.path.strip_prefix(ENGINES) {
            call.path = format!("/api/v1/namespaces/{NAMESPACE}/{rest}");
            if let Some(body) = &mut call.body {
                labelled(body);
            }
        }
        self.server.call(call)
    }

    fn watch(&self, resource: Resource, mut options: ListOptions) -> Pending<'_, Watching> {
        options.namespace = Some(NAMESPACE.to_owned());
        self.server.watch(resource, options)
    }

    fn restart(&self) -> Pending<'_, ()> {
        self.server.restart()
    }

    fn write_config<'a>(&'a self, text: &'a str) -> Pending<'a, ()> {
        self.server.write_config(text)
    }

    /// Nothing where nobody looks past the API server: what would need it is not judged then.
    fn stored<'a>(&'a self, target: &'a Target) -> Pending<'a, Option<StoredValue>> {
        Box::pin(async {
            match &self.canaries {
                Some(canaries) => canaries.secret(&target.name).await,
                None => Ok(None),
            }
        })
    }

    fn store<'a>(&'a self, target: &'a Target, value: Option<Vec<u8>>) -> Pending<'a, ()> {
        self.server.store(target, value)
    }
}

/// Puts an object into the run's namespace, with its label.
pub fn labelled(object: &mut Value) {
    let (label, value) = LABEL.split_once('=').unwrap_or_default();
    if let Some(fields) = object.as_object_mut() {
        let metadata = fields
            .entry("metadata")
            .or_insert_with(|| Value::Object(serde_json::Map::new()));
        if metadata["namespace"] == "default" {
            metadata["namespace"] = NAMESPACE.into();
        }
        metadata["labels"][label] = value.into();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_gets_place_and_label() {
        let mut object = json!({"metadata": {"namespace": "default", "labels": {"a": "b"}}});
        labelled(&mut object);
        assert_eq!(object["metadata"]["namespace"], NAMESPACE);
        assert_eq!(object["metadata"]["labels"]["a"], "b");
        let label = "app.kubernetes.io/managed-by";
        assert_eq!(object["metadata"]["labels"][label], "kms-harness");
        let mut bare = json!({});
        labelled(&mut bare);
        assert_eq!(bare["metadata"]["labels"][label], "kms-harness");
    }
}
