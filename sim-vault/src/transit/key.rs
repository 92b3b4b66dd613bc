//! One key: its versions, its settings, and the document that describes it.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::{asymmetric, cipher};
use crate::{Core, Flavour, gobase64};

/// The types a key can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum KeyType {
    Aes128,
    Aes256,
    ChaCha,
    XChaCha,
    /// Bits of the modulus.
    Rsa(u16),
    /// Bits of the curve.
    Ecdsa(u16),
    Ed25519,
    Hmac,
}

impl KeyType {
    /// By its name; an empty name is no name.
    pub(crate) fn parse(name: &str, flavour: Flavour) -> Option<Self> {
        Some(match name {
            "aes128-gcm96" => Self::Aes128,
            "aes256-gcm96" => Self::Aes256,
            "chacha20-poly1305" => Self::ChaCha,
            "xchacha20-poly1305" if flavour.is_openbao() => Self::XChaCha,
            "rsa-2048" => Self::Rsa(2048),
            "rsa-3072" => Self::Rsa(3072),
            "rsa-4096" => Self::Rsa(4096),
            "ecdsa-p256" => Self::Ecdsa(256),
            "ecdsa-p384" => Self::Ecdsa(384),
            "ecdsa-p521" => Self::Ecdsa(521),
            "ed25519" => Self::Ed25519,
            "hmac" => Self::Hmac,
            _ => return None,
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Aes128 => "aes128-gcm96",
            Self::Aes256 => "aes256-gcm96",
            Self::ChaCha => "chacha20-poly1305",
            Self::XChaCha => "xchacha20-poly1305",
            Self::Rsa(2048) => "rsa-2048",
            Self::Rsa(3072) => "rsa-3072",
            Self::Rsa(_) => "rsa-4096",
            Self::Ecdsa(256) => "ecdsa-p256",
            Self::Ecdsa(384) => "ecdsa-p384",
            Self::Ecdsa(_) => "ecdsa-p521",
            Self::Ed25519 => "ed25519",
            Self::Hmac => "hmac",
        }
    }

    /// Encryption and decryption.
    pub(crate) fn encrypts(self) -> bool {
        self.is_aead() || matches!(self, Self::Rsa(_))
    }

    pub(crate) fn signs(self) -> bool {
        self.is_pair()
    }

    pub(crate) fn derives(self) -> bool {
        self.is_aead() || self == Self::Ed25519
    }

    /// A private and a public key.
    pub(crate) fn is_pair(self) -> bool {
        matches!(self, Self::Rsa(_) | Self::Ecdsa(_) | Self::Ed25519)
    }

    pub(crate) fn is_aead(self) -> bool {
        matches!(
            self,
            Self::Aes128 | Self::Aes256 | Self::ChaCha | Self::XChaCha
        )
    }

    pub(super) fn key_bytes(self) -> usize {
        if self == Self::Aes128 { 16 } else { 32 }
    }
}

/// Wiped when dropped.
pub(super) type Secret = Zeroizing<Vec<u8>>;

/// Wiped when dropped, and never printed.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Version {
    #[serde(with = "secret")]
    pub material: Zeroizing<Vec<u8>>,
    #[serde(with = "secret")]
    pub hmac: Zeroizing<Vec<u8>>,
    /// Seconds since 1970.
    pub created_unix: u64,
    /// Since the server's birth.
    pub created: Duration,
    /// Made by a rotation that was not stored.
    #[serde(default)]
    pub phantom: bool,
}

/// One named key.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Key {
    pub name: String,
    pub kind: KeyType,
    pub versions: BTreeMap<u32, Version>,
    pub latest: u32,
    pub min_decryption: u32,
    pub min_encryption: u32,
    pub min_available: u32,
    pub derived: bool,
    pub convergent: bool,
    pub exportable: bool,
    pub allow_backup: bool,
    pub deletion_allowed: bool,
    pub soft_deleted: bool,
    pub auto_rotate: Duration,
    pub key_size: usize,
    pub imported: bool,
    pub import_rotation: bool,
    /// Time and version of the latest backup and restore.
    pub backup_info: Option<(String, u32)>,
    pub restore_info: Option<(String, u32)>,
}

