//! Several reports on parts of one run made one: shards of scenarios, or checks that were made on different machines.
//!
//! The result says what a single run would have said; only identity, environment and wall-clock times are its own. Parts
//! that do not speak of the same subject by the same requirements are refused.

use std::collections::{BTreeMap, BTreeSet};

use kms_contract::Profile;
use kms_judge::CheckStatus;

use crate::build::{is_flaky, sort, verdict_on};
use crate::json::to_json;
use crate::limits::limits_of;
use crate::model::{
    CheckReport, FORMAT, LatencyKey, LatencySeries, Report, RequirementReport, SCHEMA_VERSION,
    ScenarioReport, Trust,
};
use crate::verdict::worst;

/// What a merged report is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// A new UUID.
    pub report_id: String,
    /// Now, RFC 3339 UTC.
    pub created_at: String,
    /// Program and version that merges.
    pub generated_by: String,
}

/// Parts that are not of one whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmergeable {
    /// Nothing to merge.
    #[error("there is no report to merge")]
    Nothing,
    /// They speak of different things.
    #[error("the reports {first} and {other} have different {what}: they are no parts of one run")]
    Different {
        /// Report id of the first part.
        first: String,
        /// Report id of the one that differs.
        other: String,
        /// What differs.
        what: &'static str,
    },
    /// The same scenario, arm and seed, and not the same outcome.
    #[error("two reports hold the run {run} ({arm}) and differ in it: leave one of them out")]
    Twice {
        /// The run.
        run: String,
        /// Its arm.
        arm: &'static str,
    },
}

/// Merges parts, in whatever order they come.
///
/// # Errors
/// They are no parts of one run.
pub fn merge(mut parts: Vec<Report>, identity: Identity) -> Result<Report, Unmergeable> {
    parts.sort_by_cached_key(|part| (part.run_id.clone(), part.report_id.clone(), to_json(part)));
    let first = parts.first().ok_or(Unmergeable::Nothing)?;
    for part in &parts[1..] {
        same(first, part)?;
    }
    let trust = trust(&parts)?;
    let requirements = requirements(&parts);
    let scenarios = scenarios(&parts)?;
    let profiles = parts
        .iter()
        .flat_map(|part| &part.profiles)
        .map(|profile| profile.name)
        .collect::<BTreeSet<Profile>>()
        .into_iter()
        .map(|name| {
            let required: BTreeSet<&String> = parts
                .iter()
                .flat_map(|part| &part.profiles)
                .filter(|profile| profile.name == name)
                .flat_map(|profile| &profile.required)
                .collect();
            verdict_on(&requirements, &scenarios, name, |row| {
                required.contains(&row.id)
            })
        })
        .collect();
    let first = parts[0].clone();
    let mut merged = Report {
        format: FORMAT.to_owned(),
        schema_version: SCHEMA_VERSION.to_owned(),
        report_id: identity.report_id,
        run_id: first.run_id,
        created_at: identity.created_at,
        generated_by: identity.generated_by,
        derived_from: None,
        suite: first.suite,
        trust,
        subject: first.subject,
        environment: first.environment,
        plan: first.plan,
        profiles,
        requirements,
        scenarios,
        latency: latency(&parts),
        properties: distinct(parts.iter().flat_map(|part| &part.properties)),
        findings: distinct(parts.iter().flat_map(|part| &part.findings)),
        limits: limits(&parts),
        attachments: attachments(&parts),
        extra: parts.iter().flat_map(|part| part.extra.clone()).collect(),
    };
    sort(&mut merged);
    Ok(merged)
}

