//! The canonical document, type by type in the order it is written.
//!
//! Objects are closed; `extra` alone takes foreign keys. Durations are whole nanoseconds, times
//! are RFC 3339 in UTC and come from the caller, virtual times are offsets from the run's start.
//! Not for how a report comes about ([`crate::build`](fn@crate::build)) or looks.

mod evidence;
mod latency;
mod outcome;
mod scenario;
mod subject;
mod suite;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use evidence::{Attachment, Finding, Property, Severity};
pub use latency::{LatencyKey, LatencySeries, Phase};
pub(crate) use outcome::StatusSchema;
pub use outcome::{
    Attempt, CheckReport, Counts, ProfileReport, ProfileResult, RequirementReport, Waiver,
};
pub use scenario::{
    Determinism, Fault, Invariant, InvariantKind, Load, PhaseSpan, Planned, Replay, ScenarioReport,
    Shrunk, Size, Violation,
};
pub use subject::{
    Arm, Artifact, ArtifactDigest, ArtifactKind, Backend, Capabilities, Environment, Kubernetes,
    Launch, LaunchKind, Observed, Origin, Plan, PlanEntry, Subject,
};
pub use suite::{
    ApiServerModel, Calibration, Contract, DeterminismCheck, ModelConformance, ReferenceSubject,
    Suite, Trust, VaultModel,
};

/// Value of [`Report::format`].
pub const FORMAT: &str = "kmsv2-conformance-report";

/// Value of [`Report::schema_version`] that this crate writes.
pub const SCHEMA_VERSION: &str = "1.0";

/// One conformance report on one subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Report {
    /// Always `kmsv2-conformance-report`.
    pub format: String,
    /// `MAJOR.MINOR`; readers refuse another major and warn at a newer minor.
    pub schema_version: String,
    /// A UUID, new for each report.
    pub report_id: String,
    /// Shared by all reports on one run.
    pub run_id: String,
    /// When the report was made, RFC 3339 UTC.
    pub created_at: String,
    /// Program and version that wrote it.
    pub generated_by: String,
    /// Report id of the report that this one judges again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub derived_from: Option<String>,
    /// What judged.
    pub suite: Suite,
    /// Why the verdict can be believed.
    pub trust: Trust,
    /// What was judged.
    pub subject: Subject,
    /// Where it ran.
    pub environment: Environment,
    /// The resolved options of the run, redacted.
    pub plan: Plan,
    /// Verdicts, smallest profile first.
    pub profiles: Vec<ProfileReport>,
    /// Every requirement that binds a plugin, by id.
    pub requirements: Vec<RequirementReport>,
    /// Scenario runs, by id, arm and seed.
    pub scenarios: Vec<ScenarioReport>,
    /// Latencies, by operation, arm, phase and outcome.
    pub latency: Vec<LatencySeries>,
    /// Property tests, by id.
    pub properties: Vec<Property>,
    /// What a person should look at, grouped by cause.
    pub findings: Vec<Finding>,
    /// What this run did not and could not show, one line each; never empty.
    pub limits: Vec<String>,
    /// Files of the bundle, by path.
    pub attachments: Vec<Attachment>,
    /// The only place for foreign keys.
    pub extra: BTreeMap<String, serde_json::Value>,
}
