//! Small pieces that several renderings share.

use kms_judge::CheckStatus;

/// The word used in JSON.
pub(crate) fn status(status: CheckStatus) -> &'static str {
    match status {
        CheckStatus::Pass => "pass",
        CheckStatus::Fail => "fail",
        CheckStatus::Warn => "warn",
        CheckStatus::Inconclusive => "inconclusive",
        CheckStatus::NotApplicable => "not_applicable",
        CheckStatus::Skipped => "skipped",
        CheckStatus::NotRun => "not_run",
    }
}

/// A duration in the unit that suits it.
pub(crate) fn duration(ns: u64) -> String {
    const US: u64 = 1_000;
    const MS: u64 = 1_000_000;
    const S: u64 = 1_000_000_000;
    match ns {
        0..US => format!("{ns} ns"),
        US..MS => with_tenths(ns, US, "µs"),
        MS..S => with_tenths(ns, MS, "ms"),
        _ => with_tenths(ns, S, "s"),
    }
}

/// One digit after the point, rounded down.
fn with_tenths(ns: u64, unit: u64, name: &str) -> String {
    format!("{}.{} {name}", ns / unit, ns % unit * 10 / unit)
}

/// One line of what a subject may have written: no control characters, so that it can neither
/// break a table nor talk to a terminal.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\r' | '\t' => line.push(' '),
            // Also the marks that reverse the direction of what follows.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            other if other.is_control() => {}
            other => line.push(other),
        }
    }
    line
}
