//! Property tests, findings and the files of the bundle.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A property tried on many random inputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Property {
    /// Kebab-case name of what must be true.
    pub id: String,
    /// Inputs tried.
    pub cases: u64,
    /// Inputs thrown away.
    pub discarded: u64,
    /// Inputs by kind.
    pub distribution: BTreeMap<String, u64>,
    /// Seed of the inputs.
    pub seed: u64,
    /// Steps made to find a smaller failing input.
    pub shrinks: u64,
    /// The smallest failing input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimal: Option<String>,
}

/// What a person should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Finding {
    /// The cause in one line.
    pub title: String,
    /// How bad it is.
    pub severity: Severity,
    /// Requirement ids concerned.
    pub requirements: Vec<String>,
    /// Scenario runs that show it.
    pub scenario_runs: Vec<String>,
    /// Where in the bundle it shows.
    pub evidence: Vec<String>,
}

/// How bad a finding is, the worst first.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Data can be lost.
    Critical,
    /// Service can be lost.
    High,
    /// Something else is wrong.
    Medium,
    /// Good to know.
    Low,
}

/// One file of the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Attachment {
    /// Path inside the bundle.
    pub path: String,
    /// Its media type.
    pub media_type: String,
    /// 64 hex digits.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// How it was redacted.
    pub redaction: String,
    /// What it shows.
    pub describes: String,
}
