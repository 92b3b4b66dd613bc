//! The few statistics a table needs. Exact: samples are kept, not bucketed.

/// The middle value, or the mean of the two middle ones. `None` without values.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[upper]),
        _ => Some(f64::midpoint(sorted[upper - 1], sorted[upper])),
    }
}

/// The `p`-th percentile (0 to 100) of ascending values by nearest rank: always a value that was
/// seen. `None` without values.
pub fn percentile(sorted: &[u64], p: f64) -> Option<u64> {
    let rank = (p / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// Median of `a/b` over pairs taken side by side, so that a slow stretch of the machine hits both
/// halves of a pair. This is not the ratio of the two medians. Pairs without a divisor are left out.
pub fn median_ratio(pairs: impl IntoIterator<Item = (f64, f64)>) -> Option<f64> {
    let ratios: Vec<f64> = pairs
        .into_iter()
        .filter(|(_, b)| *b > 0.0)
        .map(|(a, b)| a / b)
        .collect();
    median(&ratios)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_odd_even_and_no_values() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn percentile_is_nearest_rank() {
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!(percentile(&hundred, 50.0), Some(50));
        assert_eq!(percentile(&hundred, 99.0), Some(99));
        assert_eq!(percentile(&hundred, 100.0), Some(100));
        assert_eq!(percentile(&hundred, 0.0), Some(1));
        assert_eq!(percentile(&[7], 99.0), Some(7));
        assert_eq!(percentile(&[], 50.0), None);
    }

    #[test]
    fn ratios_are_taken_inside_the_pair_before_the_median() {
        // Ratio of the medians would be 20/10 = 2; within the rounds it is 1.5, 2 and 0.5.
        let pairs = [(15.0, 10.0), (20.0, 10.0), (50.0, 100.0)];
        assert_eq!(median_ratio(pairs), Some(1.5));
        assert_eq!(median_ratio([(1.0, 0.0)]), None);
    }
}
