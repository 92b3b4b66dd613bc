//! Go's durations: how requests write them and how error texts print them.

use std::time::Duration;

/// Reads `1h30m`, `2d`, `90`, `1.5s`. `None` if it is no duration; negative ones are `Some(Err(text))`.
pub(crate) fn parse(text: &str) -> Option<Result<Duration, String>> {
    let text = text.trim();
    if text.is_empty() {
        return Some(Ok(Duration::ZERO));
    }
    if let Ok(seconds) = text.parse::<i64>() {
        return Some(
            u64::try_from(seconds)
                .map(Duration::from_secs)
                .map_err(|_| text.to_owned()),
        );
    }
    if let Some(days) = text.strip_suffix('d') {
        let days: u64 = days.parse().ok()?;
        return Some(Ok(Duration::from_secs(days.checked_mul(86_400)?)));
    }
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut seconds = 0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        let unit_end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        seconds += value
            * match rest.get(..unit_end)? {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = rest.get(unit_end..)?;
    }
    if negative && seconds > 0.0 {
        return Some(Err(text.to_owned()));
    }
    Duration::try_from_secs_f64(seconds).ok().map(Ok)
}

/// `768h`, `1h30m`, `5s`: Go's text with the trailing zero units taken off.
pub(crate) fn short(d: Duration) -> String {
    let seconds = d.as_secs();
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (h, m, s) {
        (0, 0, s) => format!("{s}s"),
        (0, m, 0) => format!("{m}m"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, 0, 0) => format!("{h}h"),
        (h, m, 0) => format!("{h}h{m}m"),
        (h, m, s) => format!("{h}h{m}m{s}s"),
    }
}

/// Go's text with all units from the largest on: `768h0m0s`, `1m0s`, `5s`.
pub(crate) fn long(d: Duration) -> String {
    let seconds = d.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, m, s) => format!("{h}h{m}m{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print_as_in_go() {
        for (text, seconds) in [
            ("1h30m", 5400),
            ("2d", 172_800),
            ("90", 90),
            ("1.5s", 1),
            ("", 0),
            ("9000h", 32_400_000),
        ] {
            assert_eq!(parse(text).unwrap().unwrap().as_secs(), seconds, "{text}");
        }
        assert_eq!(parse("-5"), Some(Err("-5".to_owned())));
        assert_eq!(parse("soon"), None);
        assert_eq!(short(Duration::from_secs(2_764_800)), "768h");
        assert_eq!(short(Duration::from_secs(5_401)), "1h30m1s");
        assert_eq!(short(Duration::from_secs(60)), "1m");
        assert_eq!(long(Duration::from_secs(2_764_800)), "768h0m0s");
        assert_eq!(long(Duration::from_secs(60)), "1m0s");
    }
}
