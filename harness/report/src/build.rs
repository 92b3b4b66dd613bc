//! From check results to a report.
//!
//! Not for judging: a judge's verdict is taken as it is, except where the contract itself says
//! that a breach is a warning, and where a pass without an assertion claims too much.

use std::collections::BTreeMap;

use kms_contract::{Level, Minor, Profile, Requirement};
use kms_judge::{CheckResult, CheckStatus};

use crate::limits::limits_of;
use crate::model::{
    Arm, Attachment, Attempt, CheckReport, Counts, Environment, FORMAT, Finding, LatencySeries,
    Plan, ProfileReport, ProfileResult, Property, Report, RequirementReport, SCHEMA_VERSION,
    ScenarioReport, Subject, Suite, Trust,
};
use crate::verdict::{is_missing, roll_up, worst};

/// All that a report is made of. Times, ids and facts about the machine come from the caller;
/// free text has to be redacted before (see [`crate::redact`]).
#[derive(Clone, Debug)]
pub struct Inputs {
    /// A new UUID.
    pub report_id: String,
    /// Shared by all reports on one run.
    pub run_id: String,
    /// Now, RFC 3339 UTC.
    pub created_at: String,
    /// Program and version that writes the report.
    pub generated_by: String,
    /// Report id of the report that this one judges again.
    pub derived_from: Option<String>,
    /// What judged.
    pub suite: Suite,
    /// Why it can be believed.
    pub trust: Trust,
    /// What was judged.
    pub subject: Subject,
    /// Where.
    pub environment: Environment,
    /// With which options.
    pub plan: Plan,
    /// The largest profile asked for; smaller ones are reported too.
    pub profile: Profile,
    /// Server version to judge for; the newest one without it.
    pub server: Option<Minor>,
    /// Results in the order they came. Several of one check on one requirement are its attempts.
    pub checks: Vec<CheckResult>,
    /// Scenario runs.
    pub scenarios: Vec<ScenarioReport>,
    /// Latencies.
    pub latency: Vec<LatencySeries>,
    /// Property tests.
    pub properties: Vec<Property>,
    /// What a person should look at.
    pub findings: Vec<Finding>,
    /// What this run could not show, besides the limits of its arm.
    pub limits: Vec<String>,
    /// Files of the bundle.
    pub attachments: Vec<Attachment>,
}

/// Check results that are no verdict on a plugin: a mistake of the suite, not of the subject.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The registry does not have it.
    #[error("check {check:?} judges {requirement:?}, which is no requirement")]
    Unknown {
        /// The check.
        check: String,
        /// What it names.
        requirement: String,
    },
    /// It binds the API server alone, or nobody.
    #[error("check {check:?} judges {requirement}, which does not bind a plugin")]
    NotAPlugins {
        /// The check.
        check: String,
        /// What it names.
        requirement: String,
    },
}

/// Puts a report together. Every requirement that binds a plugin and holds for the server version
/// has its row, also those that no result speaks of.
///
/// # Errors
/// If a result names something that is no requirement on a plugin.
pub fn build(inputs: Inputs) -> Result<Report, BuildError> {
    let requirements = requirements(inputs.checks, inputs.server)?;
    let profiles = profiles(
        &requirements,
        &inputs.scenarios,
        inputs.profile,
        inputs.server,
    );

    let mut limits: Vec<String> = limits_of(inputs.environment.arm)
        .iter()
        .map(|&limit| limit.to_owned())
        .collect();
    limits.extend(inputs.limits);

    let mut report = Report {
        format: FORMAT.to_owned(),
        schema_version: SCHEMA_VERSION.to_owned(),
        report_id: inputs.report_id,
        run_id: inputs.run_id,
        created_at: inputs.created_at,
        generated_by: inputs.generated_by,
        derived_from: inputs.derived_from,
        suite: inputs.suite,
        trust: inputs.trust,
        subject: inputs.subject,
        environment: inputs.environment,
        plan: inputs.plan,
        profiles,
        requirements,
        scenarios: inputs.scenarios,
        latency: inputs.latency,
        properties: inputs.properties,
        findings: inputs.findings,
        limits,
        attachments: inputs.attachments,
        extra: BTreeMap::new(),
    };
    sort(&mut report);
    Ok(report)
}

