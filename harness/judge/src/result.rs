//! What a judge says.

use serde::{Deserialize, Serialize};

/// Verdict of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    /// All assertions ran and held, and there was at least one.
    Pass,
    /// The subject broke the requirement.
    Fail,
    /// Allowed but doubtful, or sources conflict.
    Warn,
    /// Harness, environment or fault injection did not do its part.
    Inconclusive,
    /// The subject lacks the capability, and that was observed.
    NotApplicable,
    /// Excluded by the operator.
    Skipped,
    /// Budget, abort or missing option.
    NotRun,
}

/// The result of one check on one requirement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckResult {
    /// Kebab-case name of what must be true.
    pub check_id: String,
    /// The requirement judged, such as `KMS2-ENC-05`.
    pub requirement: String,
    /// Verdict.
    pub status: CheckStatus,
    /// How many comparisons were made; a pass needs at least one.
    pub assertions: u64,
    /// Acceptable outcomes, one a line.
    pub expected: Vec<String>,
    /// What was seen.
    pub observed: String,
    /// Why that matters, or the reason code of a verdict other than pass and fail.
    pub explanation: String,
    /// Sequence numbers of the transcript's events that show it.
    pub evidence: Vec<u64>,
    /// Runs of scenarios that show it, as `<scenario>#<seed>`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scenario_runs: Vec<String>,
    /// From the first to the last event of the check, in nanoseconds.
    pub duration_ns: u64,
}
