//! What a server is started with.

use crate::object::SourceType;
use crate::version::Version;

/// Flags, gates and switches of one server.
#[derive(Clone, Debug)]
pub struct Options {
    /// The emulated version.
    pub version: Version,
    /// The API server's id, hashed into metrics; empty before the identity is known.
    pub server_id: String,
    /// The path of the configuration file: appears in error texts only.
    pub config_path: String,
    /// `--encryption-provider-config-automatic-reload`.
    pub reload: bool,
    /// Feature gate KMSv1; unset, the version's default.
    pub kms_v1: Option<bool>,
    /// The upstream bug of KMS2-STATUS-13: a valid key_id is acted on even if Status says that the
    /// plugin is sick or of a wrong version. On in every release so far.
    pub act_on_sick_status: bool,
    /// The upstream bug of KMS2-DEC-03: a decrypted seed is cached before it has opened the value that it was asked for.
    /// On in every release so far.
    pub cache_unproven_seeds: bool,
    /// Whether seeds rather than keys are made; unset, the version's rule. Upstream has it for
    /// tests, and as gate KMSv2KDF in 1.28.
    pub seed_mode: Option<bool>,
    /// The log verbosity: lines above it are not made.
    pub verbosity: u8,
}

impl Options {
    /// The defaults of a version, with this file.
    pub fn new(version: Version, config_path: impl Into<String>) -> Self {
        Options {
            version,
            server_id: String::new(),
            config_path: config_path.into(),
            reload: false,
            kms_v1: None,
            act_on_sick_status: true,
            cache_unproven_seeds: true,
            seed_mode: None,
            verbosity: 2,
        }
    }

    /// What new seeds are made for.
    pub(crate) fn source_type(&self) -> SourceType {
        if self.seed_mode.unwrap_or(self.version.writes_seeds()) {
            SourceType::HkdfSeed
        } else {
            SourceType::AesGcmKey
        }
    }

    pub(crate) fn allows_kms_v1(&self) -> bool {
        self.kms_v1.unwrap_or(self.version.kms_v1_by_default())
    }
}
