//! Sums over latency samples.

use kms_contract::Profile;
use kms_report::model::{Arm, LatencyKey, LatencySeries, Phase};
use kms_report::{build, latency_files};
use proptest::prelude::*;

use crate::fixture::full;

fn key() -> LatencyKey {
    LatencyKey {
        op: "decrypt".into(),
        arm: Arm::Process,
        phase: Phase::Fault,
        outcome: "ok".into(),
    }
}

fn series(samples: Vec<u64>) -> LatencySeries {
    LatencySeries::from_samples(key(), samples, None).unwrap()
}

#[test]
fn no_samples_give_no_series() {
    assert_eq!(LatencySeries::from_samples(key(), vec![], None), None);
}

#[test]
fn quantiles_are_samples_by_nearest_rank() {
    let thousand = series((1..=1000).rev().collect());
    let quantiles = [
        thousand.p50,
        thousand.p90,
        thousand.p95,
        thousand.p99,
        thousand.p999,
    ];
    assert_eq!(quantiles, [500, 900, 950, 990, 999]);
    assert_eq!((thousand.min, thousand.mean, thousand.max), (1, 500, 1000));
    let one = series(vec![7]);
    assert_eq!([one.p50, one.p999, one.min, one.max, one.mean], [7; 5]);
    let two = series(vec![10, 20]);
    assert_eq!((two.p50, two.p90), (10, 20), "half took at most 10");
}

#[test]
fn extreme_samples_do_not_overflow() {
    let extreme = series(vec![u64::MAX, u64::MAX, 0]);
    assert_eq!(extreme.mean, u64::MAX / 3 * 2);
    assert_eq!(extreme.buckets, [(0, 1), (u64::MAX, 2)]);
}

#[test]
fn only_open_loop_load_is_corrected() {
    let open = LatencySeries::from_samples(key(), vec![5], Some(1_000_000)).unwrap();
    assert_eq!(
        (open.expected_interval, open.corrected),
        (Some(1_000_000), true)
    );
    let closed = series(vec![5]);
    assert_eq!((closed.expected_interval, closed.corrected), (None, false));
}

/// In milliseconds, with the share of the samples up to each bound, as HdrHistogram's plotter reads them.
#[test]
fn percentiles_end_at_the_longest_sample() {
    let mut report = build(full(Profile::Core, Vec::new())).unwrap();
    let key = LatencyKey {
        op: "scenario/encrypt".into(),
        outcome: "../ok".into(),
        ..key()
    };
    let samples = vec![1_000_000, 1_000_000, 1_000_000, 9_000_000];
    report.latency = vec![LatencySeries::from_samples(key, samples, None).unwrap()];
    let files = latency_files(&report);
    let [(name, text)] = files.as_slice() else {
        panic!("{files:?}");
    };
    assert_eq!(name, "latency/scenario-encrypt.process.fault.---ok.hgrm");
    let words: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        words[0],
        ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    );
    assert_eq!(words[2], ["1.049", "0.750000000000", "3", "4.00"]);
    assert_eq!(words[3], ["9.000", "1.000000000000", "4"]);
    assert!(
        text.ends_with("#[Buckets =            2, SubBuckets     =            1]\n"),
        "{text}"
    );
}

proptest! {
    #[test]
    fn buckets_hold_each_sample_within_an_eighth(
        samples in prop::collection::vec(any::<u64>().prop_map(|n| n >> (n % 61)), 1..200),
    ) {
        let series = series(samples.clone());
        prop_assert!(series.buckets.is_sorted_by(|a, b| a.0 < b.0));
        prop_assert_eq!(series.buckets.iter().map(|bucket| bucket.1).sum::<u64>(), series.count);
        let mut lower = None;
        for &(upper, count) in &series.buckets {
            let inside = |&&sample: &&u64| {
                sample <= upper && lower.is_none_or(|lower| sample > lower)
            };
            let found: Vec<_> = samples.iter().filter(inside).collect();
            prop_assert_eq!(found.len() as u64, count);
            for sample in found {
                prop_assert!(upper - sample <= sample / 8, "{} in bucket {}", sample, upper);
            }
            lower = Some(upper);
        }
    }
}
