//! Logs: which lines are kept, and what of them.

use std::collections::BTreeMap;

use crate::evidence::{Line, Log};
use crate::sign;
use crate::veil::Veil;

/// Most different lines that are kept.
const MOST: usize = 200;

/// What a line of an API server's log has in it that is about encryption. It speaks of much else that is refused, late,
/// or not reached.
const OF_ENCRYPTION: &[&str] = &[
    "kms",
    "envelope",
    "encrypt",
    "decrypt",
    "dek",
    "transform",
    "matching prefix",
];

/// The lines that are known for something.
pub fn log(text: &str, taken: i64, veil: &Veil) -> Log {
    of(text, taken, veil, |_| true)
}

/// Those of them that are about encryption, from the log of an API server.
pub fn server_log(text: &str, taken: i64, veil: &Veil) -> Log {
    of(text, taken, veil, |line| {
        let line = line.to_lowercase();
        OF_ENCRYPTION.iter().any(|word| line.contains(word))
    })
}

fn of(text: &str, taken: i64, veil: &Veil, about: impl Fn(&str) -> bool) -> Log {
    let mut log = Log::default();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for line in text.lines() {
        let signs = sign::signs(line);
        if signs.is_empty() || !about(line) {
            log.others += 1;
            continue;
        }
        let (at, rest) = stamped(line, taken);
        let text = veil.text(rest);
        if let Some(place) = known.get(&text) {
            let kept: &mut Line = &mut log.lines[*place];
            kept.count += 1;
            kept.last = at.or(kept.last);
            continue;
        }
        if log.lines.len() == MOST {
            log.others += 1;
            continue;
        }
        known.insert(text.clone(), log.lines.len());
        log.lines.push(Line {
            first: at,
            last: at,
            count: 1,
            signs,
            text,
        });
    }
    log
}

/// The time that a line begins with, and the rest: RFC 3339, klog's, or the field of a JSON line.
fn stamped(line: &str, taken: i64) -> (Option<i64>, &str) {
    let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
    if let Some(at) = super::time(first) {
        // a container's log may have one time before the program's own
        let (_, inner) = stamped(rest.trim_start(), taken);
        return (Some(at), inner);
    }
    if line.starts_with('{') {
        let at = line.split("\"timestamp\":\"").nth(1);
        let at = at.and_then(|rest| rest.split('"').next());
        return (at.and_then(super::time), line);
    }
    match klog(line, taken) {
        Some((at, rest)) => (Some(at), rest),
        None => (None, line),
    }
}

/// `E0102 15:04:05.678901       1 file.go:1] text`: without a year, so it is the last such day before `taken`.
fn klog(line: &str, taken: i64) -> Option<(i64, &str)> {
    let digits = line.get(1..5)?;
    let clock = line.get(6..14)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || line.as_bytes().get(5) != Some(&b' ') {
        return None;
    }
    let now = jiff::Timestamp::from_second(taken).ok()?;
    let year: i32 = now.strftime("%Y").to_string().parse().ok()?;
    let (month, day) = digits.split_at(2);
    let at = |year: i32| super::time(&format!("{year:04}-{month}-{day}T{clock}Z"));
    // a clock may be a little ahead
    let at = at(year)
        .filter(|at| *at <= taken + 3600)
        .or_else(|| at(year - 1))?;
    let rest = line.split_once("] ").map_or(line, |(_, rest)| rest);
    Some((at, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAKEN: i64 = 1_767_225_600;

    #[test]
    fn known_lines_are_kept_with_their_times_and_counted() {
        let veil = Veil::new([0; 32], []);
        let text = "2025-12-31T23:59:00.5Z ERROR call failed error=vault is sealed\n\
                    something else, hunter2\n\
                    2025-12-31T23:59:30Z ERROR call failed error=vault is sealed\n\
                    E1231 23:50:00.000001       1 kms.go:1] \"x\" err=\"no matching prefix found\"\n";
        let log = log(text, TAKEN, &veil);
        assert_eq!((log.lines.len(), log.others), (2, 1));
        let sealed = &log.lines[0];
        assert_eq!(sealed.count, 2);
        assert_eq!(
            (sealed.first, sealed.last),
            (Some(TAKEN - 60), Some(TAKEN - 30))
        );
        assert_eq!(log.lines[1].last, Some(TAKEN - 600));
        assert!(!format!("{log:?}").contains("hunter2"));
    }

    /// A server that is troubled says of a webhook what a plugin says of its Vault.
    #[test]
    fn what_an_api_server_says_of_others_is_not_of_its_plugin() {
        let veil = Veil::new([0; 32], []);
        let text = "E1231 23:50:00.000001 1 dispatcher.go:1] dial tcp 10.0.0.1:443: connect: connection refused\n\
                    E1231 23:50:01.000001 1 kmsv2.go:1] Internal error: rpc error: connection refused kms\n";
        assert_eq!(log(text, TAKEN, &veil).lines.len(), 2);
        let of_server = server_log(text, TAKEN, &veil);
        assert_eq!((of_server.lines.len(), of_server.others), (1, 1));
    }

    #[test]
    fn a_line_of_last_year_is_not_of_this_one() {
        assert_eq!(
            klog("E1231 23:59:59.0 1 a.go:1] b", TAKEN),
            Some((TAKEN - 1, "b"))
        );
        assert_eq!(klog("nothing of the kind", TAKEN), None);
        assert_eq!(klog("E12é1 23:59:59.0", TAKEN), None);
    }
}
