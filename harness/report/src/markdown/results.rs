//! Failures one by one, the matrix of requirements, and what was not shown.

use kms_judge::CheckStatus;

use super::{Document, code, escape, prose};
use crate::model::{CheckReport, Report, RequirementReport};
use crate::text::{duration, status};

pub(super) fn failures(out: &mut Document, report: &Report) {
    out.heading("Failures");
    let mut rows = with_status(report, &[CheckStatus::Fail]).peekable();
    if rows.peek().is_none() {
        out.line("None.");
    }
    for row in rows {
        out.gap();
        out.line(format_args!(
            "### {}: {}",
            escape(&row.id),
            escape(&row.title)
        ));
        out.gap();
        out.line(format_args!(
            "{} ({}, {}, {}{})",
            prose(&row.sentence),
            row.level.as_str(),
            row.basis.as_str(),
            row.profile.as_str(),
            if row.flaky { ", **flaky**" } else { "" },
        ));
        for check in row
            .checks
            .iter()
            .filter(|check| check.status == CheckStatus::Fail)
        {
            failed_check(out, check);
        }
    }
    out.gap();
    for finding in &report.findings {
        let severity = format!("{:?}", finding.severity).to_lowercase();
        let ids = escape(&finding.requirements.join(", "));
        out.line(format_args!(
            "- {severity}: {} ({ids})",
            escape(&finding.title)
        ));
    }
}

fn failed_check(out: &mut Document, check: &CheckReport) {
    out.gap();
    out.line(format_args!(
        "Check {}, {}:",
        code(&check.check_id),
        duration(check.duration_ns)
    ));
    out.gap();
    for outcome in &check.expected {
        out.line(format_args!("- expected: {}", escape(outcome)));
    }
    out.line(format_args!("- observed: {}", escape(&check.observed)));
    if !check.explanation.is_empty() {
        out.line(format_args!(
            "- why it matters: {}",
            escape(&check.explanation)
        ));
    }
    if check.attempts.len() > 1 {
        let words: Vec<_> = check
            .attempts
            .iter()
            .map(|attempt| status(attempt.status))
            .collect();
        out.line(format_args!("- attempts: {}", escape(&words.join(", "))));
    }
    if !check.evidence.is_empty() {
        let events: Vec<_> = check.evidence.iter().map(u64::to_string).collect();
        out.line(format_args!(
            "- events in the transcript: {}",
            events.join(", ")
        ));
    }
    if !check.scenario_runs.is_empty() {
        out.line(format_args!(
            "- scenario runs: {}",
            escape(&check.scenario_runs.join(", "))
        ));
    }
}

pub(super) fn matrix(out: &mut Document, report: &Report) {
    out.heading("Requirements");
    out.table(
        &[
            "Id", "Title", "Level", "Basis", "Profile", "Status", "Checks",
        ],
        report.requirements.iter().map(|row| {
            let checks: Vec<_> = row
                .checks
                .iter()
                .map(|check| format!("{} ({})", code(&check.check_id), check.assertions))
                .collect();
            vec![
                escape(&row.id),
                escape(&row.title),
                row.level.as_str().to_owned(),
                row.basis.as_str().to_owned(),
                row.profile.as_str().to_owned(),
                status_cell(row),
                checks.join(", "),
            ]
        }),
    );
    out.line("In brackets: how many comparisons each check made.");
}

fn status_cell(row: &RequirementReport) -> String {
    let word = escape(status(row.status));
    let word = if row.status == CheckStatus::Fail {
        format!("**{word}**")
    } else {
        word
    };
    if row.flaky {
        format!("{word}, flaky")
    } else {
        word
    }
}

pub(super) fn not_shown(out: &mut Document, report: &Report) {
    out.heading("Not shown");
    for limit in &report.limits {
        out.line(format_args!("- {}", escape(limit)));
    }
    let unsettled = [
        CheckStatus::Warn,
        CheckStatus::Inconclusive,
        CheckStatus::NotApplicable,
        CheckStatus::Skipped,
        CheckStatus::NotRun,
    ];
    out.table(
        &["Id", "Status", "Reason"],
        with_status(report, &unsettled).map(|row| {
            vec![
                escape(&row.id),
                escape(status(row.status)),
                escape(&reasons(row)),
            ]
        }),
    );
}

/// Why a requirement has this status and no better one.
fn reasons(row: &RequirementReport) -> String {
    if let Some(reason) = &row.reason {
        return reason.clone();
    }
    let decisive = row.checks.iter().filter(|check| check.status == row.status);
    let reasons: Vec<_> = decisive
        .map(|check| {
            let parts = [check.observed.as_str(), check.explanation.as_str()];
            let said: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            format!("{}: {}", check.check_id, said.join(" "))
        })
        .collect();
    reasons.join("; ")
}

fn with_status<'a>(
    report: &'a Report,
    wanted: &'a [CheckStatus],
) -> impl Iterator<Item = &'a RequirementReport> {
    report
        .requirements
        .iter()
        .filter(move |row| wanted.contains(&row.status))
}
