//! Counts assertions of one check on one requirement and makes the result.

use kms_history::{Body, Call, History, Outcome, Request, What};

use crate::stimuli::CONTACT;
use crate::{Check, CheckResult, CheckStatus};

/// Findings that are written out; the rest is counted.
const SHOWN: usize = 3;
/// Events named as evidence.
const EVIDENCE: usize = 8;

pub(crate) struct Tally<'a> {
    check: &'a Check,
    requirement: &'static str,
    history: &'a History,
    expected: Vec<String>,
    assertions: u64,
    failures: Vec<(u64, String)>,
    doubts: Vec<(u64, String)>,
    first: Option<u64>,
    last: Option<u64>,
}

impl<'a> Tally<'a> {
    pub fn new(
        check: &'a Check,
        history: &'a History,
        requirement: &'static str,
        expected: &str,
    ) -> Self {
        Tally {
            check,
            requirement,
            history,
            expected: vec![expected.to_string()],
            assertions: 0,
            failures: Vec::new(),
            doubts: Vec::new(),
            first: None,
            last: None,
        }
    }

    fn assert(&mut self, seq: u64) {
        self.assertions += 1;
        self.first.get_or_insert(seq);
        self.last = Some(seq);
    }

    /// One assertion; a breach is a failure.
    pub fn holds(&mut self, seq: u64, held: bool, observed: impl FnOnce() -> String) {
        self.assert(seq);
        if !held {
            self.failures.push((seq, observed()));
        }
    }

    /// One assertion; a breach is a warning.
    pub fn should(&mut self, seq: u64, held: bool, observed: impl FnOnce() -> String) {
        self.assert(seq);
        if !held {
            self.doubts.push((seq, observed()));
        }
    }

    /// The call must have been answered with success. A call that never reached the subject says
    /// nothing.
    pub fn succeeds(&mut self, call: &Call<'_>) {
        let Some(outcome) = call.outcome() else {
            return;
        };
        if matches!(outcome, Outcome::NotConnected { .. }) {
            return;
        }
        self.holds(call.seq(), matches!(outcome, Outcome::Ok(_)), || {
            describe(call)
        });
    }

    /// The same, where the method worked at the run's beginning: otherwise others name the fault.
    pub fn still_succeeds(&mut self, call: &Call<'_>) {
        if works(self.history, &call.sent.method) {
            self.succeeds(call);
        }
    }

    /// How many assertions were made so far.
    pub fn count(&self) -> u64 {
        self.assertions
    }

    /// The result; `observed` describes what was seen when all held.
    pub fn finish(self, observed: impl Into<String>, why: &str) -> CheckResult {
        let (status, observed, explanation, evidence) = if self.assertions == 0 {
            let (status, reason) = self.nothing_seen();
            (status, "nothing to judge".to_string(), reason, Vec::new())
        } else if !self.failures.is_empty() {
            let evidence = self.failures.iter().map(|(seq, _)| *seq).collect();
            (
                CheckStatus::Fail,
                listed(&self.failures, self.assertions),
                why.to_string(),
                evidence,
            )
        } else if !self.doubts.is_empty() {
            let evidence = self.doubts.iter().map(|(seq, _)| *seq).collect();
            (
                CheckStatus::Warn,
                listed(&self.doubts, self.assertions),
                why.to_string(),
                evidence,
            )
        } else {
            let mut evidence: Vec<u64> = self.first.into_iter().chain(self.last).collect();
            evidence.dedup();
            (
                CheckStatus::Pass,
                observed.into(),
                why.to_string(),
                evidence,
            )
        };
        CheckResult {
            check_id: self.check.id.into(),
            requirement: self.requirement.into(),
            status,
            assertions: self.assertions,
            expected: self.expected,
            observed,
            explanation,
            evidence: evidence.into_iter().take(EVIDENCE).collect(),
            scenario_runs: Vec::new(),
            duration_ns: duration(self.check, self.history),
        }
    }

