//! What was seen in Vault and in etcd.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Seen;
use crate::sign::Sign;

/// Vault.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vault {
    /// `sys/health`.
    pub health: Seen<Health>,
    /// The Transit key, `not_there` if Vault says so.
    pub key: Seen<Key>,
    /// What came of doing what the plugin does, with its own token: by operation.
    pub plugin: Seen<BTreeMap<String, Try>>,
}

/// `sys/health` and `sys/leader`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// HTTP status.
    pub status: u16,
    /// It is initialised.
    pub initialised: bool,
    /// It is sealed.
    pub sealed: bool,
    /// It does not lead.
    pub standby: bool,
    /// It knows who leads; nothing if it does not say.
    pub knows_leader: Option<bool>,
    /// Its version.
    pub version: String,
}

/// A Transit key without its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// A type that there is, or `other`.
    pub kind: String,
    /// Newest version.
    pub latest: u64,
    /// Older versions do not decrypt.
    pub min_decryption: u64,
    /// Older versions do not encrypt; 0 for the newest.
    pub min_encryption: u64,
    /// It may be deleted.
    pub deletion_allowed: bool,
    /// OpenBao holds it back.
    pub soft_deleted: bool,
    /// Versions that can be seen.
    pub versions: Vec<Version>,
}

/// A version of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// Its number.
    pub number: u64,
    /// When it was made.
    pub created: Option<i64>,
}

/// What came of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Try {
    /// HTTP status, 0 if nobody answered.
    pub status: u16,
    /// What the text is known for.
    pub signs: Vec<Sign>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// For a look at the token: seconds that it lives, 0 for ever.
    pub ttl: Option<u64>,
}

/// What lies in etcd of a component.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Etcd {
    /// By resource, values by what they begin with: `plain`, `kms:1`, `aescbc:2`, `other`.
    pub values: BTreeMap<String, BTreeMap<String, u64>>,
    /// Values by the hash of the key_id in them.
    pub key_ids: BTreeMap<String, u64>,
    /// Values under KMS v2, of all resources, by how they are written.
    pub written: Written,
}

/// Values under KMS v2 by what their annotations say of the plugin that wrote them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// By vault-kubernetes-kms, bound to their key_id.
    pub bound: u64,
    /// By vault-kubernetes-kms in the first phase of taking over: not bound (KMS2-DEC-05).
    pub unbound: u64,
    /// By another plugin.
    pub foreign: u64,
}

impl Written {
    /// One more, with this value of the annotation.
    pub(crate) fn count(&mut self, format: Option<&[u8]>) {
        let kind = match format {
            Some(b"1") => &mut self.bound,
            Some(b"0") => &mut self.unbound,
            // none, or one that no version of the plugin writes
            _ => &mut self.foreign,
        };
        *kind += 1;
    }

    /// With those of another component.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            bound: self.bound + other.bound,
            unbound: self.unbound + other.unbound,
            foreign: self.foreign + other.foreign,
        }
    }

    /// Those that vault-kubernetes-kms reads with `-adopt` alone.
    pub fn need_adopt(self) -> u64 {
        self.unbound + self.foreign
    }
}