fn same(first: &Report, other: &Report) -> Result<(), Unmergeable> {
    let subject = |report: &Report| {
        let mut subject = report.subject.clone();
        // Where and when it was started is its own in each part.
        subject.launch = None;
        subject.observed.peer_pid = None;
        subject.observed.start_times.clear();
        subject
    };
    let required = |report: &Report| -> BTreeMap<Profile, Vec<String>> {
        let profiles = report.profiles.iter();
        profiles
            .map(|profile| (profile.name, profile.required.clone()))
            .collect()
    };
    let (left, right) = (required(first), required(other));
    let alike = left
        .iter()
        .all(|(name, ids)| right.get(name).is_none_or(|others| others == ids));
    let what = if first.suite.contract != other.suite.contract {
        "registries of requirements"
    } else if first.suite != other.suite {
        "suites"
    } else if subject(first) != subject(other) {
        "subjects"
    } else if first.environment.arm != other.environment.arm {
        "arms"
    } else if !alike {
        "server versions or profiles"
    } else {
        return Ok(());
    };
    Err(different(first, other, what))
}

fn different(first: &Report, other: &Report, what: &'static str) -> Unmergeable {
    Unmergeable::Different {
        first: first.report_id.clone(),
        other: other.report_id.clone(),
        what,
    }
}

/// What any part did for trust; two parts must not contradict each other.
fn trust(parts: &[Report]) -> Result<Trust, Unmergeable> {
    let mut trust = parts[0].trust.clone();
    for part in &parts[1..] {
        let clash = || different(&parts[0], part, "grounds for trust");
        let other = &part.trust;
        one_of(&mut trust.calibration, &other.calibration).ok_or_else(clash)?;
        one_of(&mut trust.determinism, &other.determinism).ok_or_else(clash)?;
        let models = &mut trust.model_conformance;
        one_of(&mut models.apiserver, &other.model_conformance.apiserver).ok_or_else(clash)?;
        one_of(&mut models.vault, &other.model_conformance.vault).ok_or_else(clash)?;
        for reference in &other.reference_subjects {
            if !trust.reference_subjects.contains(reference) {
                trust.reference_subjects.push(reference.clone());
            }
        }
    }
    Ok(trust)
}

/// Takes the other where there is none yet; nothing if both are there and differ.
fn one_of<T: Clone + PartialEq>(mine: &mut Option<T>, other: &Option<T>) -> Option<()> {
    match (mine.as_ref(), other) {
        (None, _) => mine.clone_from(other),
        (Some(a), Some(b)) if a != b => return None,
        _ => {}
    }
    Some(())
}

fn requirements(parts: &[Report]) -> Vec<RequirementReport> {
    let mut rows: BTreeMap<&str, Vec<&RequirementReport>> = BTreeMap::new();
    for row in parts.iter().flat_map(|part| &part.requirements) {
        rows.entry(&row.id).or_default().push(row);
    }
    rows.into_values().map(|rows| requirement(&rows)).collect()
}

/// One requirement from its rows, of which there is at least one.
fn requirement(rows: &[&RequirementReport]) -> RequirementReport {
    let mut by_check: BTreeMap<&str, Vec<&CheckReport>> = BTreeMap::new();
    for check in rows.iter().flat_map(|row| &row.checks) {
        by_check.entry(&check.check_id).or_default().push(check);
    }
    let checks: Vec<CheckReport> = by_check.into_values().map(|same| check(&same)).collect();
    let mut row = rows[0].clone();
    row.waiver = rows.iter().find_map(|row| row.waiver.clone());
    row.status = worst(checks.iter().map(|check| check.status));
    row.flaky = checks.iter().any(is_flaky);
    row.reason = checks
        .is_empty()
        .then(|| rows.iter().find_map(|row| row.reason.clone()))
        .flatten();
    row.checks = checks;
    row
}

/// One check from what the parts say of it. A part that did not run it says nothing about those that did.
fn check(same: &[&CheckReport]) -> CheckReport {
    let ran: Vec<&&CheckReport> = same
        .iter()
        .filter(|check| check.status != CheckStatus::NotRun)
        .collect();
    if ran.is_empty() {
        return same[0].clone();
    }
    let status = worst(ran.iter().map(|check| check.status));
    let shown = ran
        .iter()
        .find(|check| check.status == status)
        .expect("the worst status is that of one of them");
    let mut merged = (**shown).clone();
    merged.attempts = ran
        .iter()
        .flat_map(|check| check.attempts.clone())
        .collect();
    merged.scenario_runs = distinct(ran.iter().flat_map(|check| &check.scenario_runs));
    merged
}

