//! The ways from one kind of encryption to another.

use serde::Serialize;

use crate::options::{Mode, Words};

/// A migration path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Path {
    /// Plain text to KMS.
    IdentityToKms,
    /// A local key to KMS.
    AescbcToKms,
    /// KMS to KMS with another Transit key, each with its plugins and socket (v2).
    KmsToKms,
    /// KMS to plain text.
    KmsToIdentity,
}

impl Words for Path {
    const ALL: &'static [(&'static str, Self)] = &[
        ("identity-to-kms", Self::IdentityToKms),
        ("aescbc-to-kms", Self::AescbcToKms),
        ("kms-to-kms", Self::KmsToKms),
        ("kms-to-identity", Self::KmsToIdentity),
    ];
    const WHAT: &'static str = "path";
}

/// The Transit key that [`Path::KmsToKms`] goes to.
pub const NEXT_KEY: &str = "kms-key-b";

impl Path {
    /// What the cluster goes through before, one after the other, so that the path begins there. With an older key there
    /// is one more, and after the path something to prune.
    pub fn before(self, older: bool) -> &'static [&'static str] {
        let all: &[&str] = match self {
            Self::IdentityToKms if older => &["aescbc", "identity"],
            Self::IdentityToKms => &[],
            Self::AescbcToKms => &["aesgcm", "aescbc"],
            Self::KmsToKms | Self::KmsToIdentity => &["aescbc", "KMS"],
        };
        if older || all.is_empty() {
            all
        } else {
            &all[1..]
        }
    }

    /// The type that the spec is set to.
    pub fn to(self) -> &'static str {
        match self {
            Self::KmsToIdentity => "identity",
            _ => "KMS",
        }
    }

    /// The operators that know this path: those of the procedure, unless they cannot.
    pub fn mode(self) -> Mode {
        match self {
            Self::KmsToKms => Mode::V2,
            _ => Mode::Seed,
        }
    }

    /// A KMS provider holds data when it begins.
    pub fn from_kms(self) -> bool {
        matches!(self, Self::KmsToKms | Self::KmsToIdentity)
    }

    /// What a value in etcd begins with once key `number` has everything.
    pub fn prefix(self, number: u64) -> String {
        match self {
            Self::KmsToIdentity => "plain".to_owned(),
            _ => format!("k8s:enc:kms:v2:{number}_"),
        }
    }
}
