//! `report`: on stored reports, and on the bundle of a run.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::PathBuf;

use kms_contract::Profile;
use kms_judge::CheckStatus;
use kms_report::{Form, Report, build, exit_code, to_json};
use tempfile::TempDir;

use super::support::{folder, run, toy_subject};
use crate::fixture::{all_pass, every_status, full, inputs, result, scenario, with};

/// The public reports belong to the requirements of today, and everything rendered from them is what they render to.
pub fn the_public_reports_are_of_today() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../reports");
    let read = |name: &str| {
        let file = folder.join(name);
        std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    };
    let mut reports = Vec::new();
    for name in ["vault-kubernetes-kms", "kmslib", "upstream"] {
        let report = kms_report::from_json(&read(&format!("{name}/report.json")))
            .unwrap()
            .report;
        assert_eq!(
            report.suite.contract.registry_digest,
            kms_contract::registry_digest(),
            "{name}: made with other requirements; the commands that make it again are in reports/README.md"
        );
        assert_eq!(report.subject.project, name);
        for form in [Form::Markdown, Form::Summary] {
            let rendered = form.render(&report).unwrap();
            assert_eq!(read(&format!("{name}/{}", form.file())), rendered, "{name}");
        }
        reports.push(report);
    }
    assert_eq!(reports[0].suite.dirty, Some(false));
    assert_eq!(exit_code(&reports[0]), 0);
    assert!(!reports[0].scenarios.is_empty());
    assert!(
        read("README.md").contains(&kms_report::table(&reports)),
        "the table is another one"
    );
}

/// A stored report.
fn stored(home: &TempDir, name: &str, report: &Report) -> String {
    let file = home.path().join(name);
    std::fs::write(&file, to_json(report)).unwrap();
    file.display().to_string()
}

fn good() -> Report {
    build(inputs(Profile::Core, all_pass(Profile::Core))).unwrap()
}

/// From the report alone come the same bytes as the run wrote; a statement only where there may be one.
pub fn rendering_again_gives_the_files_of_the_bundle() {
    let home = folder();
    let subject = toy_subject(home.path(), "key-id").display().to_string();
    let out = home.path().join("out").display().to_string();
    run(&["run", "--subject", &subject, "--out", &out]).ended(1);
    let again = home.path().join("again").display().to_string();
    run(&["report", "render", &out, "--out", &again]).ended(0);
    for (form, file) in [
        ("markdown", "report.md"),
        ("html", "report.html"),
        ("junit", "junit.xml"),
        ("ctrf", "ctrf.json"),
        ("summary", "summary.yaml"),
        ("in-toto", "attestation.intoto.json"),
    ] {
        let read = |folder: &str| std::fs::read_to_string(PathBuf::from(folder).join(file)).ok();
        let written = read(&out);
        assert_eq!(written, read(&again), "{file}");
        let said = run(&["report", "render", &out, "--as", form]);
        match written {
            Some(text) => assert_eq!(said.ended(0).out, text, "{form}"),
            None => {
                assert_eq!(form, "in-toto");
                // the suite of a test is rarely that of a clean checkout
                let said = said.ended(3);
                assert!(said.err.contains("clean checkout"), "{}", said.err);
            }
        }
    }
    let latency = |folder: &str| {
        let files = std::fs::read_dir(PathBuf::from(folder).join("latency")).unwrap();
        let files = files.map(|file| {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        });
        files.collect::<BTreeMap<_, _>>()
    };
    let written = latency(&out);
    assert!(
        written.contains_key(OsStr::new("encrypt.process.baseline.ok.hgrm")),
        "{:?}",
        written.keys()
    );
    assert_eq!(written, latency(&again));
    let said = run(&["report", "render", &out]).ended(2);
    assert!(said.err.contains("--as markdown|html"), "{}", said.err);
}

pub fn what_is_no_report_is_refused_with_its_name() {
    let home = folder();
    let empty = home.path().join("empty.json").display().to_string();
    std::fs::write(&empty, "{}").unwrap();
    let missing = home.path().join("missing").display().to_string();
    for command in ["digest", "badge", "render", "merge"] {
        for path in [&empty, &missing] {
            let said = run(&["report", command, path]).ended(2);
            assert!(said.err.contains(path.as_str()), "{command}: {}", said.err);
        }
    }
    let said = run(&["report", "merge"]).ended(2);
    assert!(said.err.contains("REPORT"), "{}", said.err);
}

