//! Lines for a terminal: one for each check while a run goes on, and the closing ones.
//!
//! Lines hold no colour and no control character, whatever a subject answered.

use kms_judge::{CheckResult, CheckStatus};

use crate::build::normalise;
use crate::model::{CheckReport, Counts, Report};
use crate::text::{duration, one_line};
use crate::verdict::{exit_code, exit_meaning};

/// The lines of one check as it ends: mark, id, title, time; if it failed, also what is required,
/// expected and observed.
pub fn check(result: &CheckResult) -> Vec<String> {
    let Some(requirement) = kms_contract::get(&result.requirement) else {
        return lines(
            &result.requirement,
            "(no such requirement)",
            "",
            &as_report(result),
        );
    };
    let result = normalise(requirement, result.clone());
    lines(
        requirement.id,
        requirement.title,
        requirement.sentence,
        &as_report(&result),
    )
}

/// All checks of a report, requirement by requirement, and the closing lines.
pub fn summary(report: &Report, bundle: &str) -> Vec<String> {
    let mut all = Vec::new();
    for row in &report.requirements {
        for check in &row.checks {
            all.extend(lines(&row.id, &row.title, &row.sentence, check));
        }
        if row.checks.is_empty() {
            all.push(format!(
                "{:<5} {:<16} {}",
                mark(row.status),
                row.id,
                one_line(&row.title)
            ));
        }
    }
    all.extend(closing(report, bundle));
    all
}

/// The last lines: the verdict on each profile, where the bundle is, and what the exit code says.
pub fn closing(report: &Report, bundle: &str) -> Vec<String> {
    let mut last: Vec<_> = report
        .profiles
        .iter()
        .map(|profile| {
            let (name, result) = (profile.name.as_str(), profile.result.as_str());
            format!("{name:<11} {result:<13} {}", one_line(&profile.summary))
        })
        .collect();
    last.splice(0..0, scenarios(report));
    last.push(format!("{:<11} {}", "bundle", one_line(bundle)));
    let code = exit_code(report);
    last.push(format!(
        "{:<11} {code}: {}",
        "exit code",
        exit_meaning(code)
    ));
    last
}

/// How many scenarios came out how, and each that is not as it should be with the command that makes it again.
fn scenarios(report: &Report) -> Vec<String> {
    let runs = &report.scenarios;
    if runs.is_empty() {
        return Vec::new();
    }
    let mut lines = Vec::new();
    let mut counts = Counts::default();
    for run in runs {
        counts.add(run.verdict);
        if !matches!(run.verdict, CheckStatus::Fail | CheckStatus::Inconclusive) {
            continue;
        }
        lines.push(format!(
            "{:<5} {}",
            mark(run.verdict),
            one_line(&run.run_id)
        ));
        let violations = run.invariants.iter().filter_map(|invariant| {
            let violation = invariant.first_violation.as_ref()?;
            Some(format!("{}: {}", invariant.id, violation.excerpt))
        });
        lines
            .extend(violations.map(|text| format!("      {:<12} {}", "observed", one_line(&text))));
        let reason = run.reason.iter();
        lines.extend(reason.map(|why| format!("      {:<12} {}", "because", one_line(why))));
        lines.push(format!(
            "      {:<12} {}",
            "again by",
            one_line(&run.replay.command)
        ));
    }
    let told = [
        (counts.pass, "passed"),
        (counts.fail, "failed"),
        (counts.warn, "doubtful"),
        (counts.inconclusive, "inconclusive"),
        (counts.not_applicable, "not applicable"),
    ];
    let told = told.iter().filter(|(count, _)| *count > 0);
    let told: Vec<_> = told
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    lines.push(format!("{:<11} {}", "scenarios", told.join(", ")));
    lines
}

fn lines(id: &str, title: &str, sentence: &str, check: &CheckReport) -> Vec<String> {
    let mut lines = vec![format!(
        "{:<5} {:<16} {} ({}) {}",
        mark(check.status),
        one_line(id),
        one_line(title),
        one_line(&check.check_id),
        duration(check.duration_ns),
    )];
    let mut detail = |name: &str, text: &str| {
        if !text.is_empty() {
            lines.push(format!("      {name:<12} {}", one_line(text)));
        }
    };
    match check.status {
        CheckStatus::Pass => {}
        CheckStatus::Fail => {
            detail("requirement", sentence);
            for outcome in &check.expected {
                detail("expected", outcome);
            }
            detail("observed", &check.observed);
            detail("because", &check.explanation);
            let events: Vec<_> = check.evidence.iter().map(u64::to_string).collect();
            detail("events", &events.join(", "));
        }
        _ => {
            detail("observed", &check.observed);
            detail("because", &check.explanation);
        }
    }
    lines
}

fn mark(status: CheckStatus) -> &'static str {
    match status {
        CheckStatus::Pass => "ok",
        CheckStatus::Fail => "FAIL",
        CheckStatus::Warn => "warn",
        CheckStatus::Inconclusive => "?",
        CheckStatus::NotApplicable => "n/a",
        CheckStatus::Skipped => "skip",
        CheckStatus::NotRun => "-",
    }
}

fn as_report(result: &CheckResult) -> CheckReport {
    CheckReport {
        check_id: result.check_id.clone(),
        status: result.status,
        attempts: Vec::new(),
        assertions: result.assertions,
        duration_ns: result.duration_ns,
        expected: result.expected.clone(),
        observed: result.observed.clone(),
        explanation: result.explanation.clone(),
        evidence: result.evidence.clone(),
        scenario_runs: Vec::new(),
    }
}