    /// Why there was nothing to assert.
    fn nothing_seen(&self) -> (CheckStatus, String) {
        let events = || {
            self.check
                .stimuli
                .iter()
                .flat_map(|name| self.history.stimulus(name))
        };
        // The first stimulus is the one that the check cannot do without.
        let main = self
            .check
            .stimuli
            .iter()
            .take(1)
            .flat_map(|name| self.history.stimulus(name));
        let reasons = main.filter_map(|event| match &event.what {
            What::NotRun(reason) => Some(reason.clone()),
            _ => None,
        });
        if let Some(reason) = reasons.last() {
            return (CheckStatus::NotRun, reason);
        }
        if events().next().is_none() {
            return (
                CheckStatus::NotRun,
                "no-stimulus: the run left no trace of it".into(),
            );
        }
        let calls = self
            .check
            .stimuli
            .iter()
            .flat_map(|name| self.history.calls_of(name));
        match calls.last() {
            Some(call) => (
                CheckStatus::Inconclusive,
                format!(
                    "no-data: no call gave what this check looks at; {}",
                    describe(&call)
                ),
            ),
            None => (
                CheckStatus::Inconclusive,
                "no-data: no call was made".into(),
            ),
        }
    }
}

/// Whether an ordinary call of the method did what it should when the run began.
pub(crate) fn works(history: &History, method: &str) -> bool {
    history
        .calls_of(CONTACT)
        .filter(|call| call.sent.method == method)
        .any(|call| {
            let sent = call
                .sent
                .of
                .and_then(|seq| history.call(seq))
                .map(|call| &call.sent.request);
            match (call.answer().map(|answer| &answer.body), sent) {
                (
                    Some(Body::Decrypt { plaintext: given }),
                    Some(Request::Encrypt { plaintext }),
                ) => given.same(plaintext),
                (answer, _) => answer.is_some(),
            }
        })
}

fn listed(findings: &[(u64, String)], assertions: u64) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for (_, text) in findings {
        if !lines.contains(&text.as_str()) {
            lines.push(text);
        }
    }
    let more = lines.len().saturating_sub(SHOWN);
    let mut text = lines.into_iter().take(SHOWN).collect::<Vec<_>>().join("; ");
    if more > 0 {
        text.push_str(&format!("; and {more} more kinds"));
    }
    format!("{text} ({} of {assertions} assertions)", findings.len())
}

/// From the first to the last event of the check's stimuli.
fn duration(check: &Check, history: &History) -> u64 {
    let times = || {
        check
            .stimuli
            .iter()
            .flat_map(|name| history.stimulus(name))
            .map(|event| event.at_ns)
    };
    times().max().unwrap_or(0) - times().min().unwrap_or(0)
}

/// A call and its end in a few words, without payloads.
pub(crate) fn describe(call: &Call<'_>) -> String {
    let case = match call.sent.case.as_ref() {
        "" => String::new(),
        case => format!(" ({case})"),
    };
    let end = match call.outcome() {
        None => "never ended".to_string(),
        Some(outcome) => ending(outcome),
    };
    format!("{}{case}: {end}", call.sent.method)
}

/// An outcome in a few words.
pub(crate) fn ending(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Ok(_) => "success".into(),
        Outcome::Error { code, message } => {
            let text: String = message.text.chars().take(160).collect();
            format!("{} {text:?}", code_name(*code))
        }
        Outcome::Http { status } => format!("HTTP {status} without a gRPC status"),
        Outcome::Reset { code } => format!("stream reset, HTTP/2 error {code}"),
        Outcome::Closed {
            goaway: Some(code),
            reason,
        } => {
            format!("GOAWAY with HTTP/2 error {code}, connection closed: {reason}")
        }
        Outcome::Closed {
            goaway: None,
            reason,
        } => format!("connection closed: {reason}"),
        Outcome::TimedOut => "no answer within the limit".into(),
        Outcome::Cancelled => "given up by the caller".into(),
        Outcome::NotConnected { reason } => format!("no connection: {reason}"),
        Outcome::Unreadable { reason } => format!("unreadable answer: {reason}"),
    }
}

/// Name of a gRPC code as specifications write it.
pub(crate) fn code_name(code: u32) -> String {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    NAMES
        .get(code as usize)
        .map_or_else(|| format!("code {code}"), ToString::to_string)
}

/// The value below which 99 % of the samples lie; absent without samples.
pub(crate) fn p99(mut samples: Vec<u64>) -> Option<u64> {
    samples.sort_unstable();
    let rank = (samples.len() * 99).div_ceil(100);
    rank.checked_sub(1).map(|index| samples[index])
}

/// Nanoseconds as milliseconds for people.
pub(crate) fn millis(ns: u64) -> String {
    format!("{:.1} ms", ns as f64 / 1e6)
}
