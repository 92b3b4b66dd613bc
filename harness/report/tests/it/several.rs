//! Merging and comparing.

use kms_contract::Profile;
use kms_judge::{CheckResult, CheckStatus};
use kms_report::model::{Arm, Report};
use kms_report::{Direction, Identity, Inputs, Unmergeable, build, compare, digest, merge};
use proptest::prelude::*;

use crate::fixture::{all_pass, every_status, full, inputs, result, scenario, with};

fn identity() -> Identity {
    Identity {
        report_id: "merged".into(),
        created_at: "2026-10-03T00:00:00Z".into(),
        generated_by: "kms-harness 0.1.0".into(),
    }
}

/// The run, of which part `number` made these checks and scenario runs.
fn part(number: usize, checks: Vec<CheckResult>, scenarios: &[u64]) -> Report {
    let mut part = inputs(Profile::Production, checks);
    part.report_id = format!("part-{number}");
    part.environment.load_before = Some(number.to_string());
    part.scenarios = scenarios
        .iter()
        .map(|seed| scenario("vault-sealed", *seed, CheckStatus::Pass))
        .collect();
    build(part).unwrap()
}

proptest! {
    /// However the checks are dealt out, and in whatever order the parts come, the whole says the same.
    #[test]
    fn parts_make_the_whole(deal in proptest::collection::vec(0_usize..3, 1..400), turn in 0_usize..3) {
        let checks = every_status();
        let whole = part(9, checks.clone(), &[1, 2, 3]);
        let hand = |check: &CheckResult| {
            // all attempts of a check belong to one part
            let first = checks.iter().position(|one| {
                (&one.requirement, &one.check_id) == (&check.requirement, &check.check_id)
            });
            deal[first.unwrap() % deal.len()]
        };
        let mut parts: Vec<Report> = (0..3)
            .map(|number| {
                let mine = checks.iter().filter(|check| hand(check) == number).cloned();
                part(number, mine.collect(), &[number as u64 + 1])
            })
            .collect();
        parts.rotate_left(turn);
        let merged = merge(parts, identity()).unwrap();
        prop_assert_eq!(&merged.requirements, &whole.requirements);
        prop_assert_eq!(&merged.profiles, &whole.profiles);
        prop_assert_eq!(digest(&merged), digest(&whole));
    }
}

#[test]
fn a_merged_report_is_a_new_one_and_says_what_one_part_says() {
    let whole = build(full(Profile::Core, all_pass(Profile::Core))).unwrap();
    let merged = merge(vec![whole.clone()], identity()).unwrap();
    assert_eq!(digest(&merged), digest(&whole));
    assert_eq!(merged.report_id, "merged");
    let twice = merge(vec![whole.clone(), whole.clone()], identity()).unwrap();
    assert_eq!(twice.latency[0].count, 2 * whole.latency[0].count);
    let (sum, one) = (&twice.latency[0], &whole.latency[0]);
    assert_eq!((sum.min, sum.mean, sum.max), (one.min, one.mean, one.max));
    assert!(
        sum.p50 >= one.p50 && sum.p50 <= one.p50 + one.p50 / 8,
        "{}",
        sum.p50
    );
    assert_eq!(twice.properties, whole.properties);
}

/// A part in which a check could not be made takes nothing from the one in which it was.
#[test]
fn what_one_part_could_not_do_another_did() {
    let without = result("KMS2-RT-02", "decrypts-after-restart", CheckStatus::NotRun);
    let with_it = result("KMS2-RT-02", "decrypts-after-restart", CheckStatus::Pass);
    let merged = merge(
        vec![part(1, vec![without], &[]), part(2, vec![with_it], &[])],
        identity(),
    );
    let merged = merged.unwrap();
    let row = merged
        .requirements
        .iter()
        .find(|row| row.id == "KMS2-RT-02")
        .unwrap();
    assert_eq!(
        (row.status, row.checks[0].attempts.len()),
        (CheckStatus::Pass, 1)
    );
    let broken = result("KMS2-RT-02", "decrypts-after-restart", CheckStatus::Fail);
    let held = result("KMS2-RT-02", "decrypts-after-restart", CheckStatus::Pass);
    let merged = merge(
        vec![part(1, vec![broken], &[]), part(2, vec![held], &[])],
        identity(),
    );
    let merged = merged.unwrap();
    let row = merged
        .requirements
        .iter()
        .find(|row| row.id == "KMS2-RT-02")
        .unwrap();
    assert!(row.status == CheckStatus::Fail && row.flaky);
}

