//! How statuses add up.

use std::collections::BTreeSet;

use kms_contract::Profile;
use kms_judge::CheckStatus::{
    self, Fail, Inconclusive, NotApplicable, NotRun, Pass, Skipped, Warn,
};
use kms_report::model::ProfileResult;
use kms_report::{build, exit_code, exit_meaning, roll_up, weight, worst};
use proptest::prelude::*;

use crate::fixture::{all_pass, inputs, result, scenario, with};

const ALL: [CheckStatus; 7] = [
    Pass,
    Fail,
    Warn,
    Inconclusive,
    NotApplicable,
    Skipped,
    NotRun,
];

/// What a status lets one claim, from nothing wrong to broken; the roll-up must never turn a
/// worse status into a better claim.
fn badness(status: CheckStatus) -> u8 {
    match status {
        Pass => 0,
        Warn | NotApplicable => 1,
        Skipped | NotRun | Inconclusive => 2,
        Fail => 3,
    }
}

/// Partial and inconclusive both claim nothing beyond what ran.
fn claim(result: ProfileResult) -> u8 {
    match result {
        ProfileResult::Success => 0,
        ProfileResult::Partial | ProfileResult::Inconclusive => 1,
        ProfileResult::Failure => 2,
    }
}

fn rows() -> impl Strategy<Value = Vec<(CheckStatus, bool)>> {
    prop::collection::vec((prop::sample::select(ALL.to_vec()), any::<bool>()), 0..12)
}

#[test]
fn the_order_of_statuses_is_total() {
    let weights: BTreeSet<_> = ALL.iter().map(|&status| weight(status)).collect();
    assert_eq!(weights.len(), ALL.len(), "two statuses weigh the same");
    let mut ordered = ALL;
    ordered.sort_by_key(|&status| weight(status));
    assert_eq!(
        ordered,
        [
            NotApplicable,
            Pass,
            Warn,
            Skipped,
            NotRun,
            Inconclusive,
            Fail
        ]
    );
    assert_eq!(
        worst([]),
        NotRun,
        "a requirement without checks was not run"
    );
}

#[test]
fn a_profile_is_decided_in_the_written_order() {
    use ProfileResult::{Failure, Inconclusive as Undecided, Partial, Success};
    let cases: &[(&[(CheckStatus, bool)], ProfileResult)] = &[
        (&[], Undecided),
        (&[(Pass, true)], Success),
        (
            &[(Pass, true), (Warn, true), (NotApplicable, true)],
            Success,
        ),
        (&[(Warn, true)], Undecided),
        (&[(NotApplicable, true)], Undecided),
        (&[(Pass, true), (Skipped, true)], Partial),
        (&[(Pass, true), (NotRun, true)], Partial),
        (&[(Pass, true), (Skipped, false), (NotRun, false)], Success),
        (&[(NotRun, true)], Partial),
        (&[(NotRun, false)], Undecided),
        (
            &[(Pass, true), (NotRun, true), (Inconclusive, true)],
            Undecided,
        ),
        (&[(Pass, true), (Inconclusive, false)], Undecided),
        (&[(Pass, true), (Inconclusive, true), (Fail, true)], Failure),
        (&[(Fail, false)], Failure),
    ];
    for (rows, expected) in cases {
        assert_eq!(roll_up(rows.iter().copied()), *expected, "{rows:?}");
    }
}

#[test]
fn success_needs_a_pass_and_bears_no_failure() {
    // Which (status, required) pairs occur decides; all 2^14 sets are tried.
    let pairs: Vec<_> = ALL
        .iter()
        .flat_map(|&one| [(one, true), (one, false)])
        .collect();
    for set in 0u32..1 << pairs.len() {
        let chosen = || {
            (0..pairs.len())
                .filter(|bit| set >> bit & 1 == 1)
                .map(|bit| pairs[bit])
        };
        let has = |wanted: CheckStatus| chosen().any(|(status, _)| status == wanted);
        let result = roll_up(chosen());
        assert_eq!(result == ProfileResult::Failure, has(Fail));
        if result == ProfileResult::Success {
            assert!(has(Pass) && !has(Inconclusive));
            assert!(!chosen().any(|pair| pair == (Skipped, true) || pair == (NotRun, true)));
        }
    }
}

proptest! {
    #[test]
    fn roll_up_does_not_depend_on_order_or_repetition(
        (rows, shuffled) in rows().prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
    ) {
        prop_assert_eq!(roll_up(rows.clone()), roll_up(shuffled.clone()));
        let twice = rows.iter().chain(&shuffled).copied();
        prop_assert_eq!(roll_up(rows.clone()), roll_up(twice));
    }

    #[test]
    fn a_worse_status_never_makes_a_better_claim(
        rows in rows(),
        index in any::<prop::sample::Index>(),
        status in prop::sample::select(ALL.to_vec()),
    ) {
        prop_assume!(!rows.is_empty());
        let at = index.index(rows.len());
        prop_assume!(badness(status) > badness(rows[at].0));
        let mut worse = rows.clone();
        worse[at].0 = status;
        prop_assert!(claim(roll_up(worse)) >= claim(roll_up(rows)));
    }

    #[test]
    fn the_worst_of_parts_is_the_worst_of_all(
        one in prop::collection::vec(prop::sample::select(ALL.to_vec()), 1..6),
        other in prop::collection::vec(prop::sample::select(ALL.to_vec()), 1..6),
    ) {
        let parts = worst([worst(one.clone()), worst(other.clone())]);
        prop_assert_eq!(parts, worst(one.iter().chain(&other).copied()));
        prop_assert_eq!(parts, worst(other.iter().chain(&one).copied()));
    }
}

#[test]
fn exit_codes_follow_the_profiles_asked_for() {
    let broken_in_production = with(
        all_pass(Profile::Production),
        result("KMS2-AVAIL-01", "healthy-check-after-heal", Fail),
    );
    let code = |profile, checks| exit_code(&build(inputs(profile, checks)).unwrap());
    assert_eq!(code(Profile::Production, broken_in_production.clone()), 1);
    assert_eq!(
        code(Profile::Core, broken_in_production),
        0,
        "not asked for"
    );
    assert_eq!(code(Profile::Core, vec![]), 3, "nothing ran");
    let only_warnings = vec![result("KMS2-ENC-05", "ciphertext-size", Warn)];
    assert_eq!(code(Profile::Core, only_warnings), 3, "nothing held");
    let undecided = with(
        all_pass(Profile::Core),
        result("KMS2-RT-01", "round-trip", Inconclusive),
    );
    assert_eq!(code(Profile::Core, undecided.clone()), 3);
    let failed_too = with(undecided, result("KMS2-ENC-05", "ciphertext-size", Fail));
    assert_eq!(
        code(Profile::Core, failed_too),
        1,
        "a breach outweighs what is undecided"
    );
    for (verdicts, code) in [
        (&[Pass, NotApplicable, Warn][..], 0),
        (&[Pass, Inconclusive], 3),
        (&[NotApplicable], 3),
        (&[Pass, Inconclusive, Fail], 1),
    ] {
        let mut swarm = inputs(Profile::Chaos, vec![]);
        let runs = verdicts.iter().enumerate();
        swarm.scenarios = runs
            .map(|(seed, verdict)| scenario("drawn", seed as u64, *verdict))
            .collect();
        let report = build(swarm).unwrap();
        assert_eq!(exit_code(&report), code, "scenarios alone: {verdicts:?}");
    }
    for known in [0, 1, 2, 3, 130] {
        assert_ne!(exit_meaning(known), "unknown");
    }
}