impl Key {
    pub(crate) fn new(name: &str, kind: KeyType) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            versions: BTreeMap::new(),
            latest: 0,
            min_decryption: 1,
            min_encryption: 0,
            min_available: 0,
            derived: false,
            convergent: false,
            exportable: false,
            allow_backup: false,
            deletion_allowed: false,
            soft_deleted: false,
            auto_rotate: Duration::ZERO,
            key_size: 0,
            imported: false,
            import_rotation: false,
            backup_info: None,
            restore_info: None,
        }
    }

    /// The next version, random.
    pub(crate) fn rotate(&mut self, core: &mut Core) {
        let size = if self.kind == KeyType::Hmac {
            self.key_size
        } else {
            self.kind.key_bytes()
        };
        let material = if self.kind.is_pair() {
            asymmetric::generate(core, self.kind)
        } else {
            core.random(size)
        };
        self.push(core, material);
    }

    pub(crate) fn push(&mut self, core: &mut Core, material: Vec<u8>) {
        self.latest += 1;
        let hmac = if self.kind == KeyType::Hmac {
            material.clone()
        } else {
            core.random(32)
        };
        let version = Version {
            material: Zeroizing::new(material),
            hmac: Zeroizing::new(hmac),
            created_unix: core.unix(),
            created: core.now,
            phantom: false,
        };
        // storing a key stores all that is in memory of it
        self.versions.values_mut().for_each(|v| v.phantom = false);
        self.versions.insert(self.latest, version);
    }

    /// The key as a node sees it whose view ends at `horizon`.
    pub(super) fn seen_until(mut self, horizon: Option<Duration>) -> Self {
        if let Some(horizon) = horizon {
            let first = self.versions.keys().next().copied();
            self.versions
                .retain(|n, v| v.created <= horizon || Some(*n) == first);
            self.latest = self
                .versions
                .keys()
                .next_back()
                .copied()
                .unwrap_or(self.latest);
        }
        self
    }

    /// The key to encrypt or decrypt with, and the one for convergent nonces.
    pub(super) fn material(&self, version: u32, context: &[u8]) -> Option<(Secret, Secret)> {
        let found = self.versions.get(&version)?;
        if !self.derived {
            return Some((found.material.clone(), Zeroizing::new(Vec::new())));
        }
        let size = self.kind.key_bytes();
        let wanted = if self.convergent { size + 32 } else { size };
        let mut key = if self.imported {
            cipher::derive_by_counter(&found.material, context)
        } else {
            cipher::derive(&found.material, context, wanted)
        };
        let nonce_key = key.split_off(size);
        Some((Zeroizing::new(key), Zeroizing::new(nonce_key)))
    }

    /// One version in the document: a time, or for a pair its public half.
    fn shown(&self, core: &Core, version: &Version) -> Value {
        if !self.kind.is_pair() {
            return version.created_unix.into();
        }
        let name = match self.kind {
            KeyType::Ecdsa(256) => "P-256",
            KeyType::Ecdsa(384) => "P-384",
            KeyType::Ecdsa(_) => "P-521",
            kind => kind.name(),
        };
        let mut out = json!({
            "certificate_chain": "",
            "creation_time": core.rfc3339(version.created),
            "name": name,
            // a derived key has a public half per context, and none without
            "public_key": if self.derived { String::new() } else { asymmetric::public(self.kind, &version.material).unwrap_or_default() },
        });
        if core.flavour.is_vault() {
            out["hybrid_public_key"] = "".into();
        }
        out
    }

    /// As reading, creating, rotating and configuring show it.
    pub(crate) fn document(&self, core: &Core) -> Map<String, Value> {
        let mut out = crate::reply::object(json!({
            "allow_plaintext_backup": self.allow_backup,
            "auto_rotate_period": self.auto_rotate.as_secs(),
            "deletion_allowed": self.deletion_allowed,
            "derived": self.derived,
            "exportable": self.exportable,
            "imported_key": self.imported,
            "latest_version": self.latest,
            "min_available_version": self.min_available,
            "min_decryption_version": self.min_decryption,
            "min_encryption_version": self.min_encryption,
            "name": self.name,
            "supports_decryption": self.kind.encrypts(),
            "supports_derivation": self.kind.derives(),
            "supports_encryption": self.kind.encrypts(),
            "supports_signing": self.kind.signs(),
            "type": self.kind.name(),
        }));
        let mut set = |name: &str, value: Value| {
            out.insert(name.to_owned(), value);
        };
        if core.flavour.is_openbao() {
            set("soft_deleted", self.soft_deleted.into());
        }
        if self.kind == KeyType::Hmac {
            set("key_size", self.key_size.into());
        } else {
            let keys = self
                .versions
                .range(self.min_decryption.max(1)..)
                .map(|(n, v)| (n.to_string(), self.shown(core, v)));
            set("keys", Value::Object(keys.collect()));
        }
        if self.derived {
            // imports are given no mode, and the oldest one is what that means
            if self.imported {
                set("kdf", "hmac-sha256-counter".into());
                set("kdf_mode", "hmac-sha256-counter".into());
            } else {
                set("kdf", "hkdf_sha256".into());
            }
            set("convergent_encryption", self.convergent.into());
            if self.convergent {
                set("convergent_encryption_version", (-1).into());
            }
        }
        if self.imported {
            set("imported_key_allow_rotation", self.import_rotation.into());
        }
        for (name, info) in [
            ("backup_info", &self.backup_info),
            ("restore_info", &self.restore_info),
        ] {
            if let Some((time, version)) = info {
                set(name, json!({ "time": time, "version": version }));
            }
        }
        out
    }
}

/// Key bytes in a backup: base64.
mod secret {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use zeroize::Zeroizing;

    use super::gobase64;

    pub(super) fn serialize<S: Serializer>(
        bytes: &Zeroizing<Vec<u8>>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(&gobase64::encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Zeroizing<Vec<u8>>, D::Error> {
        let text = String::deserialize(from)?;
        gobase64::decode(&text)
            .map(Zeroizing::new)
            .map_err(D::Error::custom)
    }
}
