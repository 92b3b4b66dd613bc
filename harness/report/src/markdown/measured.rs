//! Scenario runs, property tests and latencies.

use super::{Document, code, escape};
use crate::model::{LatencySeries, Report, ScenarioReport};
use crate::text::{duration, status};

pub(super) fn scenarios(out: &mut Document, report: &Report) {
    out.heading("Scenarios");
    if report.scenarios.is_empty() {
        out.line("None ran.");
    }
    out.table(
        &[
            "Scenario",
            "Arm",
            "Seed",
            "Repeatable",
            "Verdict",
            "Faults and hits",
            "Why",
            "Replay",
        ],
        report.scenarios.iter().map(|run| {
            let faults = run
                .faults
                .iter()
                .map(|fault| format!("{} {}", fault.id, fault.hits));
            vec![
                escape(&run.scenario_id),
                run.arm.as_str().to_owned(),
                run.seed.to_string(),
                run.determinism.as_str().to_owned(),
                escape(status(run.verdict)),
                escape(&faults.collect::<Vec<_>>().join(", ")),
                escape(&why(run)),
                code(&run.replay.command),
            ]
        }),
    );
}

/// Why it did not run, or the invariants that it broke.
fn why(run: &ScenarioReport) -> String {
    if let Some(reason) = &run.reason {
        return reason.clone();
    }
    let broken = run
        .invariants
        .iter()
        .filter(|one| one.result == kms_judge::CheckStatus::Fail);
    broken
        .map(|one| one.id.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

pub(super) fn properties(out: &mut Document, report: &Report) {
    if report.properties.is_empty() {
        return;
    }
    out.heading("Random inputs");
    out.table(
        &[
            "Property",
            "Cases",
            "Discarded",
            "Seed",
            "Inputs",
            "Smallest failure",
        ],
        report.properties.iter().map(|property| {
            let kinds = property
                .distribution
                .iter()
                .map(|(label, n)| format!("{label} {n}"));
            vec![
                code(&property.id),
                property.cases.to_string(),
                property.discarded.to_string(),
                property.seed.to_string(),
                escape(&kinds.collect::<Vec<_>>().join(", ")),
                escape(property.minimal.as_deref().unwrap_or_default()),
            ]
        }),
    );
}

pub(super) fn latency(out: &mut Document, report: &Report) {
    out.heading("Latency");
    if report.latency.is_empty() {
        out.line("Not measured.");
    }
    out.table(
        &[
            "Operation",
            "Arm",
            "Phase",
            "Outcome",
            "Count",
            "p50",
            "p90",
            "p99",
            "p999",
            "Longest",
        ],
        report.latency.iter().map(|series| {
            let mut row = vec![
                escape(&series.op),
                arm(series),
                series.phase.as_str().to_owned(),
                escape(&series.outcome),
                series.count.to_string(),
            ];
            let times = [series.p50, series.p90, series.p99, series.p999, series.max];
            row.extend(times.map(duration));
            row
        }),
    );
}

/// The arm, with a word where a reader could take virtual time for real.
fn arm(series: &LatencySeries) -> String {
    match series.arm {
        crate::model::Arm::Sim => "sim (virtual time)".to_owned(),
        other => other.as_str().to_owned(),
    }
}
