//! Latencies as counts in buckets.
//!
//! Quantiles are exact, taken from the samples; buckets are for drawing and for adding series up.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Arm;

/// Part of a run that latencies belong to.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Before any fault.
    Baseline,
    /// While a fault is there.
    Fault,
    /// After the last fault.
    Heal,
}

impl Phase {
    /// The word used in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Baseline => "baseline",
            Phase::Fault => "fault",
            Phase::Heal => "heal",
        }
    }
}

/// What a series is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LatencyKey {
    /// Operation, such as `encrypt`.
    pub op: String,
    /// What stood around the subject.
    pub arm: Arm,
    /// Part of the run.
    pub phase: Phase,
    /// `ok`, or the name of the gRPC code.
    pub outcome: String,
}

/// Latencies of one operation in one phase with one outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LatencySeries {
    /// Operation, such as `encrypt`.
    pub op: String,
    /// What stood around the subject; virtual time is never mixed with real.
    pub arm: Arm,
    /// Part of the run.
    pub phase: Phase,
    /// `ok`, or the name of the gRPC code.
    pub outcome: String,
    /// Always `ns`.
    pub unit: String,
    /// Number of samples.
    pub count: u64,
    /// Shortest.
    pub min: u64,
    /// Average, rounded down.
    pub mean: u64,
    /// Longest.
    pub max: u64,
    /// Half took at most this.
    pub p50: u64,
    /// 90 of 100 took at most this.
    pub p90: u64,
    /// 95 of 100 took at most this.
    pub p95: u64,
    /// 99 of 100 took at most this.
    pub p99: u64,
    /// 999 of 1000 took at most this.
    pub p999: u64,
    /// Pause between intended starts, for load that does not wait for answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_interval: Option<u64>,
    /// Whether samples count from the intended start, so that a stalled caller hides nothing.
    pub corrected: bool,
    /// Upper bound (inclusive) and count of each bucket that is not empty, ascending.
    pub buckets: Vec<(u64, u64)>,
    /// An HdrHistogram V2 in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hdr: Option<String>,
}

impl LatencySeries {
    /// Sums samples in nanoseconds up; nothing comes of no samples.
    ///
    /// `open_loop_interval_ns` is given by load that starts calls at fixed times and measures each
    /// from its intended start.
    pub fn from_samples(
        key: LatencyKey,
        mut samples: Vec<u64>,
        open_loop_interval_ns: Option<u64>,
    ) -> Option<Self> {
        samples.sort_unstable();
        let (&min, &max) = (samples.first()?, samples.last()?);
        let count = samples.len() as u64;
        let sum: u128 = samples.iter().map(|&sample| u128::from(sample)).sum();
        let mean = u64::try_from(sum / u128::from(count)).expect("a mean is at most the maximum");

        let mut buckets: Vec<(u64, u64)> = Vec::new();
        for &sample in &samples {
            let bound = bucket_bound(sample);
            match buckets.last_mut() {
                Some((last, n_samples)) if *last == bound => *n_samples += 1,
                _ => buckets.push((bound, 1)),
            }
        }
        Some(LatencySeries {
            op: key.op,
            arm: key.arm,
            phase: key.phase,
            outcome: key.outcome,
            unit: "ns".to_owned(),
            count,
            min,
            mean,
            max,
            p50: quantile(&samples, 500),
            p90: quantile(&samples, 900),
            p95: quantile(&samples, 950),
            p99: quantile(&samples, 990),
            p999: quantile(&samples, 999),
            expected_interval: open_loop_interval_ns,
            corrected: open_loop_interval_ns.is_some(),
            buckets,
            hdr: None,
        })
    }

    /// What the series is about.
    pub fn key(&self) -> LatencyKey {
        LatencyKey {
            op: self.op.clone(),
            arm: self.arm,
            phase: self.phase,
            outcome: self.outcome.clone(),
        }
    }
}

/// The smallest sample that at least `per_mille` of 1000 do not exceed (nearest rank).
fn quantile(sorted: &[u64], per_mille: usize) -> u64 {
    let rank = (sorted.len() * per_mille).div_ceil(1000).max(1);
    sorted[rank - 1]
}

/// Largest value of the bucket that `sample` falls into: eight buckets for each power of two, so
/// that a bound is less than an eighth above any value in it.
fn bucket_bound(sample: u64) -> u64 {
    let width = 1u64 << (u64::BITS - sample.leading_zeros()).saturating_sub(4);
    sample | (width - 1)
}
