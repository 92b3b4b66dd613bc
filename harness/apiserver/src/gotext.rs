//! Texts as Go makes them: quoted strings, lists of errors, times, durations, hashes.

use std::fmt::Write;
use std::time::Duration;

use sha2_v10::{Digest, Sha256};

/// `sha256:` and the hexadecimal digest, or nothing for nothing (KMS2-MET-02).
pub fn hash_if_not_empty(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        sha256(text.as_bytes())
    }
}

/// `sha256:` and the hexadecimal digest.
pub fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).expect("less than 16"));
        }
    }
    text
}

/// A string in quotes, as `%q` writes it.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            letter if (letter as u32) < 0x20 || letter == '\u{7f}' => {
                // Writing to a String cannot fail.
                let _ = write!(quoted, "\\x{:02x}", letter as u32);
            }
            '\u{80}'..='\u{a0}' | '\u{ad}' => {
                let _ = write!(quoted, "\\u{:04x}", letter as u32);
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

/// A value in a log line: quoted, or in angle brackets if it has several lines.
pub fn log_value(text: &str) -> String {
    if text.contains('\n') {
        format!("<\n\t{}\n >", text.replace('\n', "\n\t"))
    } else {
        quote(text)
    }
}

/// Several errors in one text: alone as it is, more in brackets, the same one only once.
pub fn aggregate(errors: &[String]) -> String {
    let mut distinct: Vec<&str> = Vec::new();
    for error in errors {
        if !distinct.contains(&error.as_str()) {
            distinct.push(error);
        }
    }
    match distinct.as_slice() {
        [only] => (*only).to_owned(),
        several => format!("[{}]", several.join(", ")),
    }
}

/// A time with whole seconds in UTC, as `time.RFC3339` writes it. The server's zone is taken to be
/// UTC. A wall clock beyond the year 9999 shows as that year's end.
pub fn rfc3339(unix: Duration) -> String {
    let seconds = i64::try_from(unix.as_secs()).unwrap_or(i64::MAX);
    let stamp = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
    stamp.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The zero value of Go's time.
pub const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// A duration as Go prints it, such as `1m30s`, `50ms` or `0s`; negative for a count below 0.
pub fn duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    if nanos == 0 {
        return "0s".to_owned();
    }
    let units = [("ns", 1), ("µs", 1_000), ("ms", 1_000_000)];
    let small = units.into_iter().find(|(_, size)| nanos < size * 1_000);
    let (unit, size) = small.unwrap_or(("s", 1_000_000_000));
    if unit != "s" {
        return format!("{sign}{}{unit}", decimal(nanos, size));
    }
    let (minutes, rest) = (nanos / (60 * size), nanos % (60 * size));
    let seconds = decimal(rest, size);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

/// `value / size` without trailing zeros; `size` is a power of ten.
fn decimal(value: u64, size: u64) -> String {
    let width = size.ilog10() as usize;
    let text = format!("{}.{:0width$}", value / size, value % size);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Reads a duration such as `1m30s`, `3.5s` or `-1s`, in nanoseconds.
///
/// # Errors
/// With Go's text, if it is none or does not fit 64 bits.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", quote(text));
    let (negative, mut rest) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0u64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (whole, after) = rest.split_at(digits);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => after.split_at(after.bytes().take_while(u8::is_ascii_digit).count()),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let letters = after
            .find(|letter: char| letter == '.' || letter.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let size: u64 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "" => return Err(format!("time: missing unit in duration {}", quote(text))),
            unit => {
                return Err(format!(
                    "time: unknown unit {} in duration {}",
                    quote(unit),
                    quote(text)
                ));
            }
        };
        let whole: u64 = if whole.is_empty() {
            0
        } else {
            whole.parse().map_err(|_| invalid())?
        };
        let mut value = whole.checked_mul(size).ok_or_else(invalid)?;
        let mut place = size;
        for digit in fraction.bytes() {
            place /= 10;
            value += u64::from(digit - b'0') * place;
        }
        total = total.checked_add(value).ok_or_else(invalid)?;
        if total > 1 << 63 {
            return Err(invalid());
        }
        rest = after;
    }
    match i64::try_from(total) {
        Ok(total) if negative => Ok(-total),
        Ok(total) => Ok(total),
        Err(_) if negative => Ok(i64::MIN),
        Err(_) => Err(invalid()),
    }
}

/// A UUID of version 4 from 16 random bytes, in lower case with hyphens (KMS2-ENC-03).
pub fn uuid_v4(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex(&bytes);
    format!(
        "{}-{}-{}-{}-{}",
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..]
    )
}
