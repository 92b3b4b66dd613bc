//! The badge: a small JSON endpoint file that says no more than its report, or a refusal.
//!
//! The form is that of shields.io's endpoint badge, which takes no other members, so the report's digest stands in the
//! message.

use jiff::{Span, Timestamp, tz::TimeZone};
use serde_json::json;

use crate::json::digest;
use crate::model::{Arm, ArtifactKind, ProfileReport, ProfileResult, Report};
use crate::text::one_line;

/// What stands at the left.
const LABEL: &str = "KMS v2";
/// Months after which a verdict should be made anew, where the report does not say when.
const VALID_MONTHS: i32 = 12;
/// Digits of the report's digest that are shown.
const SHOWN_DIGITS: usize = 8;

/// Why there is no badge.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The smallest profile is neither a success nor partial.
    #[error("profile {profile} is {result}: {summary}")]
    NotEarned {
        /// The profile.
        profile: &'static str,
        /// Its result.
        result: &'static str,
        /// Its summary.
        summary: String,
    },
    /// The report has no profile.
    #[error("the report has no verdict on any profile")]
    NoProfile,
    /// The suite's source is not a commit's.
    #[error(
        "the suite was built from {state}: build it from a clean checkout, so that others can repeat the run"
    )]
    Suite {
        /// What is wrong with it.
        state: &'static str,
    },
    /// Nobody knows what was judged.
    #[error(
        "the subject is unidentified: the report holds no digest of a binary, an image or a source (use `run`, not `check --socket`)"
    )]
    Subject,
    /// The suite let broken plugins through.
    #[error("calibration has survivors: {0}")]
    Survivors(String),
    /// A simulated run was not repeatable.
    #[error("the determinism check failed{0}")]
    Diverged(String),
    /// The report is too old.
    #[error("the report has expired: it was good until {0}; make a new one")]
    Expired(String),
    /// A time in the report, or the one given, is none.
    #[error("{0:?} is no time (RFC 3339)")]
    Time(String),
}

/// The badge of a report at the time `now` (RFC 3339): the profiles without a gap from the smallest on that are a success,
/// or a grey one that says `partial`.
///
/// # Errors
/// If the report earns none; the text says why.
pub fn badge(report: &Report, now: &str) -> Result<String, Refusal> {
    trusted(report)?;
    let first = report.profiles.first().ok_or(Refusal::NoProfile)?;
    let earned: Vec<&ProfileReport> = report
        .profiles
        .iter()
        .take_while(|profile| profile.result == ProfileResult::Success)
        .collect();
    let (words, color) = match (earned.is_empty(), first.result) {
        (false, _) => {
            let names: Vec<String> = earned
                .iter()
                .map(|profile| claim(report, profile))
                .collect();
            (names.join(" + "), "brightgreen")
        }
        (true, ProfileResult::Partial) => (format!("{} partial", title(first)), "lightgrey"),
        (true, result) => {
            return Err(Refusal::NotEarned {
                profile: first.name.as_str(),
                result: result.as_str(),
                summary: one_line(&first.summary),
            });
        }
    };
    let shown = if earned.is_empty() {
        &report.profiles[..1]
    } else {
        &report.profiles[..earned.len()]
    };
    let now = time(now)?;
    for profile in shown {
        let until = good_until(report, profile)?;
        if now > until {
            return Err(Refusal::Expired(until.to_string()));
        }
    }
    let digest = digest(report);
    let digest = digest.trim_start_matches("sha256:");
    let message = [
        words,
        report.suite.contract.version.clone(),
        format!("suite {}", short_version(&report.suite.version)),
        report.created_at.chars().take(7).collect(),
        // Nobody's signature is looked at here.
        "self-reported".to_owned(),
        digest.chars().take(SHOWN_DIGITS).collect(),
    ];
    let badge = json!({
        "schemaVersion": 1,
        "label": LABEL,
        "message": one_line(&message.join(" · ")),
        "color": color,
    });
    let mut text = serde_json::to_string_pretty(&badge).expect("values with string keys are JSON");
    text.push('\n');
    Ok(text)
}

/// What makes any badge of the report worthless.
fn trusted(report: &Report) -> Result<(), Refusal> {
    let state = match (&report.suite.git_commit, report.suite.dirty) {
        (Some(_), Some(false)) => None,
        (Some(_), Some(true)) => Some("a changed checkout"),
        (Some(_), None) => Some("a checkout of which nobody knows whether it was changed"),
        (None, _) => Some("no known commit"),
    };
    if let Some(state) = state {
        return Err(Refusal::Suite { state });
    }
    if report.subject.artifacts.is_empty() {
        return Err(Refusal::Subject);
    }
    let trust = &report.trust;
    if let Some(calibration) = &trust.calibration
        && (!calibration.survived.is_empty() || calibration.killed < calibration.mutants)
    {
        return Err(Refusal::Survivors(one_line(
            &calibration.survived.join(", "),
        )));
    }
    if let Some(check) = &trust.determinism
        && check.checked
        && !check.trace_digests_equal
    {
        let at = check.first_divergence.as_deref();
        let at = at.map_or(String::new(), |at| format!(", first at {}", one_line(at)));
        return Err(Refusal::Diverged(at));
    }
    Ok(())
}

/// A profile's name; chaos is an amount, never a yes, and simulated runs speak of source alone.
fn claim(report: &Report, profile: &ProfileReport) -> String {
    let mut words = vec![title(profile)];
    let source = report
        .subject
        .artifacts
        .iter()
        .find(|artifact| artifact.kind == ArtifactKind::Source);
    if let Some(source) = source {
        words.push(format!(
            "source {}",
            source.digest.sha256.chars().take(7).collect::<String>()
        ));
    }
    if profile.name == kms_contract::Profile::Chaos {
        let simulated = report.scenarios.iter().filter(|run| run.arm == Arm::Sim);
        let ns = simulated
            .filter_map(|run| run.sim_duration_ns)
            .fold(0, u64::saturating_add);
        words.push(format!("{} runs", report.scenarios.len()));
        if ns > 0 {
            words.push(format!("{} simulated hours", ns / 3_600_000_000_000));
        }
    }
    words.join(" · ")
}

fn title(profile: &ProfileReport) -> String {
    match profile.name {
        kms_contract::Profile::Core => "Core",
        kms_contract::Profile::Production => "Production",
        kms_contract::Profile::Chaos => "Chaos",
    }
    .to_owned()
}

/// `MAJOR.MINOR` of a version.
fn short_version(version: &str) -> String {
    version.split('.').take(2).collect::<Vec<_>>().join(".")
}

fn good_until(report: &Report, profile: &ProfileReport) -> Result<Timestamp, Refusal> {
    if let Some(until) = &profile.expires_at {
        return time(until);
    }
    let made = time(&report.created_at)?.to_zoned_datetime(TimeZone::UTC);
    made.checked_add(Span::new().months(VALID_MONTHS))
        .map(|until| until.timestamp())
        .map_err(|_| Refusal::Time(report.created_at.clone()))
}

fn time(text: &str) -> Result<Timestamp, Refusal> {
    text.parse().map_err(|_| Refusal::Time(text.to_owned()))
}
