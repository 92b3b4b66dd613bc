//! Judges of the subject as a process: how it ends and starts, what it takes, what it shows.

use kms_history::{Body, Call, History, HookStep, Outcome, What};

use crate::stimuli::{
    AFTERWARDS, BEFORE, CRASH, FROZEN, IN_FLIGHT, LATE, MEMORY, RESTART, SERIES, STOP,
};
use crate::tally::{Tally, describe, millis, works};
use crate::{Check, CheckResult};

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "memory-bounded-under-bursts",
        requirements: &["KMS2-PERF-01"],
        title: "Memory does not grow with each burst of Decrypts",
        stimuli: &[MEMORY],
        judge: memory,
    },
    Check {
        id: "series-bounded-after-errors",
        requirements: &["KMS2-OBS-02"],
        title: "Different errors do not make ever more metric series",
        stimuli: &[SERIES],
        judge: series,
    },
    Check {
        id: "stop-finishes-calls",
        requirements: &["KMS2-AVAIL-06"],
        title: "On SIGTERM the call under way is finished, and later ones are served or refused",
        stimuli: &[STOP],
        judge: stop,
    },
    Check {
        id: "starts-beside-a-dead-socket",
        requirements: &["KMS2-AVAIL-05"],
        title: "After kill -9 it starts beside the socket that was left, and serves",
        stimuli: &[CRASH],
        judge: crash,
    },
    Check {
        id: "key-id-outlives-a-restart",
        requirements: &["KMS2-ENC-14"],
        title: "key_id is that of the remote key: a restart does not change it",
        stimuli: &[RESTART, STOP],
        judge: key_id_of_the_remote_key,
    },
    Check {
        id: "connection-outlives-a-freeze",
        requirements: &["KMS2-AVAIL-09"],
        title: "A connection goes on serving after the process was frozen",
        stimuli: &[FROZEN],
        judge: frozen,
    },
];

/// Bursts whose growth is measured together: memory is taken in steps, of huge pages and more, and a burst that adds
/// nothing may fill what an earlier one took.
const TOGETHER: usize = 3;
/// Growth that counts, per Decrypt of a burst; less is lost among what an allocator does.
const PER_CALL: u64 = 1024;
/// Growth that counts, per burst.
const PER_BURST: u64 = 256 * 1024;

/// Series that errors may add after the first few: a code that had not been seen, with its buckets.
const MORE_SERIES: u64 = 50;

pub(crate) fn measures<'a>(
    history: &'a History,
    stimulus: &str,
    name: &'a str,
) -> impl Iterator<Item = (u64, u64)> + use<'a> {
    history
        .stimulus(stimulus)
        .filter_map(move |event| match &event.what {
            What::Measured(measure) if measure.name == name => Some((event.seq, measure.value)),
            _ => None,
        })
}

/// The step of a hook in a stimulus: where, and how it went.
pub(crate) fn step<'a>(
    history: &'a History,
    stimulus: &str,
    hook: &str,
) -> Option<(u64, &'a HookStep)> {
    history
        .stimulus(stimulus)
        .find_map(|event| match &event.what {
            What::Hook(step) if step.hook == hook => Some((event.seq, step)),
            _ => None,
        })
}

/// The place where the signal went out.
fn signalled(history: &History, stimulus: &str, signal: &str) -> Option<u64> {
    let (seq, step) = step(history, stimulus, signal)?;
    step.error.is_none().then_some(seq)
}

/// Growth has no bound when it goes on with the bursts. The first burst warms up, and three that add
/// nothing show that the ones before only filled what is used again.
fn memory(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-PERF-01",
        "after the first, some three bursts in a row add less than 1 KiB for each of their Decrypts, or 256 KiB for each burst",
    );
    let samples: Vec<_> = measures(history, MEMORY, "resident-bytes")
        .skip(1)
        .collect();
    let served: Vec<u64> = history
        .calls_of(MEMORY)
        .filter(|call| call.sent.method == "Decrypt" && call.answer().is_some())
        .map(|call| call.seq())
        .collect();
    let mib = |(_, bytes): &(u64, u64)| format!("{:.1}", *bytes as f64 / f64::from(1 << 20));
    let seen: Vec<String> = samples.iter().map(mib).collect();
    let seen = format!("{} MiB after each burst", seen.join(", "));
    // Growth, and what counts as such, of each burst.
    let mut bursts = Vec::new();
    for pair in samples.windows(2) {
        let [(from, before), (to, after)] = *pair else {
            continue;
        };
        let calls = served.iter().filter(|seq| (from..to).contains(seq)).count() as u64;
        // A burst that was refused fills no memory.
        if calls > 0 {
            let counts = (calls * PER_CALL).max(PER_BURST);
            bursts.push((i128::from(after) - i128::from(before), i128::from(counts)));
        }
    }
    if let Some((last, _)) = samples.last()
        && bursts.len() >= TOGETHER
    {
        let rested = bursts.windows(TOGETHER).any(|row| {
            let grown: i128 = row.iter().map(|(grown, _)| grown).sum();
            grown < row.iter().map(|(_, counts)| counts).sum()
        });
        tally.holds(*last, rested, || seen.clone());
    }
    vec![tally.finish(
        seen,
        "what grows with each herd ends with the plugin killed in the middle of one",
    )]
}

