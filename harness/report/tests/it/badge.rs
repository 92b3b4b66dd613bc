//! When there is a badge, and what it says.

use kms_contract::Profile;
use kms_judge::CheckStatus;
use kms_report::{Refusal, Report, badge, build};
use serde_json::Value;

use crate::fixture::{all_pass, full, inputs, result, with};

const SOON: &str = "2026-11-01T00:00:00Z";

fn good() -> Report {
    let mut inputs = full(Profile::Production, all_pass(Profile::Production));
    let calibration = inputs.trust.calibration.as_mut().unwrap();
    calibration.killed = calibration.mutants;
    calibration.survived.clear();
    build(inputs).unwrap()
}

fn refused(change: impl FnOnce(&mut Report)) -> Refusal {
    let mut report = good();
    change(&mut report);
    badge(&report, SOON).unwrap_err()
}

#[test]
fn a_badge_says_what_was_earned_by_what_and_when() {
    let text = badge(&good(), SOON).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    let digest = kms_report::digest(&good());
    let short = &digest["sha256:".len()..][..8];
    assert_eq!(value["schemaVersion"], 1);
    assert_eq!(value["label"], "KMS v2");
    let message =
        format!("Core + Production · v1.37 · suite 0.1 · 2026-10 · self-reported · {short}");
    assert_eq!(value["message"], message);
    // a badge service refuses members that it does not know
    assert_eq!(value.as_object().unwrap().len(), 4);
}

/// A profile that is no success adds nothing, and takes nothing from a smaller one.
#[test]
fn only_profiles_that_are_a_success_are_named() {
    let broken = with(
        all_pass(Profile::Production),
        result(
            "KMS2-AVAIL-01",
            "healthy-check-after-heal",
            CheckStatus::Fail,
        ),
    );
    let report = build(inputs(Profile::Production, broken)).unwrap();
    let text = badge(&report, SOON).unwrap();
    assert!(
        text.contains("\"Core · v1.37") && !text.contains("Production"),
        "{text}"
    );

    let partial = with(
        all_pass(Profile::Core),
        result("KMS2-ENC-05", "ciphertext-size", CheckStatus::NotRun),
    );
    let report = build(inputs(Profile::Core, partial)).unwrap();
    let text = badge(&report, SOON).unwrap();
    assert!(
        text.contains("partial") && text.contains("lightgrey"),
        "{text}"
    );
}

#[test]
fn each_reason_to_refuse_is_told() {
    let failed = with(
        all_pass(Profile::Core),
        result("KMS2-ENC-05", "ciphertext-size", CheckStatus::Fail),
    );
    for (checks, word) in [(failed, "failure"), (vec![], "inconclusive")] {
        let report = build(inputs(Profile::Core, checks)).unwrap();
        let refusal = badge(&report, SOON).unwrap_err();
        assert!(refusal.to_string().contains(word), "{refusal}");
    }
    for dirty in [Some(true), None] {
        let refusal = refused(|report| report.suite.dirty = dirty);
        assert!(matches!(refusal, Refusal::Suite { .. }), "{refusal}");
    }
    let refusal = refused(|report| report.suite.git_commit = None);
    assert!(matches!(refusal, Refusal::Suite { .. }), "{refusal}");
    let refusal = refused(|report| report.subject.artifacts.clear());
    assert_eq!(refusal, Refusal::Subject);
    let refusal = refused(|report| {
        let calibration = report.trust.calibration.as_mut().unwrap();
        calibration.survived.push("echoes-seed".into());
    });
    assert_eq!(refusal, Refusal::Survivors("echoes-seed".into()));
    let refusal = refused(|report| {
        let check = report.trust.determinism.as_mut().unwrap();
        check.trace_digests_equal = false;
        check.first_divergence = Some("event 17".into());
    });
    assert!(refusal.to_string().contains("event 17"), "{refusal}");
    let refusal = refused(|report| report.profiles.clear());
    assert_eq!(refusal, Refusal::NoProfile);
}

#[test]
fn a_badge_expires() {
    let day = |text: &str| badge(&good(), text).is_ok();
    assert!(day("2027-10-02T11:20:05Z") && !day("2027-10-02T11:20:06Z"));
    let mut stated = good();
    stated.profiles[1].expires_at = Some("2026-12-31T00:00:00Z".into());
    assert!(badge(&stated, SOON).is_ok());
    let refusal = badge(&stated, "2027-01-01T00:00:00Z").unwrap_err();
    assert!(refusal.to_string().contains("2026-12-31"), "{refusal}");
    assert_eq!(badge(&good(), "today"), Err(Refusal::Time("today".into())));
}