/// Whenever and wherever a report was made, and in one part or in two.
pub fn digests_tell_what_says_the_same() {
    let home = folder();
    let mut inputs = full(Profile::Production, every_status());
    let mut runs = vec![
        scenario("vault-sealed", 1, CheckStatus::Pass),
        scenario("vault-sealed", 2, CheckStatus::Pass),
    ];
    inputs.scenarios = runs.clone();
    let whole = stored(&home, "whole.json", &build(inputs.clone()).unwrap());
    inputs.report_id = "later".into();
    inputs.created_at = "2027-01-01T00:00:00Z".into();
    inputs.environment.kernel = None;
    let later = stored(&home, "later.json", &build(inputs.clone()).unwrap());
    inputs.limits.push("something else".into());
    let other = stored(&home, "other.json", &build(inputs.clone()).unwrap());
    inputs.limits.pop();
    inputs.scenarios = vec![runs.pop().unwrap()];
    let checks = std::mem::take(&mut inputs.checks);
    let second = stored(&home, "second.json", &build(inputs.clone()).unwrap());
    inputs.report_id = "first".into();
    inputs.checks = checks;
    inputs.scenarios = runs;
    let first = stored(&home, "first.json", &build(inputs).unwrap());

    let merged = home.path().join("merged").display().to_string();
    let said = run(&["report", "merge", &second, &first, "--out", &merged]).ended(1);
    assert!(said.out.contains("FAIL  KMS2-ENC-05"), "{}", said.out);
    let said = run(&["report", "digest", &whole, &later, &merged, &other]).ended(0);
    let digests: Vec<&str> = said
        .out
        .lines()
        .filter_map(|line| line.split("  ").next())
        .collect();
    assert!(digests[0].starts_with("sha256:"), "{digests:?}");
    assert!(digests[1..3].iter().all(|digest| *digest == digests[0]));
    assert_ne!(digests[0], digests[3]);
}

pub fn a_worse_plugin_is_told_and_parts_of_other_plugins_are_refused() {
    let home = folder();
    let failed = result("KMS2-ENC-05", "ciphertext-size", CheckStatus::Fail);
    let worse = with(all_pass(Profile::Core), failed);
    let mut worse = build(inputs(Profile::Core, worse)).unwrap();
    worse.subject.artifacts[0].digest.sha256 = "00".repeat(32);
    let (good, worse) = (
        stored(&home, "good.json", &good()),
        stored(&home, "worse.json", &worse),
    );
    let said = run(&["report", "compare", &good, &worse]).ended(1);
    assert!(said.out.contains("WORSE    KMS2-ENC-05"), "{}", said.out);
    let said = run(&["report", "compare", &worse, &good]).ended(0);
    assert!(said.out.contains("better   KMS2-ENC-05"), "{}", said.out);
    let words = ["report", "compare", &good, &worse, "--format", "json"];
    let document = run(&words).ended(1).json();
    assert_eq!(document["changes"][0]["direction"], "worse");

    let out = home.path().join("merged").display().to_string();
    let said = run(&["report", "merge", &good, &worse, "--out", &out]).ended(2);
    assert!(said.err.contains("different subjects"), "{}", said.err);
}

pub fn a_badge_is_earned_or_refused_with_the_reason() {
    let home = folder();
    let mut report = good();
    // good for as long as this test is
    report.profiles[0].expires_at = Some("9999-01-01T00:00:00Z".into());
    let earned = run(&["report", "badge", &stored(&home, "good.json", &report)]);
    let badge = earned.ended(0).json();
    let message = badge["message"].as_str().unwrap();
    assert!(message.starts_with("Core · v1."), "{message}");
    report.suite.dirty = Some(true);
    let said = run(&["report", "badge", &stored(&home, "dirty.json", &report)]).ended(3);
    assert!(said.err.contains("changed checkout"), "{}", said.err);
    let failed = build(inputs(Profile::Core, every_status())).unwrap();
    let said = run(&["report", "badge", &stored(&home, "failed.json", &failed)]).ended(1);
    assert!(said.err.contains("core is failure"), "{}", said.err);
}