/// Rows of all requirements that bind a plugin, by id, from results as [`build`] takes them.
///
/// # Errors
/// If a result names something that is no requirement on a plugin.
pub fn requirements(
    results: Vec<CheckResult>,
    server: Option<Minor>,
) -> Result<Vec<RequirementReport>, BuildError> {
    let mut by_requirement: BTreeMap<&'static str, BTreeMap<String, Vec<CheckResult>>> =
        BTreeMap::new();
    for result in results {
        let requirement =
            kms_contract::get(&result.requirement).ok_or_else(|| BuildError::Unknown {
                check: result.check_id.clone(),
                requirement: result.requirement.clone(),
            })?;
        if requirement.profile().is_none() {
            return Err(BuildError::NotAPlugins {
                check: result.check_id,
                requirement: result.requirement,
            });
        }
        let checks = by_requirement.entry(requirement.id).or_default();
        checks
            .entry(result.check_id.clone())
            .or_default()
            .push(result);
    }

    let mut rows = Vec::new();
    for requirement in kms_contract::all() {
        let Some(profile) = requirement.profile() else {
            continue;
        };
        let checks: Vec<CheckReport> = by_requirement
            .remove(requirement.id)
            .unwrap_or_default()
            .into_values()
            .map(|attempts| check(requirement, attempts))
            .collect();
        if checks.is_empty() && !holds(requirement, server) {
            continue;
        }
        let reason = requirement
            .reason
            .unwrap_or("No check of this run judged it.");
        rows.push(RequirementReport {
            id: requirement.id.to_owned(),
            title: requirement.title.to_owned(),
            sentence: requirement.sentence.to_owned(),
            level: requirement.level,
            basis: requirement.basis,
            profile,
            status: worst(checks.iter().map(|check| check.status)),
            waiver: None,
            flaky: checks.iter().any(is_flaky),
            reason: checks.is_empty().then(|| reason.to_owned()),
            checks,
        });
    }
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(rows)
}

/// One check from its attempts, of which there is at least one: the worst is shown, the first
/// such where several are equally bad.
fn check(requirement: &Requirement, attempts: Vec<CheckResult>) -> CheckReport {
    let attempts: Vec<_> = attempts
        .into_iter()
        .map(|one| normalise(requirement, one))
        .collect();
    let status = worst(attempts.iter().map(|attempt| attempt.status));
    let listed = attempts
        .iter()
        .map(|attempt| Attempt {
            status: attempt.status,
            duration_ns: attempt.duration_ns,
        })
        .collect();
    let shown = attempts
        .into_iter()
        .find(|attempt| attempt.status == status)
        .expect("the worst status is that of an attempt");
    CheckReport {
        check_id: shown.check_id,
        status,
        attempts: listed,
        assertions: shown.assertions,
        duration_ns: shown.duration_ns,
        expected: shown.expected,
        observed: shown.observed,
        explanation: shown.explanation,
        evidence: shown.evidence,
        scenario_runs: shown.scenario_runs,
    }
}

/// Takes a verdict back where it says more than may be said.
pub(crate) fn normalise(requirement: &Requirement, mut result: CheckResult) -> CheckResult {
    let note = match result.status {
        CheckStatus::Pass if result.assertions == 0 => {
            result.status = CheckStatus::Inconclusive;
            "no-assertion: the check compared nothing, so it cannot pass."
        }
        CheckStatus::Fail if requirement.level == Level::May => {
            result.status = CheckStatus::Warn;
            "A breach of what only may be so is a warning."
        }
        CheckStatus::Fail if requirement.is_unconfirmed() => {
            result.status = CheckStatus::Warn;
            "The requirement is only derived, so a breach is a warning until a run against a \
             real API server has confirmed it."
        }
        _ => return result,
    };
    if !result.explanation.is_empty() {
        result.explanation.push(' ');
    }
    result.explanation.push_str(note);
    result
}

/// Whether some attempts broke the requirement and others did not.
pub(crate) fn is_flaky(check: &CheckReport) -> bool {
    let any = |wanted: &[CheckStatus]| {
        check
            .attempts
            .iter()
            .any(|attempt| wanted.contains(&attempt.status))
    };
    any(&[CheckStatus::Fail]) && any(&[CheckStatus::Pass, CheckStatus::Warn])
}

/// Whether the requirement holds for the server judged for.
fn holds(requirement: &Requirement, server: Option<Minor>) -> bool {
    server.map_or(requirement.until.is_none(), |server| {
        requirement.holds_for(server)
    })
}

/// Verdicts on all profiles up to the one asked for.
fn profiles(
    rows: &[RequirementReport],
    runs: &[ScenarioReport],
    largest: Profile,
    server: Option<Minor>,
) -> Vec<ProfileReport> {
    // What may be so, and what no plugin can break, is reported and not required.
    let is_required = |row: &RequirementReport| {
        kms_contract::get(&row.id).is_some_and(|requirement| {
            requirement.level != Level::May
                && requirement.reason.is_none()
                && holds(requirement, server)
        })
    };
    let up_to_largest = Profile::ALL.into_iter().filter(|&name| name <= largest);
    up_to_largest
        .map(|name| verdict_on(rows, runs, name, is_required))
        .collect()
}

/// The scenario runs that a profile is earned by: those on a binary, and for `chaos` those of the simulation as well.
fn runs_of(runs: &[ScenarioReport], name: Profile) -> Vec<&ScenarioReport> {
    let counts = |run: &&ScenarioReport| match name {
        Profile::Core => false,
        Profile::Production => run.arm != Arm::Sim,
        Profile::Chaos => true,
    };
    let ran = |run: &&ScenarioReport| run.verdict != CheckStatus::NotApplicable;
    runs.iter().filter(counts).filter(ran).collect()
}

