//! Golden reports for every status and every verdict. `UPDATE=1` writes them anew.

use std::path::Path;

use kms_contract::Profile;
use kms_judge::{CheckResult, CheckStatus};
use kms_report::{Form, Report, build, console, exit_code, from_json, markdown, to_json};

use crate::fixture::{all_pass, every_status, full, inputs, result, with};

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

#[test]
fn every_status_in_one_report() {
    let report = build(full(Profile::Production, every_status())).unwrap();
    assert_eq!(exit_code(&report), 1);
    renderings("every-status", &report);
    golden("every-status.json", &to_json(&report));
    for form in [Form::Junit, Form::Summary, Form::InToto] {
        let name = format!("every-status.{}", form.file());
        golden(
            &name,
            &form
                .render(&report)
                .unwrap_or_else(|why| format!("{why}\n")),
        );
    }
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
