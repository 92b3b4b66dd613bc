//! Latencies as HdrHistogram prints percentiles (`.hgrm`), which its plotters read: a file for each series.

use std::fmt::Write as _;

use crate::model::{LatencySeries, Report};

/// Nanoseconds in the unit of the files, the millisecond.
const UNIT: f64 = 1_000_000.0;

/// The files of a report, each with its name below the bundle. Their values are the buckets' upper bounds, so at most an
/// eighth above what was measured; the last is the longest sample.
#[must_use]
pub fn latency_files(report: &Report) -> Vec<(String, String)> {
    let series = report.latency.iter();
    series
        .map(|series| (name(series), percentiles(series)))
        .collect()
}

fn name(series: &LatencySeries) -> String {
    let words = [
        series.op.as_str(),
        series.arm.as_str(),
        series.phase.as_str(),
        series.outcome.as_str(),
    ];
    // Reports come from anywhere: a word of theirs is no path.
    let plain = |letter: char| {
        if letter.is_ascii_alphanumeric() {
            letter
        } else {
            '-'
        }
    };
    let words = words.map(|word| word.chars().map(plain).collect::<String>());
    format!("latency/{}.hgrm", words.join("."))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "these are shown, to three digits"
)]
fn percentiles(series: &LatencySeries) -> String {
    let mut text = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let total = series.buckets.iter().map(|(_, count)| count).sum::<u64>();
    let mut up_to = 0;
    for (bound, count) in &series.buckets {
        up_to += count;
        let value = (*bound).min(series.max) as f64 / UNIT;
        let share = up_to as f64 / total as f64;
        write!(text, "{value:12.3} {share:2.12} {up_to:10}").expect("a String takes all");
        if up_to < total {
            let beyond = total as f64 / (total - up_to) as f64;
            write!(text, " {beyond:14.2}").expect("a String takes all");
        }
        text.push('\n');
    }
    let [mean, max] = [series.mean, series.max].map(|nanos| nanos as f64 / UNIT);
    let deviation = deviation(series) / UNIT;
    let buckets = series.buckets.len();
    writeln!(text, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]\n#[Max     = {max:12.3}, Total count    = {total:12}]\n#[Buckets = {buckets:12}, SubBuckets     = {:12}]", 1)
        .expect("a String takes all");
    text
}

#[expect(
    clippy::cast_precision_loss,
    reason = "these are shown, to three digits"
)]
fn deviation(series: &LatencySeries) -> f64 {
    let mean = series.mean as f64;
    let mut squares = 0.0;
    let mut total = 0.0;
    for (bound, count) in &series.buckets {
        let off = (*bound).min(series.max) as f64 - mean;
        squares += off * off * *count as f64;
        total += *count as f64;
    }
    if total == 0.0 {
        0.0
    } else {
        (squares / total).sqrt()
    }
}
