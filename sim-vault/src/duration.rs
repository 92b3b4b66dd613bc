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
    if rest.is_empty() {
        return None;
    }
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

/// Go's complaint about a text that [`parse`] does not take.
pub(crate) fn fault(text: &str) -> String {
    if let Some(days) = text.strip_suffix('d') {
        return format!("strconv.ParseInt: parsing {days:?}: invalid syntax");
    }
    let whole = quoted(text);
    let invalid = format!("time: invalid duration {whole}");
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    while !rest.is_empty() {
        let number = |c: char| c.is_ascii_digit() || c == '.';
        let (digits, tail) = rest.split_at(rest.find(|c| !number(c)).unwrap_or(rest.len()));
        if !digits.contains(|c: char| c.is_ascii_digit()) || digits.matches('.').count() > 1 {
            return invalid;
        }
        let (unit, tail) = tail.split_at(tail.find(number).unwrap_or(tail.len()));
        match unit {
            "" => return format!("time: missing unit in duration {whole}"),
            "ns" | "us" | "\u{b5}s" | "\u{3bc}s" | "ms" | "s" | "m" | "h" => rest = tail,
            unit => return format!("time: unknown unit {} in duration {whole}", quoted(unit)),
        }
    }
    invalid
}

/// Between quotes, byte by byte where it is not plain.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b' '..=b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("\\x{other:02x}")),
        }
    }
    out.push('"');
    out
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
        assert_eq!(parse("-"), None);
        for (text, complaint) in [
            ("soon", "time: invalid duration \"soon\""),
            ("-", "time: invalid duration \"-\""),
            ("1.5", "time: missing unit in duration \"1.5\""),
            ("1h5", "time: missing unit in duration \"1h5\""),
            ("1e3", "time: unknown unit \"e\" in duration \"1e3\""),
            ("1h 2m", "time: unknown unit \"h \" in duration \"1h 2m\""),
            (
                "1\u{fc}",
                "time: unknown unit \"\\xc3\\xbc\" in duration \"1\\xc3\\xbc\"",
            ),
            ("1.5d", "strconv.ParseInt: parsing \"1.5\": invalid syntax"),
        ] {
            assert_eq!(fault(text), complaint);
        }
        assert_eq!(short(Duration::from_secs(2_764_800)), "768h");
        assert_eq!(short(Duration::from_secs(5_401)), "1h30m1s");
        assert_eq!(short(Duration::from_secs(60)), "1m");
        assert_eq!(long(Duration::from_secs(2_764_800)), "768h0m0s");
        assert_eq!(long(Duration::from_secs(60)), "1m0s");
    }
}
