//! From results to rows and profiles.

use kms_contract::{Minor, Profile};
use kms_judge::{CheckResult, CheckStatus};
use kms_report::model::{Arm, ProfileResult, RequirementReport};
use kms_report::{BuildError, Report, build};

use crate::fixture::{all_pass, full, inputs, result, with};

fn row<'a>(report: &'a Report, id: &str) -> &'a RequirementReport {
    report.requirements.iter().find(|row| row.id == id).unwrap()
}

#[test]
fn every_requirement_on_a_plugin_has_a_row_even_if_nothing_ran() {
    let report = build(inputs(Profile::Core, vec![])).unwrap();
    let expected = kms_contract::all()
        .filter(|one| one.profile().is_some())
        .count();
    assert_eq!(report.requirements.len(), expected);
    assert!(
        report
            .requirements
            .iter()
            .all(|row| row.status == CheckStatus::NotRun)
    );
    assert!(report.requirements.is_sorted_by_key(|row| row.id.clone()));
    let silent = row(&report, "KMS2-ENC-05").reason.as_deref();
    assert_eq!(silent, Some("No check of this run judged it."));
    let measured = row(&report, "KMS2-AVAIL-02").reason.as_deref().unwrap();
    assert!(
        measured.starts_with("A measurement"),
        "the registry's own reason comes first"
    );
}

#[test]
fn the_worst_check_decides_a_requirement() {
    let checks = vec![
        result("KMS2-ENC-05", "ciphertext-size", CheckStatus::Pass),
        result("KMS2-ENC-05", "ciphertext-edge", CheckStatus::Warn),
        result("KMS2-DEC-04", "refuses-unknown-key", CheckStatus::Pass),
        result(
            "KMS2-DEC-04",
            "refuses-truncated",
            CheckStatus::NotApplicable,
        ),
    ];
    let report = build(inputs(Profile::Core, checks)).unwrap();
    assert_eq!(row(&report, "KMS2-ENC-05").status, CheckStatus::Warn);
    assert_eq!(row(&report, "KMS2-DEC-04").status, CheckStatus::Pass);
    let ids: Vec<_> = row(&report, "KMS2-ENC-05")
        .checks
        .iter()
        .map(|one| &one.check_id)
        .collect();
    assert_eq!(
        ids,
        ["ciphertext-edge", "ciphertext-size"],
        "by id, whatever came first"
    );
}

#[test]
fn a_pass_after_a_failure_stays_a_failure_and_is_flaky() {
    let attempt = |status, observed: &str| CheckResult {
        observed: observed.into(),
        ..result("KMS2-DEC-08", "hundred-at-once", status)
    };
    let checks = vec![
        attempt(CheckStatus::Fail, "one call hung"),
        attempt(CheckStatus::Pass, ""),
        attempt(CheckStatus::Fail, "two calls hung"),
    ];
    let report = build(inputs(Profile::Core, checks)).unwrap();
    let row = row(&report, "KMS2-DEC-08");
    assert_eq!((row.status, row.flaky), (CheckStatus::Fail, true));
    assert_eq!(row.checks.len(), 1);
    assert_eq!(row.checks[0].observed, "one call hung");
    let attempts: Vec<_> = row.checks[0]
        .attempts
        .iter()
        .map(|attempt| attempt.status)
        .collect();
    assert_eq!(
        attempts,
        [CheckStatus::Fail, CheckStatus::Pass, CheckStatus::Fail]
    );
    assert_eq!(report.profiles[0].result, ProfileResult::Failure);
}

#[test]
fn two_failed_attempts_are_not_flaky() {
    let checks = vec![result("KMS2-DEC-08", "hundred-at-once", CheckStatus::Fail); 2];
    assert!(
        !row(
            &build(inputs(Profile::Core, checks)).unwrap(),
            "KMS2-DEC-08"
        )
        .flaky
    );
}

#[test]
fn a_pass_without_an_assertion_is_inconclusive() {
    let vacuous = CheckResult {
        assertions: 0,
        ..result("KMS2-ENC-05", "ciphertext-size", CheckStatus::Pass)
    };
    let report = build(inputs(
        Profile::Core,
        with(all_pass(Profile::Core), vacuous),
    ))
    .unwrap();
    let row = row(&report, "KMS2-ENC-05");
    assert_eq!(row.status, CheckStatus::Inconclusive);
    assert!(row.checks[0].explanation.starts_with("no-assertion"));
    assert_eq!(report.profiles[0].result, ProfileResult::Inconclusive);
}

