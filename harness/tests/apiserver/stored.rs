//! A stored value taken apart as far as it goes without its key (KMS2-ETCD-01, KMS2-OBJ-01).

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use kms_apiserver_api::StoredValue;
use prost::Message;

/// What the server writes after the prefix.
#[derive(Clone, PartialEq, Message)]
struct EncryptedObject {
    #[prost(bytes = "vec", tag = "1")]
    data: Vec<u8>,
    #[prost(string, tag = "2")]
    key_id: String,
    #[prost(bytes = "vec", tag = "3")]
    seed: Vec<u8>,
    #[prost(btree_map = "string, bytes", tag = "4")]
    annotations: BTreeMap<String, Vec<u8>>,
    #[prost(int32, tag = "5")]
    kind: i32,
}

/// A stored value.
#[derive(Clone, Debug)]
pub struct Stored {
    /// `k8s:enc:kms:v2:NAME:`, or that of another provider.
    pub prefix: String,
    /// Empty for other providers.
    pub key_id: String,
    /// The wrapped seed; empty for other providers.
    pub seed: Vec<u8>,
    /// Names of the annotations.
    pub annotations: Vec<String>,
    /// The kind of seed: 1 since 1.29.
    pub kind: i32,
    bytes: Vec<u8>,
}

impl Stored {
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let value = StoredValue {
            bytes: bytes.to_vec(),
            mod_revision: 0,
        };
        let prefix = value.prefix();
        let object = if prefix.starts_with(b"k8s:enc:kms:v2:") {
            EncryptedObject::decode(&bytes[prefix.len()..]).context("no EncryptedObject")?
        } else {
            EncryptedObject::default()
        };
        Ok(Self {
            prefix: String::from_utf8_lossy(prefix).into_owned(),
            key_id: object.key_id,
            seed: object.seed,
            annotations: object.annotations.into_keys().collect(),
            kind: object.kind,
            bytes: bytes.to_vec(),
        })
    }

    /// Whether the bytes stand anywhere in it.
    pub fn holds(&self, needle: &[u8]) -> bool {
        self.bytes.windows(needle.len()).any(|part| part == needle)
    }

    /// The first 32 bytes as hexdump's right column shows them.
    pub fn shown(&self) -> String {
        self.bytes
            .iter()
            .take(32)
            .map(|byte| match byte {
                0x20..=0x7e => char::from(*byte),
                _ => '.',
            })
            .collect()
    }
}
