//! A key as the state machine sees it: number, mode, material, what is migrated to it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use crate::encryption_config::KmsProvider;
use crate::resource::GroupResource;

/// How a key encrypts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// AES-CBC in the API server.
    Aescbc,
    /// AES-GCM in the API server.
    Aesgcm,
    /// Secretbox: readable in old configs, refused in a spec.
    Secretbox,
    /// Not at all; the key stands for "decrypted since".
    Identity,
    /// A KMS v2 plugin.
    Kms,
}

impl Mode {
    /// As spec and annotations spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aescbc => "aescbc",
            Self::Aesgcm => "aesgcm",
            Self::Secretbox => "secretbox",
            Self::Identity => "identity",
            Self::Kms => "KMS",
        }
    }

    /// Reads the spelling; upper and lower case matter.
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::Aescbc,
            Self::Aesgcm,
            Self::Secretbox,
            Self::Identity,
            Self::Kms,
        ]
        .into_iter()
        .find(|mode| mode.as_str() == text)
    }
}

/// What a key of mode KMS carries beside its number.
#[derive(Clone, PartialEq, Eq)]
pub struct KmsPart {
    /// The provider entry; its name is replaced for each resource.
    pub provider: KmsProvider,
    /// v2: the plugin's configuration, as it stands in the key secret.
    pub plugin: Option<Vec<u8>>,
    /// v2: what the configuration referred to, by `secret-<name>_<key>` or `configmap-<name>_<key>`.
    pub referenced: BTreeMap<String, Vec<u8>>,
}

/// Shows the provider, and how many references there are.
impl fmt::Debug for KmsPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KmsPart")
            .field("provider", &self.provider)
            .field("plugin", &self.plugin.is_some())
            .field("referenced", &self.referenced.keys())
            .finish()
    }
}

/// One key.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyState {
    /// Its name in a config; normally a number.
    pub name: String,
    /// Its material in base64.
    pub secret: String,
    /// How it encrypts.
    pub mode: Mode,
    /// There is a key secret for it.
    pub backed: bool,
    /// When the last resource was migrated to it.
    pub migrated_at: Option<Timestamp>,
    /// The resources that are migrated to it.
    pub migrated: Vec<GroupResource>,
    /// Why the operator made it.
    pub internal_reason: String,
    /// Why an administrator wanted it.
    pub external_reason: String,
    /// Mode KMS: what its key secret says, if that could be read.
    pub kms: Option<KmsPart>,
}

/// Leaves out the material.
impl fmt::Debug for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyState")
            .field("name", &self.name)
            .field("mode", &self.mode)
            .field("backed", &self.backed)
            .field("migrated", &self.migrated)
            .field("internal_reason", &self.internal_reason)
            .field("external_reason", &self.external_reason)
            .field("kms", &self.kms)
            .finish_non_exhaustive()
    }
}

impl KeyState {
    /// A key that is known from a config only.
    pub fn unbacked(name: &str, secret: &str, mode: Mode) -> Self {
        Self {
            name: name.to_owned(),
            secret: secret.to_owned(),
            mode,
            backed: false,
            migrated_at: None,
            migrated: Vec::new(),
            internal_reason: String::new(),
            external_reason: String::new(),
            kms: None,
        }
    }

    /// Its number.
    pub fn number(&self) -> Option<u64> {
        key_number(&self.name)
    }

    /// Same number, mode and material.
    pub fn same_as(&self, other: &Self) -> bool {
        self.mode == other.mode
            && self.secret == other.secret
            && self
                .number()
                .is_some_and(|number| other.number() == Some(number))
    }

    /// All of these resources are migrated to it.
    pub fn migrated_for<'a>(&self, resources: impl IntoIterator<Item = &'a GroupResource>) -> bool {
        resources.into_iter().all(|gr| self.migrated.contains(gr))
    }

    /// The last migration lies further back than `age`. One that never was counts as long ago.
    pub fn migrated_longer_ago_than(&self, age: Duration, now: Timestamp) -> bool {
        self.migrated_at.is_none_or(|at| older_than(at, age, now))
    }
}

/// `at` lies more than `age` before `now`.
pub(crate) fn older_than(at: Timestamp, age: Duration, now: Timestamp) -> bool {
    Duration::try_from(now.duration_since(at)).is_ok_and(|passed| passed > age)
}

/// The number at the end of a key's or key secret's name.
pub fn key_number(name: &str) -> Option<u64> {
    let digits = name.rsplit_once('-').map_or(name, |(_, last)| last);
    if digits.starts_with('+') {
        return None;
    }
    digits.parse().ok()
}

/// Newest number first; names without a number count as 0.
pub fn sort_recent_first(keys: &mut [KeyState]) {
    keys.sort_by_key(|key| std::cmp::Reverse(key.number().unwrap_or(0)));
}

/// The keys that something may still be stored under, and the next older one. `keys` is newest first.
pub fn keys_with_data_and_next(resources: &[GroupResource], keys: &[KeyState]) -> Vec<KeyState> {
    let mut missing: Vec<&GroupResource> = resources.iter().collect();
    for (i, key) in keys.iter().enumerate() {
        missing.retain(|gr| !key.migrated.contains(gr));
        if missing.is_empty() {
            return keys[..keys.len().min(i + 2)].to_vec();
        }
    }
    keys.to_vec()
}
