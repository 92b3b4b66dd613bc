//! Golden reports for every status and every verdict. `UPDATE=1` writes them anew.

use std::path::Path;

use kms_contract::Profile;
use kms_judge::{CheckResult, CheckStatus};
use kms_report::{Report, build, console, exit_code, from_json, markdown, to_json};

use crate::fixture::{all_pass, full, inputs, result, with};

/// Compares `actual` with a file beside this one.
fn golden(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/golden")
        .join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == actual,
        "{name} differs; run with UPDATE=1 and look at the difference"
    );
}

fn renderings(name: &str, report: &Report) {
    golden(&format!("{name}.md"), &markdown(report));
    let mut lines = console::summary(report, "bundle/acme-kms").join("\n");
    lines.push('\n');
    golden(&format!("{name}.txt"), &lines);
}

/// One requirement of each status; all else holds.
fn every_status() -> Vec<CheckResult> {
    let failed = CheckResult {
        expected: vec!["1 to 1024 bytes of ciphertext".into()],
        observed: "1025 bytes".into(),
        explanation: "The API server drops the answer.".into(),
        evidence: vec![12, 13],
        ..result("KMS2-ENC-05", "ciphertext-size", CheckStatus::Fail)
    };
    let flaky = [CheckStatus::Pass, CheckStatus::Fail, CheckStatus::Pass]
        .map(|status| result("KMS2-DEC-08", "hundred-at-once", status));
    let others = [
        ("KMS2-STATUS-04", "key-id-size", CheckStatus::Warn),
        (
            "KMS2-AVAIL-01",
            "healthy-check-after-heal",
            CheckStatus::Inconclusive,
        ),
        (
            "KMS2-SEC-03",
            "refuses-wrong-name",
            CheckStatus::NotApplicable,
        ),
        (
            "KMS2-AVAIL-05",
            "starts-beside-old-socket",
            CheckStatus::Skipped,
        ),
        ("KMS2-RT-02", "decrypts-after-restart", CheckStatus::NotRun),
    ];
    let mut results = with(all_pass(Profile::Production), failed);
    results.retain(|one| one.requirement != "KMS2-DEC-08");
    results.extend(flaky);
    for (requirement, check, status) in others {
        let reason = CheckResult {
            explanation: "for-some-reason".into(),
            ..result(requirement, check, status)
        };
        results = with(results, reason);
    }
    results
}

#[test]
fn every_status_in_one_report() {
    let report = build(full(Profile::Production, every_status())).unwrap();
    assert_eq!(exit_code(&report), 1);
    renderings("every-status", &report);
    golden("every-status.json", &to_json(&report));
}

#[test]
fn success() {
    let report = build(inputs(Profile::Core, all_pass(Profile::Core))).unwrap();
    assert_eq!(exit_code(&report), 0);
    renderings("success", &report);
}

#[test]
fn partial() {
    let results = with(
        all_pass(Profile::Core),
        CheckResult {
            explanation: "no restart command was given".into(),
            ..result("KMS2-RT-02", "decrypts-after-restart", CheckStatus::NotRun)
        },
    );
    let report = build(inputs(Profile::Core, results)).unwrap();
    assert_eq!(exit_code(&report), 0);
    renderings("partial", &report);
}

#[test]
fn inconclusive() {
    let results = with(
        all_pass(Profile::Core),
        CheckResult {
            observed: "the proxy let all calls through".into(),
            explanation: "fault-without-hits".into(),
            ..result("KMS2-DEC-08", "hundred-at-once", CheckStatus::Inconclusive)
        },
    );
    let report = build(inputs(Profile::Core, results)).unwrap();
    assert_eq!(exit_code(&report), 3);
    renderings("inconclusive", &report);
}

#[test]
fn nothing_ran() {
    let report = build(inputs(Profile::Core, vec![])).unwrap();
    assert_eq!(exit_code(&report), 3);
    renderings("nothing-ran", &report);
}

#[test]
fn renderings_of_a_stored_report_are_the_same() {
    let report = build(full(Profile::Production, every_status())).unwrap();
    let text = to_json(&report);
    let parsed = from_json(&text).unwrap();
    assert_eq!(parsed.warnings, Vec::<String>::new());
    assert_eq!(parsed.report, report);
    assert_eq!(to_json(&parsed.report), text);
    assert_eq!(markdown(&parsed.report), markdown(&report));
}
