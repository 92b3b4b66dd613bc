//! Several reports side by side, for a public folder: one line each, best by name, not by rank.

use std::fmt::Write;

use kms_contract::Profile;

use crate::model::{ArtifactKind, Report};
use crate::text::one_line;

/// A Markdown table, sorted by project, version and mode.
#[must_use]
pub fn table(reports: &[Report]) -> String {
    let mut rows: Vec<Vec<String>> = reports.iter().map(row).collect();
    rows.sort();
    let head = [
        "plugin",
        "version",
        "mode",
        "backend",
        "core",
        "production",
        "chaos",
        "scenarios",
        "contract",
        "suite",
        "date",
        "binary",
    ];
    let mut text = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

fn row(report: &Report) -> Vec<String> {
    let subject = &report.subject;
    let backend = report.environment.backend.as_ref();
    let binary = subject
        .artifacts
        .iter()
        .find(|one| one.kind == ArtifactKind::Binary);
    let passed = report
        .scenarios
        .iter()
        .filter(|run| run.verdict == kms_judge::CheckStatus::Pass);
    let cells = [
        subject.project.clone(),
        subject.version.clone().unwrap_or_default(),
        subject.mode.clone().unwrap_or_else(|| "default".to_owned()),
        backend.map(|it| it.product.clone()).unwrap_or_default(),
        profile(report, Profile::Core),
        profile(report, Profile::Production),
        profile(report, Profile::Chaos),
        format!("{}/{}", passed.count(), report.scenarios.len()),
        report.suite.contract.version.clone(),
        report.suite.version.clone(),
        report.created_at.chars().take(10).collect(),
        binary
            .map(|it| it.digest.sha256.chars().take(12).collect())
            .unwrap_or_default(),
    ];
    cells
        .iter()
        .map(|cell| one_line(cell).replace('|', "\\|"))
        .collect()
}

/// The verdict with its counts; a dash where it was not asked for.
fn profile(report: &Report, name: Profile) -> String {
    let profile = report.profiles.iter().find(|profile| profile.name == name);
    profile.map_or_else(
        || "–".to_owned(),
        |profile| {
            let required = profile.required.len();
            format!(
                "{} ({} of {required})",
                profile.result.as_str(),
                required - profile.missing.len().min(required)
            )
        },
    )
}