#[test]
fn what_is_no_part_is_refused() {
    assert_eq!(merge(vec![], identity()), Err(Unmergeable::Nothing));
    let refused = |change: fn(&mut Report)| {
        let mut other = part(2, vec![], &[]);
        change(&mut other);
        match merge(vec![part(1, vec![], &[]), other], identity()) {
            Err(Unmergeable::Different { what, .. }) => what,
            other => panic!("{other:?}"),
        }
    };
    let digest = |report: &mut Report| report.suite.contract.registry_digest = "sha256:01".into();
    assert_eq!(refused(digest), "registries of requirements");
    assert_eq!(
        refused(|report| report.suite.version = "9".into()),
        "suites"
    );
    let binary = |report: &mut Report| report.subject.artifacts[0].digest.sha256 = "00".into();
    assert_eq!(refused(binary), "subjects");
    assert_eq!(refused(|report| report.environment.arm = Arm::Sim), "arms");
    let version = |report: &mut Report| drop(report.profiles[0].required.pop());
    assert_eq!(refused(version), "server versions or profiles");
    let mut other = part(2, vec![], &[7]);
    other.scenarios[0].verdict = CheckStatus::Fail;
    let twice = merge(vec![part(1, vec![], &[7]), other], identity());
    assert!(matches!(twice, Err(Unmergeable::Twice { .. })), "{twice:?}");
    // the same run of which two parts say the same is one
    let mut slower = part(2, vec![], &[7]);
    slower.scenarios[0].wall_duration_ns += 1;
    let once = merge(vec![part(1, vec![], &[7]), slower], identity()).unwrap();
    assert_eq!(once.scenarios.len(), 1);
}

fn changed(results: &[(&str, CheckStatus)]) -> Report {
    let mut checks = all_pass(Profile::Core);
    for (id, status) in results {
        checks = with(checks, result(id, "holds", *status));
    }
    build(Inputs {
        run_id: "later".into(),
        ..inputs(Profile::Core, checks)
    })
    .unwrap()
}

#[test]
fn a_comparison_tells_worse_from_better_and_from_not_looked_at() {
    use CheckStatus::{Fail, Inconclusive, NotRun, Warn};
    let older = changed(&[
        ("KMS2-ENC-05", Fail),
        ("KMS2-DEC-08", NotRun),
        ("KMS2-STATUS-01", Warn),
    ]);
    let newer = changed(&[
        ("KMS2-STATUS-03", Fail),
        ("KMS2-STATUS-04", Inconclusive),
        ("KMS2-STATUS-01", Fail),
    ]);
    let comparison = compare(&older, &newer);
    let seen: Vec<_> = comparison
        .changes
        .iter()
        .map(|change| (change.direction, change.id.as_str()))
        .collect();
    let expected = [
        (Direction::Worse, "KMS2-STATUS-01"),
        (Direction::Worse, "KMS2-STATUS-03"),
        (Direction::Better, "KMS2-ENC-05"),
        (Direction::Coverage, "KMS2-DEC-08"),
        (Direction::Coverage, "KMS2-STATUS-04"),
    ];
    assert_eq!(seen, expected);
    assert!(comparison.is_worse() && comparison.unlike.is_empty());
    assert_ne!(comparison.digests[0], comparison.digests[1]);
    let lines = comparison.lines();
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("WORSE") && line.contains("KMS2-STATUS-03"))
    );
    assert!(!compare(&newer, &newer).is_worse());
    let again = compare(&older, &changed(&[]));
    assert!(!again.is_worse(), "{:?}", again.changes);
}

#[test]
fn a_breach_where_nobody_had_looked_is_worse_and_other_requirements_are_told() {
    let older = build(inputs(Profile::Core, vec![])).unwrap();
    let mut newer = changed(&[("KMS2-ENC-05", CheckStatus::Fail)]);
    newer.suite.contract.registry_digest = "sha256:01".into();
    let comparison = compare(&older, &newer);
    let worse: Vec<_> = comparison
        .changes
        .iter()
        .filter(|change| change.direction == Direction::Worse)
        .map(|change| change.id.as_str())
        .collect();
    assert_eq!(worse, ["KMS2-ENC-05"]);
    assert!(
        comparison.unlike[0].starts_with("registries"),
        "{:?}",
        comparison.unlike
    );
}
