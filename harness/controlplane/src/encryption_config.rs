//! The EncryptionConfiguration text that an API server is started with, as these operators write it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::gojson;
use crate::object::Secret;

/// Data key of a config secret, and the name of an operand's copy.
pub const CONFIG_KEY: &str = "encryption-config";
const KIND: &str = "EncryptionConfiguration";
const API_VERSION: &str = "apiserver.config.k8s.io/v1";
/// 16 zero bytes in base64: the material of identity and KMS keys.
pub const NULL_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAA==";

/// The configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncryptionConfiguration {
    /// `EncryptionConfiguration`.
    pub kind: String,
    /// `apiserver.config.k8s.io/v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// One entry per resource.
    #[serde(default)]
    pub resources: Vec<ResourceConfig>,
}

/// Providers of some resources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceConfig {
    /// Names; the operators write exactly one.
    #[serde(deserialize_with = "null_is_empty")]
    pub resources: Vec<String>,
    /// The first one writes, all of them read.
    #[serde(default, deserialize_with = "known_or_other")]
    pub providers: Vec<Provider>,
}

fn null_is_empty<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or_default())
}

/// Reads providers as the operators' decoder does: one of no kind that the API has is there, and says nothing.
fn known_or_other<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<Provider>, D::Error> {
    const KINDS: [&str; 5] = ["aesgcm", "aescbc", "secretbox", "identity", "kms"];
    let entries: Option<Vec<Value>> = Option::deserialize(d)?;
    let read = |entry: Value| match entry.as_object() {
        Some(object) if !KINDS.iter().any(|kind| object.contains_key(*kind)) => {
            Ok(Provider::Other(Empty {}))
        }
        _ => serde_json::from_value(entry).map_err(serde::de::Error::custom),
    };
    entries.unwrap_or_default().into_iter().map(read).collect()
}

/// One provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// AES-GCM; with [`NULL_KEY`] it only carries the number of an identity key.
    Aesgcm(Keys),
    /// AES-CBC.
    Aescbc(Keys),
    /// Secretbox.
    Secretbox(Keys),
    /// Plain text.
    Identity(Empty),
    /// A KMS plugin.
    Kms(KmsProvider),
    /// None of these: read, but never written.
    Other(Empty),
}

/// No settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// Keys of a local provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// The operators write exactly one.
    pub keys: Vec<Key>,
}

/// A local key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Its number.
    pub name: String,
    /// Its material in base64.
    pub secret: String,
}

/// Leaves out the material.
impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A KMS v2 plugin behind a socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KmsProvider {
    /// `v2`.
    #[serde(
        rename = "apiVersion",
        default,
        skip_serializing_if = "String::is_empty"
    )]
    pub api_version: String,
    /// `<number>_<resource>`, which is what stands in etcd.
    pub name: String,
    /// Not supported with v2; the operators carry along what somebody wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cachesize: Option<i32>,
    /// `unix://…`.
    pub endpoint: String,
    /// A Go duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
}

impl KmsProvider {
    /// The provider of key `number` at an endpoint, as the operators set it up.
    pub fn new(number: u64, endpoint: String) -> Self {
        Self {
            api_version: "v2".to_owned(),
            name: number.to_string(),
            cachesize: None,
            endpoint,
            timeout: Some("10s".to_owned()),
        }
    }
}

impl Provider {
    /// The identity provider.
    pub fn identity() -> Self {
        Self::Identity(Empty {})
    }

    /// One key in short: `aescbc:1`, `kms:2`, `identity`, `aesgcm-null:3` for the number of an identity key.
    pub fn label(&self) -> String {
        let first = |keys: &Keys| {
            keys.keys
                .first()
                .map_or("", |key| key.name.as_str())
                .to_owned()
        };
        match self {
            Self::Identity(_) => "identity".to_owned(),
            Self::Other(_) => "empty".to_owned(),
            Self::Aescbc(keys) => format!("aescbc:{}", first(keys)),
            Self::Aesgcm(keys) if keys.keys.first().is_some_and(|key| key.secret == NULL_KEY) => {
                format!("aesgcm-null:{}", first(keys))
            }
            Self::Aesgcm(keys) => format!("aesgcm:{}", first(keys)),
            Self::Secretbox(keys) => format!("secretbox:{}", first(keys)),
            Self::Kms(kms) => format!("kms:{}", kms.name.split('_').next().unwrap_or_default()),
        }
    }
}

impl EncryptionConfiguration {
    /// A configuration with these entries.
    pub fn new(resources: Vec<ResourceConfig>) -> Self {
        Self {
            kind: KIND.to_owned(),
            api_version: API_VERSION.to_owned(),
            resources,
        }
    }

    /// One line of JSON with a line feed.
    pub fn to_text(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec(self).expect("strings and lists always become JSON");
        text.push(b'\n');
        text
    }

    /// Reads a text.
    ///
    /// # Errors
    ///
    /// What the operators' decoder says, for a text that is no JSON or no such object. For one with a field of another
    /// shape, or a provider of two kinds at once, what is wrong in other words.
    pub fn from_text(text: &[u8]) -> Result<Self, String> {
        let unread = |why: String| format!("couldn't get version/kind; json parse error: {why}");
        if let Some(complaint) = gojson::complaint(text) {
            return Err(unread(complaint));
        }
        let object: Value = serde_json::from_slice(text).map_err(|e| e.to_string())?;
        if !object.is_object() && !object.is_null() {
            let kind = gojson::kind(&object);
            return Err(unread(format!(
                r#"json: cannot unmarshal {kind} into Go value of type struct {{ APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }}"#
            )));
        }
        let word = |name: &str| object[name].as_str().unwrap_or_default();
        for (name, shown) in [("kind", "Kind"), ("apiVersion", "apiVersion")] {
            if word(name).is_empty() {
                let text = String::from_utf8_lossy(text);
                return Err(format!("Object '{shown}' is missing in '{text}'"));
            }
        }
        let (kind, version) = (word("kind"), word("apiVersion"));
        if (kind, version) != (KIND, API_VERSION) {
            return Err(format!(
                "no kind {kind:?} is registered for version {version:?} in scheme \"pkg/runtime/scheme.go:110\""
            ));
        }
        serde_json::from_slice(text).map_err(|e| e.to_string())
    }

    /// The configuration in a secret, nothing if it has no such data.
    ///
    /// # Errors
    ///
    /// As [`Self::from_text`].
    pub fn from_secret(secret: &Secret) -> Result<Option<Self>, String> {
        secret
            .data
            .get(CONFIG_KEY)
            .map(|text| Self::from_text(text))
            .transpose()
    }
}
