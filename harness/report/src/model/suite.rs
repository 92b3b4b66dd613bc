//! What judged, and why it can be believed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The program that judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Suite {
    /// Program name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Source commit, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_commit: Option<String>,
    /// Whether the source differed from that commit, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dirty: Option<bool>,
    /// Cargo profile.
    pub build_profile: String,
    /// Compiler version, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rustc: Option<String>,
    /// Target triple, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Cargo features, sorted.
    pub features: Vec<String>,
    /// The requirements judged by.
    pub contract: Contract,
    /// Digest of the scenario files, if any ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenarios_digest: Option<String>,
}

/// The registry of requirements.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Contract {
    /// Always `kms/v2`.
    pub name: String,
    /// Newest server version it was read from, such as `v1.37`.
    pub version: String,
    /// `sha256:<hex>` over all requirements.
    pub registry_digest: String,
}

impl Contract {
    /// The registry that this build links.
    pub fn current() -> Self {
        Contract {
            name: kms_contract::CONTRACT_NAME.to_owned(),
            version: kms_contract::CONTRACT_VERSION.to_owned(),
            registry_digest: kms_contract::registry_digest(),
        }
    }
}

/// What was done to check the checker. Parts that were not done are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Trust {
    /// The suite run on deliberately broken plugins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// The suite run on plugins known to be good.
    pub reference_subjects: Vec<ReferenceSubject>,
    /// Our models compared with the real thing.
    pub model_conformance: ModelConformance,
    /// Simulated runs repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub determinism: Option<DeterminismCheck>,
}

/// The suite over the zoo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Calibration {
    /// Version of the zoo.
    pub zoo_version: String,
    /// How many broken plugins there are.
    pub mutants: u64,
    /// How many failed at exactly the requirement they break.
    pub killed: u64,
    /// Names of the others.
    pub survived: Vec<String>,
    /// Digest of the calibration's result.
    pub digest: String,
    /// When it was made, RFC 3339 UTC.
    pub at: String,
}

/// A plugin known to be good, and what the suite said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReferenceSubject {
    /// Name of the plugin.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its digest.
    pub digest: String,
    /// Verdict in words.
    pub result: String,
}

/// How our models were compared with the real thing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelConformance {
    /// The simulated API server, if it was compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apiserver: Option<ApiServerModel>,
    /// The simulated Vault, if it was compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<VaultModel>,
}

/// The simulated API server against recordings of the real one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApiServerModel {
    /// Version of the real one.
    pub version: String,
    /// How many recordings agreed.
    pub traces: u64,
    /// Digest of the recordings.
    pub digest: String,
}

/// The simulated Vault against recordings of the real one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VaultModel {
    /// Product recorded.
    pub product: String,
    /// Its version.
    pub version: String,
    /// How many recorded steps agreed.
    pub cases: u64,
    /// Digest of the recordings.
    pub digest: String,
}

/// Whether the same seed gave the same trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeterminismCheck {
    /// Whether it was looked at.
    pub checked: bool,
    /// Seed of the runs.
    pub seed: u64,
    /// How many runs were compared.
    pub runs: u64,
    /// Whether all had one trace digest.
    pub trace_digests_equal: bool,
    /// Where they first differed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_divergence: Option<String>,
}
