//! The objects that are served: Secret, ConfigMap, Namespace; as JSON to clients, as protobuf in the store.
//!
//! What is not modelled here: field ownership. `managedFields` are kept as they come and never made.

pub mod meta;
pub mod protobuf;
pub mod validate;
mod wire;

use std::collections::BTreeMap;
use std::fmt;

use kms_apiserver_api::Resource;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use meta::Meta;

/// Text that is binary in the store and base64 in JSON.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Blob(pub Vec<u8>);

impl fmt::Debug for Blob {
    /// Without what it holds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// One object.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// What every object has.
    pub meta: Meta,
    /// What its kind adds.
    pub body: Body,
}

/// What the kinds differ in.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A `v1` Secret.
    Secret(Secret),
    /// A `v1` ConfigMap.
    ConfigMap(ConfigMap),
    /// A `v1` Namespace.
    Namespace(Namespace),
}

/// The fields of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Secret {
    /// The values.
    #[serde(
        deserialize_with = "null_is_empty",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub data: BTreeMap<String, Blob>,
    /// Values as text; written over `data` on the way in and never shown.
    #[serde(deserialize_with = "null_is_empty", skip_serializing)]
    pub string_data: BTreeMap<String, String>,
    /// `Opaque` unless said otherwise.
    #[serde(deserialize_with = "null_is_empty", rename = "type")]
    pub kind: String,
    /// Whether it may still be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub immutable: Option<bool>,
}

/// The fields of a ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigMap {
    /// The values.
    #[serde(
        deserialize_with = "null_is_empty",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub data: BTreeMap<String, String>,
    /// Values that are not UTF-8.
    #[serde(
        deserialize_with = "null_is_empty",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub binary_data: BTreeMap<String, Blob>,
    /// Whether it may still be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub immutable: Option<bool>,
}

/// The fields of a Namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Namespace {
    /// `spec`.
    pub spec: NamespaceSpec,
    /// `status`.
    pub status: NamespaceStatus,
}

/// A Namespace's `spec`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NamespaceSpec {
    /// What holds up its deletion.
    #[serde(
        deserialize_with = "null_is_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub finalizers: Vec<String>,
}

/// A Namespace's `status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NamespaceStatus {
    /// `Active` or `Terminating`.
    #[serde(
        deserialize_with = "null_is_empty",
        skip_serializing_if = "String::is_empty"
    )]
    pub phase: String,
}

/// Kubernetes writes null where a map or list is nil.
fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Body {
    /// The kind of object that has such a body.
    pub fn resource(&self) -> Resource {
        match self {
            Body::Secret(_) => Resource::Secrets,
            Body::ConfigMap(_) => Resource::ConfigMaps,
            Body::Namespace(_) => Resource::Namespaces,
        }
    }
}

impl Object {
    /// Its kind.
    pub fn resource(&self) -> Resource {
        self.body.resource()
    }

    /// Reads an object that a client sent. Unknown fields are dropped, as the server does by default.
    ///
    /// # Errors
    /// It is not an object of this kind, in words that the client can use.
    pub fn from_json(resource: Resource, json: &Value) -> Result<Self, String> {
        let text = |name: &str| json.get(name).and_then(Value::as_str).unwrap_or_default();
        let (kind, version) = (text("kind"), text("apiVersion"));
        if !(kind.is_empty() && version.is_empty()) && (kind != resource.kind() || version != "v1")
        {
            return Err(format!(
                "{kind} in version \"{version}\" cannot be handled as a {}: no kind \"{kind}\" is registered for the resource",
                resource.kind()
            ));
        }
        let bad = |error: serde_json::Error| {
            format!(
                "{} in version \"v1\" cannot be handled as a {}: {error}",
                resource.kind(),
                resource.kind()
            )
        };
        let meta = json.get("metadata").filter(|meta| !meta.is_null());
        let meta = meta
            .map(Meta::deserialize)
            .transpose()
            .map_err(bad)?
            .unwrap_or_default();
        let body = match resource {
            Resource::Secrets => Body::Secret(Secret::deserialize(json).map_err(bad)?),
            Resource::ConfigMaps => Body::ConfigMap(ConfigMap::deserialize(json).map_err(bad)?),
            Resource::Namespaces => Body::Namespace(Namespace::deserialize(json).map_err(bad)?),
        };
        Ok(Object { meta, body })
    }

    /// The object as clients see it; an item of a list has neither kind nor version.
    pub fn to_json(&self, with_kind: bool) -> Value {
        let body = match &self.body {
            Body::Secret(body) => serde_json::to_value(body),
            Body::ConfigMap(body) => serde_json::to_value(body),
            Body::Namespace(body) => serde_json::to_value(body),
        };
        let mut json = Map::new();
        if with_kind {
            json.insert("kind".to_owned(), self.resource().kind().into());
            json.insert("apiVersion".to_owned(), "v1".into());
        }
        let meta = serde_json::to_value(&self.meta).expect("metadata is plain data");
        json.insert("metadata".to_owned(), meta);
        if let Value::Object(body) = body.expect("a body is plain data") {
            json.extend(body);
        }
        Value::Object(json)
    }

    /// The value at a field path that selectors may name.
    pub fn selectable(&self, field: &str) -> Option<&str> {
        match (field, &self.body) {
            ("metadata.name", _) => Some(&self.meta.name),
            ("metadata.namespace", _) if self.resource().namespaced() => Some(&self.meta.namespace),
            ("type", Body::Secret(secret)) => Some(&secret.kind),
            ("status.phase", Body::Namespace(namespace)) => Some(&namespace.status.phase),
            _ => None,
        }
    }

    /// Fills in what the server sets where the client says nothing, and folds `stringData` into `data`.
    pub fn set_defaults(&mut self) {
        match &mut self.body {
            Body::Secret(secret) => {
                for (key, value) in std::mem::take(&mut secret.string_data) {
                    secret.data.insert(key, Blob(value.into_bytes()));
                }
                if secret.kind.is_empty() {
                    "Opaque".clone_into(&mut secret.kind);
                }
            }
            Body::ConfigMap(_) => {}
            Body::Namespace(namespace) => {
                let name = self.meta.name.clone();
                if !name.is_empty() {
                    self.meta
                        .labels
                        .insert("kubernetes.io/metadata.name".to_owned(), name);
                }
                if namespace.status.phase.is_empty() {
                    "Active".clone_into(&mut namespace.status.phase);
                }
            }
        }
    }
}

impl Serialize for Blob {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use base64::Engine;
        serializer.serialize_str(&base64::engine::general_purpose::STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use base64::Engine;
        let mut text: String = null_is_empty(deserializer)?;
        // Go's decoder skips line ends
        if text.contains(['\r', '\n']) {
            text.retain(|letter| !matches!(letter, '\r' | '\n'));
        }
        let bytes = base64::engine::general_purpose::STANDARD.decode(text);
        // the error of the decoder would name a byte of the secret
        bytes
            .map(Blob)
            .map_err(|_| serde::de::Error::custom("illegal base64 data"))
    }
}
