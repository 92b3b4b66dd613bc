//! Scenario runs.

use std::collections::BTreeMap;

use kms_judge::CheckStatus;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Arm, StatusSchema};

/// One scenario run with one seed in one arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScenarioReport {
    /// `<scenario>#<seed>`.
    pub run_id: String,
    /// Kebab-case id of the scenario.
    pub scenario_id: String,
    /// Digest of the scenario's file.
    pub spec_digest: String,
    /// What stood around the subject.
    pub arm: Arm,
    /// What a repetition has in common with this run.
    pub determinism: Determinism,
    /// The seed.
    pub seed: u64,
    /// Digest of the labels that randomness was drawn under.
    pub seed_tree_digest: String,
    /// The verdict.
    #[schemars(with = "StatusSchema")]
    pub verdict: CheckStatus,
    /// Why nothing ran, or why the run broke off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Length in virtual time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sim_duration_ns: Option<u64>,
    /// Length in real time.
    pub wall_duration_ns: u64,
    /// Phases in order.
    pub phases: Vec<PhaseSpan>,
    /// Faults, by id.
    pub faults: Vec<Fault>,
    /// What the callers did.
    pub load: Load,
    /// What had to hold, by id.
    pub invariants: Vec<Invariant>,
    /// Digest of the trace.
    pub trace_digest: String,
    /// Path of the history in the bundle.
    pub history_ref: String,
    /// How to run it again.
    pub replay: Replay,
    /// The smallest run that still fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shrunk: Option<Shrunk>,
}

/// What a repetition of a run has in common with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Determinism {
    /// The whole trace.
    Exact,
    /// The schedule of faults and load.
    Schedule,
    /// Nothing.
    None,
}

impl Determinism {
    /// The word used in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Determinism::Exact => "exact",
            Determinism::Schedule => "schedule",
            Determinism::None => "none",
        }
    }
}

/// One phase as offsets from the run's start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PhaseSpan {
    /// Its name.
    pub name: String,
    /// First nanosecond.
    pub start_ns: u64,
    /// The nanosecond after the last.
    pub end_ns: u64,
}

/// One fault. Without hits it proves nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// Its id in the scenario.
    pub id: String,
    /// What it was done to.
    pub target: String,
    /// What was done.
    pub kind: String,
    /// With which values.
    pub params: BTreeMap<String, serde_json::Value>,
    /// When it should have been there.
    pub planned: Planned,
    /// When it was put in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub injected_at_ns: Option<u64>,
    /// When it was taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered_at_ns: Option<u64>,
    /// How many calls, frames or files it touched.
    pub hits: u64,
    /// How one can see that it worked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
}

/// When a fault should be there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Planned {
    /// From.
    pub at_ns: u64,
    /// For how long; until the end if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ns: Option<u64>,
}

/// What the callers did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Load {
    /// How many callers.
    pub callers: u64,
    /// Calls by method.
    pub calls: BTreeMap<String, u64>,
    /// Calls that succeeded.
    pub ok: u64,
    /// Calls that failed.
    pub failed: u64,
    /// Calls whose outcome nobody knows.
    pub indeterminate: u64,
}

/// Something that had to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Invariant {
    /// Kebab-case name of what must be true.
    pub id: String,
    /// When it had to be true.
    pub kind: InvariantKind,
    /// How often it was looked at.
    pub evaluations: u64,
    /// Its verdict.
    #[schemars(with = "StatusSchema")]
    pub result: CheckStatus,
    /// Where it was broken first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_violation: Option<Violation>,
    /// By when it had to become true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ns: Option<u64>,
    /// When it became true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub met_at_ns: Option<u64>,
}

/// When an invariant has to be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InvariantKind {
    /// At each evaluation.
    Always,
    /// From some point on, before the deadline.
    Eventually,
    /// At least once over all runs.
    Sometimes,
    /// At no evaluation.
    Never,
}

/// Where an invariant was broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Violation {
    /// Offset from the run's start.
    pub at_ns: u64,
    /// Sequence number of the event.
    pub event: u64,
    /// The event, redacted.
    pub excerpt: String,
}

/// How to run something again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Replay {
    /// The command.
    pub command: String,
    /// What it needs besides the bundle.
    pub needs: Vec<String>,
}

/// What shrinking found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Shrunk {
    /// Before.
    pub from: Size,
    /// After.
    pub to: Size,
    /// How many runs it took.
    pub steps: u64,
    /// Seed of the smallest run.
    pub seed: u64,
    /// Command that repeats it.
    pub replay: String,
}

/// Size of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Size {
    /// Number of faults.
    pub faults: u64,
    /// Number of calls.
    pub calls: u64,
}