#[test]
fn a_breach_of_a_may_is_a_warning() {
    let breach = CheckResult {
        explanation: "Equal seeds show.".into(),
        ..result("KMS2-RT-03", "equal-plaintexts-differ", CheckStatus::Fail)
    };
    let checks = with(all_pass(Profile::Production), breach);
    let report = build(inputs(Profile::Production, checks)).unwrap();
    let row = row(&report, "KMS2-RT-03");
    assert_eq!(row.status, CheckStatus::Warn);
    assert_eq!(
        row.checks[0].explanation,
        "Equal seeds show. A breach of what only may be so is a warning."
    );
    assert_eq!(report.profiles[1].result, ProfileResult::Success);
}

#[test]
fn results_that_are_no_verdict_on_a_plugin_are_refused_by_name() {
    let error = |requirement: &str| {
        let checks = vec![result(requirement, "some-check", CheckStatus::Pass)];
        build(inputs(Profile::Core, checks)).unwrap_err()
    };
    let unknown = error("KMS2-ENC-99");
    assert!(matches!(unknown, BuildError::Unknown { .. }));
    assert_eq!(
        unknown.to_string(),
        "check \"some-check\" judges \"KMS2-ENC-99\", which is no requirement"
    );
    assert!(
        matches!(error("KMS2-ENC-01"), BuildError::NotAPlugins { .. }),
        "API server's"
    );
    assert!(
        matches!(error("KMS2-SRV-01"), BuildError::NotAPlugins { .. }),
        "information"
    );
}

#[test]
fn profiles_hold_the_smaller_ones_and_name_what_is_missing() {
    let mut checks = all_pass(Profile::Production);
    checks.retain(|one| one.requirement != "KMS2-ROT-01");
    let report = build(inputs(Profile::Production, checks)).unwrap();
    let [core, production] = &report.profiles[..] else {
        panic!("{:?}", report.profiles)
    };
    assert_eq!(
        (core.name, core.result),
        (Profile::Core, ProfileResult::Success)
    );
    assert_eq!(production.result, ProfileResult::Partial);
    assert_eq!(production.missing, ["KMS2-ROT-01"]);
    assert!(
        core.required
            .iter()
            .all(|id| production.required.contains(id))
    );
    assert!(core.required.len() < production.required.len());
    for unjudged in [
        "KMS2-RT-03",
        "KMS2-AVAIL-02",
        "KMS2-ENC-04",
        "KMS2-STALE-05",
    ] {
        assert!(
            !production.required.iter().any(|id| id == unjudged),
            "{unjudged} is required"
        );
    }
}

#[test]
fn what_does_not_hold_for_a_server_version_is_not_required_of_it() {
    let required = |server| {
        let mut inputs = inputs(Profile::Core, vec![]);
        inputs.server = Some(server);
        let report = build(inputs).unwrap();
        let has_row = report
            .requirements
            .iter()
            .any(|row| row.id == "KMS2-STATUS-02");
        let required = report.profiles[0]
            .required
            .iter()
            .any(|id| id == "KMS2-STATUS-02");
        assert_eq!(has_row, required);
        required
    };
    assert!(!required(Minor(28)), "versions are pinned from 1.29 on");
    assert!(required(Minor(29)));
}

#[test]
fn limits_of_the_arm_come_first_and_are_never_missing() {
    for arm in [Arm::Sim, Arm::Process, Arm::Cluster] {
        let mut inputs = full(Profile::Core, vec![]);
        inputs.environment.arm = arm;
        let limits = build(inputs).unwrap().limits;
        assert!(
            limits[0].starts_with(&format!("{} arm: ", arm.as_str())),
            "{limits:?}"
        );
        assert_eq!(limits.last().unwrap(), "no restart command was given");
    }
}

#[test]
fn the_order_of_results_does_not_show() {
    let mut checks = all_pass(Profile::Production);
    let report = build(full(Profile::Production, checks.clone())).unwrap();
    checks.reverse();
    assert_eq!(build(full(Profile::Production, checks)).unwrap(), report);
}

#[test]
fn an_empty_selection_is_inconclusive_and_not_a_part_of_a_verdict() {
    let skipped: Vec<_> = all_pass(Profile::Core)
        .into_iter()
        .map(|one| result(&one.requirement, "holds", CheckStatus::Skipped))
        .collect();
    for checks in [vec![], skipped] {
        let report = build(inputs(Profile::Core, checks)).unwrap();
        assert_eq!(report.profiles[0].result, ProfileResult::Inconclusive);
        assert_eq!(
            report.profiles[0].summary,
            "Nothing ran, so nothing is shown."
        );
    }
}
