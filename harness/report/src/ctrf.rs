//! The report in the Common Test Report Format: five statuses, ours in `rawStatus`.

use std::fmt::Write;

use jiff::Timestamp;
use kms_judge::CheckStatus;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::cases::{Case, cases, scenario_message, scenario_text};
use crate::model::{Arm, Report, ScenarioReport};
use crate::text::{one_line, status};

/// The version of the format that is written.
const SPEC_VERSION: &str = "0.0.0";
const MS: u64 = 1_000_000;

/// Renders the report.
pub fn ctrf(report: &Report) -> String {
    let mut tests: Vec<Value> = cases(report).map(|case| check(report, &case)).collect();
    tests.extend(report.scenarios.iter().map(scenario));
    let count = |wanted: &str| {
        let hits = tests.iter().filter(|test| test["status"] == wanted);
        hits.count()
    };
    let stop = report.created_at.parse::<Timestamp>();
    let stop = stop.map_or(0, Timestamp::as_millisecond);
    let duration = total_ns(report) / MS;
    let start = stop.saturating_sub(i64::try_from(duration).unwrap_or(i64::MAX));
    let environment = environment(report);
    let document = json!({
        "reportFormat": "CTRF",
        "specVersion": SPEC_VERSION,
        "reportId": report.report_id,
        "timestamp": report.created_at,
        "generatedBy": report.generated_by,
        "results": {
            "tool": {"name": report.suite.name, "version": report.suite.version},
            "summary": {
                "tests": tests.len(),
                "passed": count("passed"),
                "failed": count("failed"),
                "skipped": count("skipped"),
                "pending": count("pending"),
                "other": count("other"),
                "start": start.max(0),
                "stop": stop,
                "duration": duration,
            },
            "tests": tests,
            "environment": environment,
            "extra": {
                "runId": report.run_id,
                "profiles": report.profiles,
                "contract": report.suite.contract,
                "limits": report.limits,
            },
        },
    });
    let mut text =
        serde_json::to_string_pretty(&document).expect("values with string keys are JSON");
    text.push('\n');
    text
}

/// All checks and scenario runs together. They may have run beside each other.
fn total_ns(report: &Report) -> u64 {
    let checks = cases(report).map(|case| case.duration_ns());
    let runs = report.scenarios.iter().map(|run| run.wall_duration_ns);
    checks.chain(runs).fold(0, u64::saturating_add)
}

fn environment(report: &Report) -> Value {
    let mut members = Map::new();
    let mut member = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            members.insert(name.to_owned(), one_line(value).into());
        }
    };
    member("appName", Some(&report.subject.project));
    member("appVersion", report.subject.version.as_deref());
    member("commit", source_commit(report));
    member("osPlatform", Some(&report.environment.os));
    member("osRelease", report.environment.kernel.as_deref());
    member("testEnvironment", Some(report.environment.arm.as_str()));
    let artifacts = json!({"artifacts": report.subject.artifacts});
    members.insert("extra".to_owned(), artifacts);
    Value::Object(members)
}

/// The commit of the subject. That of the suite is no statement about it, so there is one only where the subject is source.
fn source_commit(report: &Report) -> Option<&str> {
    (report.environment.arm == Arm::Sim)
        .then_some(report.suite.git_commit.as_deref())
        .flatten()
}

fn check(report: &Report, case: &Case<'_>) -> Value {
    let seed = report.plan.entries.iter().find(|one| one.name == "seed");
    let seed = seed.map_or("", |entry| entry.value.as_str());
    let mut test = json!({
        "id": uuid_of(&case.stable_id()),
        "name": case.name(),
        "status": mapped(case.status()),
        "rawStatus": status(case.status()),
        "duration": case.duration_ns() / MS,
        "suite": [case.row.profile.as_str(), case.area()],
        "labels": {
            "level": case.row.level.as_str(),
            "basis": case.row.basis.as_str(),
            "profile": case.row.profile.as_str(),
            "arm": report.environment.arm.as_str(),
            "seed": seed,
        },
        "extra": {
            "testId": case.stable_id(),
            "executionId": format!("{}#{seed}", report.run_id),
        },
    });
    if case.status() != CheckStatus::Pass {
        test["message"] = case.message().into();
        test["trace"] = case.text().into();
    }
    if let Some(check) = case.check {
        if check.attempts.len() > 1 {
            let attempts = (1..).zip(&check.attempts);
            test["retryAttempts"] = attempts
                .map(|(number, attempt)| {
                    json!({
                        "attempt": number,
                        "status": mapped(attempt.status),
                        "duration": attempt.duration_ns / MS,
                    })
                })
                .collect();
            test["retries"] = (check.attempts.len() - 1).into();
        }
        if !check.evidence.is_empty() {
            test["attachments"] = json!([{
                "name": "transcript",
                "contentType": "application/jsonl",
                "path": "history.jsonl",
                "extra": {"events": check.evidence},
            }]);
        }
    }
    test
}

fn scenario(run: &ScenarioReport) -> Value {
    let steps: Vec<Value> = run
        .invariants
        .iter()
        .map(|one| {
            json!({
                "name": one_line(&one.id),
                "status": mapped(one.result),
                "extra": {"kind": one.kind, "evaluations": one.evaluations},
            })
        })
        .collect();
    let mut test = json!({
        "id": uuid_of(&format!("scenario/{}/{}", run.arm.as_str(), run.run_id)),
        "name": run.run_id,
        "status": mapped(run.verdict),
        "rawStatus": status(run.verdict),
        "duration": run.wall_duration_ns / MS,
        "suite": ["scenarios", run.arm.as_str()],
        "labels": {
            "arm": run.arm.as_str(),
            "seed": run.seed,
            "determinism": run.determinism.as_str(),
        },
        "steps": steps,
        "extra": {
            "testId": run.scenario_id,
            "executionId": run.run_id,
            "replay": run.replay.command,
        },
    });
    if run.verdict != CheckStatus::Pass {
        test["message"] = scenario_message(run).into();
        test["trace"] = scenario_text(run).into();
    }
    test
}

fn mapped(status: CheckStatus) -> &'static str {
    match status {
        CheckStatus::Pass | CheckStatus::Warn => "passed",
        CheckStatus::Fail => "failed",
        CheckStatus::NotApplicable | CheckStatus::Skipped => "skipped",
        CheckStatus::NotRun => "pending",
        CheckStatus::Inconclusive => "other",
    }
}

/// A UUID made of a name's digest, the same in every run (version 8 of RFC 9562).
fn uuid_of(name: &str) -> String {
    let digest = Sha256::digest(name.as_bytes());
    let mut hex = String::new();
    for (at, byte) in digest.iter().take(16).enumerate() {
        let byte = match at {
            6 => byte & 0x0f | 0x80,
            8 => byte & 0x3f | 0x80,
            _ => *byte,
        };
        if [4, 6, 8, 10].contains(&at) {
            hex.push('-');
        }
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
