//! The EncryptionConfiguration file: parsed, defaulted and validated as upstream does it, with
//! upstream's texts (KMS2-CFG-01 to -06, KMS2-START-02).
//!
//! Not for what becomes of it: that is the business of the chains.

mod decode;
mod endpoint;
mod tree;
mod validate;

use std::time::Duration;

use zeroize::Zeroizing;

pub use self::endpoint::Endpoint;
use crate::gotext::{quote, sha256};
use crate::options::Options;
use crate::version::{ContentHashForm, Version};

/// A configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// In the file's order.
    pub entries: Vec<Entry>,
}

/// Some resources, and who encrypts them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Such as `secrets`, `deployments.apps`, `*.apps`, `*.` or `*.*`.
    pub resources: Vec<String>,
    /// The first one writes.
    pub providers: Vec<Provider>,
}

/// A provider; exactly one field is set once it is validated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provider {
    /// Keys of `aesgcm`.
    pub aesgcm: Option<Vec<Key>>,
    /// Keys of `aescbc`.
    pub aescbc: Option<Vec<Key>>,
    /// Keys of `secretbox`.
    pub secretbox: Option<Vec<Key>>,
    /// Whether it is `identity`.
    pub identity: bool,
    /// A `kms` plugin.
    pub kms: Option<Kms>,
}

/// A named key.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// Its name, part of the stored prefix.
    pub name: String,
    /// The key in base64.
    pub secret: Zeroizing<String>,
}

impl std::fmt::Debug for Key {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Key {
    /// The key's bytes; Go's decoder skips line breaks.
    fn bytes(&self) -> Option<Zeroizing<Vec<u8>>> {
        use base64::Engine as _;
        let compact: Zeroizing<String> = Zeroizing::new(self.secret.replace(['\n', '\r'], ""));
        base64::engine::general_purpose::STANDARD
            .decode(compact.as_bytes())
            .ok()
            .map(Zeroizing::new)
    }

    /// The bytes of a key that validation let through.
    pub(crate) fn valid_bytes(&self) -> Zeroizing<Vec<u8>> {
        self.bytes().expect("validation refuses what is not base64")
    }
}

/// A `kms` entry with its defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kms {
    /// `v1` unless it is said.
    pub api_version: String,
    /// Its name, part of the stored prefix.
    pub name: String,
    /// Of KMS v1 only; 1000 unless it is said.
    pub cache_size: Option<i32>,
    /// A URL.
    pub endpoint: String,
    /// Nanoseconds; 3 s unless it is said.
    pub timeout: i64,
}

impl Kms {
    /// The timeout of a validated entry.
    pub fn timeout(&self) -> Duration {
        Duration::from_nanos(self.timeout.unsigned_abs())
    }
}

impl Config {
    /// Parses and validates a file's content.
    ///
    /// # Errors
    /// With upstream's text from `error while parsing file:` on.
    pub fn parse(content: &[u8], options: &Options) -> Result<Self, String> {
        let path = quote(&options.config_path);
        let parsed = if content.is_empty() {
            Err(format!(
                "error while loading file: encryption provider configuration file {path} is empty"
            ))
        } else {
            match std::str::from_utf8(content) {
                Ok(text) => decode::decode(text, options.version, &options.config_path),
                Err(_) => Err(format!(
                    "error decoding encryption provider configuration file {path}: yaml: invalid \
                     leading UTF-8 octet"
                )),
            }
        };
        parsed
            .and_then(|config| {
                validate::validate(&config, options.reload)?;
                Ok(config)
            })
            .map_err(|why| format!("error while parsing file: {why}"))
    }

    /// The sum of the timeouts, in which a v1 entry counts twice (KMS2-RELOAD-06).
    pub fn timeouts(&self) -> Duration {
        let kms = self
            .entries
            .iter()
            .flat_map(|entry| &entry.providers)
            .filter_map(|provider| provider.kms.as_ref());
        kms.map(|kms| match kms.api_version.as_str() {
            "v1" => kms.timeout().saturating_mul(2),
            _ => kms.timeout(),
        })
        .fold(Duration::ZERO, Duration::saturating_add)
    }
}

/// The hash of a file's content in the version's form (KMS2-RELOAD-03).
pub fn content_hash(content: &[u8], version: Version) -> String {
    let hash = sha256(content);
    let digits = hash.trim_start_matches("sha256:");
    match version.content_hash_form() {
        ContentHashForm::Hex => digits.to_owned(),
        ContentHashForm::Unstable => format!("k8s:enc:unstable:1:{digits}"),
        ContentHashForm::Sha256 => hash,
    }
}