fn series(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-OBS-02",
        "at most 50 more series than after the first few errors",
    );
    let samples: Vec<_> = measures(history, SERIES, "metric-series").collect();
    let mut seen = String::new();
    if let [(from, first), .., (to, last)] = samples[..] {
        let between = |call: &Call<'_>| {
            (from..to).contains(&call.seq())
                && matches!(call.outcome(), Some(Outcome::Error { .. }))
        };
        let errors = history.calls_of(SERIES).filter(between).count() as u64;
        seen = format!("{first} series, {last} after {errors} errors more");
        // Fewer errors than that could not have shown it.
        if errors > MORE_SERIES {
            tally.holds(to, last <= first + MORE_SERIES, || seen.clone());
        }
    }
    vec![tally.finish(
        seen,
        "a label that takes any value fills the memory of the plugin and of whoever collects",
    )]
}

fn stop(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-AVAIL-06",
        "success of the call under way; an answer, or no connection, for those that begin later",
    );
    if signalled(history, STOP, "terminate").is_some() {
        for call in history.calls_of(STOP) {
            let Some(outcome) = call.outcome() else {
                continue;
            };
            let held = match call.sent.case.as_ref() {
                IN_FLIGHT if works(history, &call.sent.method) => matches!(outcome, Outcome::Ok(_)),
                LATE => !matches!(outcome, Outcome::TimedOut),
                _ => continue,
            };
            tally.holds(call.seq(), held, || describe(&call));
        }
    }
    vec![tally.finish(
        "finished, and nobody was left hanging",
        "each restart would cost writes, and calls that hang hold API requests for seconds",
    )]
}

fn crash(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-AVAIL-05",
        "it serves again: Status, Encrypt and Decrypt",
    );
    let left = measures(history, CRASH, "socket-left").any(|(_, left)| left == 1);
    // A restart command that never worked says nothing about the socket.
    let works_otherwise = step(history, RESTART, "restart")
        .is_some_and(|(_, step)| step.error.is_none() && step.effect_ns.is_some());
    if let Some((seq, step)) = step(history, CRASH, "restart")
        && left
        && works_otherwise
        && signalled(history, CRASH, "kill").is_some()
    {
        let serves = step.error.is_none() && step.effect_ns.is_some();
        tally.holds(seq, serves, || match &step.error {
            Some(error) => format!("the start failed: {error}"),
            None => "it did not serve".to_owned(),
        });
        for call in history
            .calls_of(CRASH)
            .filter(|call| call.sent.case == AFTERWARDS)
        {
            tally.still_succeeds(&call);
        }
    }
    vec![tally.finish(
        "it served; a second start beside a living owner was not tried",
        "a plugin that needs somebody to remove its socket stays down after each crash",
    )]
}

fn frozen(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-AVAIL-09",
        "success on the connection of before",
    );
    let mut seen = String::new();
    if let Some((_, step)) = step(history, FROZEN, "freeze")
        && let Some(ns) = step.effect_ns
    {
        let served = |call: &Call<'_>| matches!(call.outcome(), Some(Outcome::Ok(_)));
        let before = history.calls_of(FROZEN).find(|c| c.sent.case == BEFORE);
        // One that never served this connection was not hurt by the freeze.
        if before.as_ref().is_some_and(served) {
            for call in history
                .calls_of(FROZEN)
                .filter(|call| call.sent.case == AFTERWARDS)
            {
                tally.holds(call.seq(), served(&call), || describe(&call));
            }
        }
        seen = format!("it served after {}", millis(ns));
    }
    vec![tally.finish(
        seen,
        "the API server keeps its connection for years; how one does that was idle for an hour is not looked at",
    )]
}

fn key_id_of_the_remote_key(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-ENC-14",
        "the same key_id before and after each restart",
    );
    for stimulus in [RESTART, STOP] {
        let restarted = history.stimulus(stimulus).find(|event| {
            matches!(&event.what, What::Hook(step) if step.hook == "restart" && step.error.is_none())
        });
        let Some(restarted) = restarted else { continue };
        // What Encrypt says may differ from Status for reasons of its own.
        let ids = |method: &'static str| {
            let calls = history.calls_of(stimulus);
            let calls = calls.filter(move |call| call.sent.method == method);
            calls.filter_map(|call| Some((call.seq(), key_id(&call)?)))
        };
        for method in ["Status", "Encrypt"] {
            let before = ids(method)
                .take_while(|(seq, _)| *seq < restarted.seq)
                .last();
            let after = ids(method).find(|(seq, _)| *seq > restarted.seq);
            if let (Some((_, before)), Some((seq, after))) = (before, after) {
                tally.should(seq, before == after, || {
                    format!("{before:?}, after a restart {after:?}")
                });
            }
        }
    }
    let count = tally.count();
    vec![tally.finish(
        format!("unchanged, {count} times"),
        "a key that each process makes for itself is not the one that the operator rotates and destroys",
    )]
}

fn key_id<'a>(call: &Call<'a>) -> Option<&'a str> {
    match &call.answer()?.body {
        Body::Status { key_id, .. } | Body::Encrypt { key_id, .. } => Some(&key_id.text),
        _ => None,
    }
}