fn scenarios(parts: &[Report]) -> Result<Vec<ScenarioReport>, Unmergeable> {
    let mut runs: Vec<ScenarioReport> = Vec::new();
    for run in parts.iter().flat_map(|part| &part.scenarios) {
        let key = |run: &ScenarioReport| (run.scenario_id.clone(), run.arm, run.seed);
        match runs.iter().find(|known| key(known) == key(run)) {
            None => runs.push(run.clone()),
            Some(known) => {
                let mut other = run.clone();
                other.wall_duration_ns = known.wall_duration_ns;
                if other != *known {
                    return Err(Unmergeable::Twice {
                        run: run.run_id.clone(),
                        arm: run.arm.as_str(),
                    });
                }
            }
        }
    }
    Ok(runs)
}

/// Series on the same added up. Quantiles are then the upper bounds of their buckets, less than an eighth too high.
fn latency(parts: &[Report]) -> Vec<LatencySeries> {
    let mut by_key: BTreeMap<LatencyKey, Vec<&LatencySeries>> = BTreeMap::new();
    for series in parts.iter().flat_map(|part| &part.latency) {
        by_key.entry(series.key()).or_default().push(series);
    }
    by_key.into_values().map(|same| added_up(&same)).collect()
}

fn added_up(same: &[&LatencySeries]) -> LatencySeries {
    let mut sum = same[0].clone();
    if same.len() == 1 {
        return sum;
    }
    let mut buckets: BTreeMap<u64, u64> = BTreeMap::new();
    for (bound, count) in same.iter().flat_map(|series| &series.buckets) {
        *buckets.entry(*bound).or_default() += count;
    }
    sum.count = same.iter().map(|series| series.count).sum();
    sum.min = same
        .iter()
        .map(|series| series.min)
        .min()
        .unwrap_or(sum.min);
    sum.max = same
        .iter()
        .map(|series| series.max)
        .max()
        .unwrap_or(sum.max);
    let total: u128 = same
        .iter()
        .map(|series| u128::from(series.mean) * u128::from(series.count))
        .sum();
    sum.mean = u64::try_from(total / u128::from(sum.count.max(1))).unwrap_or(sum.max);
    sum.buckets = buckets.into_iter().collect();
    let quantile = |per_mille: u64| {
        let rank = (u128::from(sum.count) * u128::from(per_mille)).div_ceil(1000);
        let mut seen = 0_u128;
        let bucket = sum.buckets.iter().find(|(_, count)| {
            seen += u128::from(*count);
            seen >= rank
        });
        bucket.map_or(sum.max, |(bound, _)| (*bound).min(sum.max))
    };
    let quantiles = [500, 900, 950, 990, 999].map(quantile);
    [sum.p50, sum.p90, sum.p95, sum.p99, sum.p999] = quantiles;
    sum.corrected = same.iter().all(|series| series.corrected);
    sum.hdr = None;
    sum
}

/// Those of the arm first, as in every report; then what each part adds, once.
fn limits(parts: &[Report]) -> Vec<String> {
    let of_arm = limits_of(parts[0].environment.arm)
        .iter()
        .map(|&limit| limit.to_owned());
    let mut limits: Vec<String> = of_arm.collect();
    for limit in parts.iter().flat_map(|part| &part.limits) {
        if !limits.contains(limit) {
            limits.push(limit.clone());
        }
    }
    limits
}

/// Files of the parts' bundles, below the report id of their part.
fn attachments(parts: &[Report]) -> Vec<crate::model::Attachment> {
    let all = parts.iter().flat_map(|part| {
        part.attachments.iter().map(|file| {
            let mut file = file.clone();
            file.path = format!("{}/{}", part.report_id, file.path);
            file
        })
    });
    all.collect()
}

/// Each once, in the order of their first appearance.
fn distinct<'a, T: Clone + PartialEq + 'a>(all: impl Iterator<Item = &'a T>) -> Vec<T> {
    let mut once: Vec<T> = Vec::new();
    for one in all {
        if !once.contains(one) {
            once.push(one.clone());
        }
    }
    once
}
