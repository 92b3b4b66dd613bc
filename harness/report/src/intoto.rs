//! Unsigned in-toto statements about what was judged: the public predicate for test results, and one of our own that
//! carries profiles and trust.
//!
//! Signing is left to the user's tools. A run that others cannot tie to an artifact and a suite gets no statement.

use std::fmt::Write;

use kms_judge::CheckStatus;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::json::{digest, to_json};
use crate::model::{ProfileResult, Report};

/// Type of every statement.
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// The public predicate.
const TEST_RESULT: &str = "https://in-toto.io/attestation/test-result/v0.1";
/// Our own.
const OWN: &str = "urn:kms-harness:kmsv2-conformance:v1";

/// Why a run gets no statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unattested {
    /// Nothing to say it about.
    #[error("the report holds no digest of an artifact, so a statement would be about nothing")]
    NoArtifact,
    /// The suite cannot be had again.
    #[error("the suite was not built from a clean checkout of a known commit")]
    Dirty,
    /// There is no verdict.
    #[error("the run is inconclusive in profile {0}")]
    Inconclusive(&'static str),
    /// There is no profile.
    #[error("the report has no verdict on any profile")]
    NoProfile,
}

/// The statement with the public predicate `test-result`, JSON with a line end.
///
/// # Errors
/// The run must not be attested.
pub fn test_result_statement(report: &Report) -> Result<String, Unattested> {
    attestable(report)?;
    let of = |wanted: CheckStatus| -> Vec<&str> {
        let rows = report.requirements.iter();
        rows.filter(|row| row.status == wanted)
            .map(|row| row.id.as_str())
            .collect()
    };
    let any = |wanted: ProfileResult| {
        let mut profiles = report.profiles.iter();
        profiles.any(|profile| profile.result == wanted)
    };
    let warned = report
        .profiles
        .iter()
        .any(|profile| profile.counts.warn > 0);
    let result = if any(ProfileResult::Failure) {
        "FAILED"
    } else if any(ProfileResult::Partial) || warned {
        "WARNED"
    } else {
        "PASSED"
    };
    let predicate = json!({
        "result": result,
        "configuration": configuration(report),
        "passedTests": of(CheckStatus::Pass),
        "warnedTests": of(CheckStatus::Warn),
        "failedTests": of(CheckStatus::Fail),
    });
    Ok(statement(report, TEST_RESULT, predicate))
}

/// The statement with our own predicate: profiles, trust, and the digests of the report.
///
/// # Errors
/// The run must not be attested.
pub fn report_statement(report: &Report) -> Result<String, Unattested> {
    attestable(report)?;
    let predicate = json!({
        "contract": report.suite.contract,
        "suite": {
            "name": report.suite.name,
            "version": report.suite.version,
            "gitCommit": report.suite.git_commit,
        },
        "arm": report.environment.arm,
        "profiles": report.profiles,
        "trust": report.trust,
        "limits": report.limits,
        "report": {
            "name": "report.json",
            "digest": {"sha256": hex(to_json(report).as_bytes())},
            "annotations": {"reportId": report.report_id, "stableDigest": digest(report)},
        },
    });
    Ok(statement(report, OWN, predicate))
}

fn attestable(report: &Report) -> Result<(), Unattested> {
    if report.subject.artifacts.is_empty() {
        return Err(Unattested::NoArtifact);
    }
    if report.suite.git_commit.is_none() || report.suite.dirty != Some(false) {
        return Err(Unattested::Dirty);
    }
    if report.profiles.is_empty() {
        return Err(Unattested::NoProfile);
    }
    let undecided = report
        .profiles
        .iter()
        .find(|profile| profile.result == ProfileResult::Inconclusive);
    match undecided {
        Some(profile) => Err(Unattested::Inconclusive(profile.name.as_str())),
        None => Ok(()),
    }
}

/// What decided, by digest: suite, requirements, scenarios, plan.
fn configuration(report: &Report) -> Vec<Value> {
    let mut all = Vec::new();
    if let Some(commit) = &report.suite.git_commit {
        all.push(json!({"name": "suite", "digest": {"gitCommit": commit}}));
    }
    let digests = [
        ("registry", Some(&report.suite.contract.registry_digest)),
        ("scenarios", report.suite.scenarios_digest.as_ref()),
    ];
    for (name, digest) in digests {
        if let Some(digest) = digest {
            let digest = digest.trim_start_matches("sha256:");
            all.push(json!({"name": name, "digest": {"sha256": digest}}));
        }
    }
    let plan = serde_json::to_vec(&report.plan).expect("a plan is JSON");
    all.push(json!({"name": "plan", "digest": {"sha256": hex(&plan)}}));
    all
}

fn statement(report: &Report, kind: &str, predicate: Value) -> String {
    let subjects: Vec<Value> = report
        .subject
        .artifacts
        .iter()
        .map(
            |artifact| json!({"name": artifact.name, "digest": {"sha256": artifact.digest.sha256}}),
        )
        .collect();
    let statement = json!({
        "_type": STATEMENT,
        "subject": subjects,
        "predicateType": kind,
        "predicate": predicate,
    });
    let mut text =
        serde_json::to_string_pretty(&statement).expect("values with string keys are JSON");
    text.push('\n');
    text
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in Sha256::digest(bytes) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