/// A profile's verdict with that of its scenario runs, and what those amount to.
fn with_runs(profile: &mut ProfileReport, runs: &[&ScenarioReport]) {
    let of = |verdict| runs.iter().filter(|run| run.verdict == verdict).count();
    let (broken, undecided) = (of(CheckStatus::Fail), of(CheckStatus::Inconclusive));
    if broken > 0 {
        profile.result = ProfileResult::Failure;
    } else if undecided > 0 && profile.result != ProfileResult::Failure {
        profile.result = ProfileResult::Inconclusive;
    } else if runs.is_empty() && profile.result == ProfileResult::Success {
        profile.result = ProfileResult::Partial;
    }
    let simulated: u64 = runs.iter().filter_map(|run| run.sim_duration_ns).sum();
    let hours = simulated as f64 / 3.6e12;
    let faults = runs.iter().flat_map(|run| &run.faults);
    let hit = faults.filter(|fault| fault.hits > 0).count();
    let amount = match runs.len() {
        0 => " No scenario ran.".to_owned(),
        runs => format!(
            " Scenario runs: {runs}, broken {broken}, undecided {undecided}; faults hit: {hit}; simulated hours: {hours:.1}."
        ),
    };
    profile.summary.push_str(&amount);
}

/// The verdict on one profile, given what it requires.
pub(crate) fn verdict_on(
    rows: &[RequirementReport],
    runs: &[ScenarioReport],
    name: Profile,
    is_required: impl Fn(&RequirementReport) -> bool,
) -> ProfileReport {
    let rows: Vec<_> = rows.iter().filter(|row| row.profile <= name).collect();
    let mut counts = Counts::default();
    let (mut required, mut missing) = (Vec::new(), Vec::new());
    for row in &rows {
        counts.add(row.status);
        if is_required(row) {
            required.push(row.id.clone());
            if is_missing(row.status) {
                missing.push(row.id.clone());
            }
        }
    }
    // No roll-up of nothing: an empty selection must not read as a part of a verdict.
    let nothing_ran = rows.iter().all(|row| is_missing(row.status));
    let result = if nothing_ran {
        ProfileResult::Inconclusive
    } else {
        roll_up(rows.iter().map(|row| (row.status, is_required(row))))
    };
    let mut profile = ProfileReport {
        name,
        level: if name == Profile::Core {
            Level::Must
        } else {
            Level::Should
        },
        result,
        counts,
        expires_at: None,
        summary: summary(result, &counts, required.len(), missing.len()),
        required,
        missing,
    };
    if name > Profile::Core {
        with_runs(&mut profile, &runs_of(runs, name));
    }
    profile
}

/// The verdict in one sentence.
fn summary(result: ProfileResult, counts: &Counts, n_required: usize, n_missing: usize) -> String {
    match result {
        ProfileResult::Failure => format!("{} broken, {} held.", counts.fail, counts.pass),
        ProfileResult::Inconclusive if counts.inconclusive > 0 => {
            format!("{} undecided, {} held.", counts.inconclusive, counts.pass)
        }
        ProfileResult::Inconclusive if n_required == n_missing => {
            "Nothing ran, so nothing is shown.".to_owned()
        }
        ProfileResult::Inconclusive => "Nothing held, so nothing is shown.".to_owned(),
        ProfileResult::Partial => format!(
            "{n_missing} of {n_required} required were not looked at, {} held.",
            counts.pass
        ),
        ProfileResult::Success => {
            format!("All {n_required} required were looked at, none is broken.")
        }
    }
}

/// Gives every list its fixed order.
pub(crate) fn sort(report: &mut Report) {
    report.suite.features.sort();
    report.subject.artifacts.sort_by(|a, b| a.name.cmp(&b.name));
    report.subject.capabilities.declared.sort();
    report.subject.capabilities.observed.sort();
    report.plan.entries.sort_by(|a, b| a.name.cmp(&b.name));
    report
        .scenarios
        .sort_by(|a, b| (&a.scenario_id, a.arm, a.seed).cmp(&(&b.scenario_id, b.arm, b.seed)));
    for scenario in &mut report.scenarios {
        scenario.faults.sort_by(|a, b| a.id.cmp(&b.id));
        scenario.invariants.sort_by(|a, b| a.id.cmp(&b.id));
    }
    report.latency.sort_by_key(LatencySeries::key);
    report
        .properties
        .sort_by(|a, b| (&a.id, a.seed).cmp(&(&b.id, b.seed)));
    report
        .findings
        .sort_by(|a, b| (a.severity, &a.title).cmp(&(b.severity, &b.title)));
    report.attachments.sort_by(|a, b| a.path.cmp(&b.path));
}
