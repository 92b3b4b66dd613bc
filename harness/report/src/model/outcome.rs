//! Verdicts: profiles, requirements, checks.

use kms_contract::{Basis, Level, Profile};
use kms_judge::CheckStatus;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The verdict on one profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProfileReport {
    /// Which profile.
    pub name: Profile,
    /// Weakest level that it requires.
    pub level: Level,
    /// The verdict.
    pub result: ProfileResult,
    /// Its requirements by status.
    pub counts: Counts,
    /// When the verdict should be made anew, RFC 3339 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// Ids that have to hold.
    pub required: Vec<String>,
    /// Required ids without a verdict: skipped or not run.
    pub missing: Vec<String>,
    /// The verdict in one sentence.
    pub summary: String,
}

/// Verdict on a profile, the better first.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum ProfileResult {
    /// All that is required ran and held.
    Success,
    /// What ran held, but something required was skipped or not run.
    Partial,
    /// The harness could not tell.
    Inconclusive,
    /// The subject broke a requirement.
    Failure,
}

impl ProfileResult {
    /// The word used in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            ProfileResult::Success => "success",
            ProfileResult::Partial => "partial",
            ProfileResult::Inconclusive => "inconclusive",
            ProfileResult::Failure => "failure",
        }
    }
}

/// Number of requirements by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Counts {
    /// Held.
    pub pass: u64,
    /// Broken.
    pub fail: u64,
    /// Doubtful.
    pub warn: u64,
    /// Undecided for a reason of the harness.
    pub inconclusive: u64,
    /// Without the capability.
    pub not_applicable: u64,
    /// Excluded by the operator.
    pub skipped: u64,
    /// Not reached.
    pub not_run: u64,
}

/// The verdict on one requirement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequirementReport {
    /// `KMS2-<AREA>-<NN>`.
    pub id: String,
    /// Its title.
    pub title: String,
    /// What it says, so that the report can be read alone.
    pub sentence: String,
    /// How binding it is.
    pub level: Level,
    /// How firm its ground is.
    pub basis: Basis,
    /// Smallest profile it counts for.
    pub profile: Profile,
    /// The worst of its checks.
    #[schemars(with = "StatusSchema")]
    pub status: CheckStatus,
    /// A known issue accepted for the exit code, never for the verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiver: Option<Waiver>,
    /// Whether attempts of one check disagreed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flaky: bool,
    /// Why there is no check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its checks, by id.
    pub checks: Vec<CheckReport>,
}

/// A known issue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Waiver {
    /// Why it is accepted.
    pub reason: String,
    /// Who accepted it.
    pub by: String,
    /// Until when, RFC 3339 UTC.
    pub expires_at: String,
}

/// The verdict of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckReport {
    /// Kebab-case name of what must be true.
    pub check_id: String,
    /// The worst of its attempts.
    #[schemars(with = "StatusSchema")]
    pub status: CheckStatus,
    /// Every attempt, in the order made.
    pub attempts: Vec<Attempt>,
    /// Comparisons made by the attempt shown.
    pub assertions: u64,
    /// Length of the attempt shown.
    pub duration_ns: u64,
    /// Acceptable outcomes.
    pub expected: Vec<String>,
    /// What was seen.
    pub observed: String,
    /// Why that matters, or why there is no verdict.
    pub explanation: String,
    /// Sequence numbers of events in the transcript.
    pub evidence: Vec<u64>,
    /// Scenario runs that it stands on.
    pub scenario_runs: Vec<String>,
}

/// One attempt of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Attempt {
    /// Its verdict.
    #[schemars(with = "StatusSchema")]
    pub status: CheckStatus,
    /// Its length.
    pub duration_ns: u64,
}

/// Verdict of a check, requirement or scenario.
///
/// The schema's stand-in for [`CheckStatus`], whose crate knows no schemas; a test compares them.
#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "CheckStatus")]
#[expect(dead_code, reason = "exists for its schema only")]
pub(crate) enum StatusSchema {
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
