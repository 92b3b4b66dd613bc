//! Judges of Decrypt answers and round trips.

use kms_history::{Answer, Blob, Body, Call, History, Outcome, Request, What};

use crate::encrypt::SEED_BYTES;
use crate::stimuli::{
    AFTERWARDS, BINDING, BURST, BYSTANDERS, CONCURRENT, CONTACT, DAMAGE, DECRYPT, LENGTHS, RESTART,
    ROTATION, ROUND_TRIPS,
};
use crate::tally::{Tally, describe, millis, p99};
use crate::{Check, CheckResult};

/// The documented limit for Decrypt (KMS2-DEC-06).
const LATENCY_NS: u64 = 10_000_000;

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "round-trips",
        requirements: &["KMS2-RT-01"],
        title: "Random 32-byte seeds come back equal",
        stimuli: &[ROUND_TRIPS],
        judge: round_trips,
    },
    Check {
        id: "other-lengths-reported",
        requirements: &["KMS2-RT-01"],
        title: "Plaintexts of other lengths come back equal or are refused",
        stimuli: &[LENGTHS],
        judge: other_lengths,
    },
    Check {
        id: "seed-length-kept",
        requirements: &["KMS2-DEC-02"],
        title: "Decrypt gives exactly the 32 bytes of the seed",
        stimuli: &[CONTACT, ROUND_TRIPS, DECRYPT],
        judge: seed_length,
    },
    Check {
        id: "never-other-bytes",
        requirements: &["KMS2-DEC-04"],
        title: "Whatever Decrypt is given, it never gives bytes that were not encrypted",
        stimuli: &[
            CONTACT,
            ROUND_TRIPS,
            DECRYPT,
            DAMAGE,
            BINDING,
            BYSTANDERS,
            CONCURRENT,
            BURST,
        ],
        judge: never_other_bytes,
    },
    Check {
        id: "damaged-ciphertexts-refused",
        requirements: &["KMS2-DEC-04"],
        title: "A changed, cut, empty or invented ciphertext is an error",
        stimuli: &[DAMAGE],
        judge: damaged,
    },
    Check {
        id: "unknown-key-ids-refused",
        requirements: &["KMS2-DEC-04"],
        title: "A key_id that was never reported is an error",
        stimuli: &[BINDING],
        judge: unknown_key_ids,
    },
    Check {
        id: "fields-are-bound",
        requirements: &["KMS2-DEC-05"],
        title: "Annotations and key_id of another object are an error",
        stimuli: &[BINDING, ROTATION],
        judge: bound,
    },
    Check {
        id: "decrypt-latency",
        requirements: &["KMS2-DEC-06"],
        title: "Decrypt takes less than 10 ms",
        stimuli: &[DECRYPT],
        judge: latency,
    },
    Check {
        id: "concurrent-decrypts",
        requirements: &["KMS2-DEC-08"],
        title: "A hundred Decrypts at once, equal and distinct, all give their own seed",
        stimuli: &[CONCURRENT],
        judge: concurrent,
    },
    Check {
        id: "cold-start-burst",
        requirements: &["KMS2-PERF-02"],
        title: "A thousand distinct Decrypts at once all succeed within the call timeout",
        stimuli: &[BURST],
        judge: burst,
    },
    Check {
        id: "old-data-after-restart",
        requirements: &["KMS2-RT-02", "KMS2-DEC-07"],
        title: "What was wrapped before a restart is unwrapped after it",
        stimuli: &[RESTART],
        judge: after_restart,
    },
    Check {
        id: "old-data-after-rotation",
        requirements: &["KMS2-ROT-03"],
        title: "Every earlier key_id decrypts after rotations and a restart",
        stimuli: &[ROTATION, RESTART],
        judge: after_rotation,
    },
];

/// What a successful Decrypt gave.
fn plaintext<'a>(call: &Call<'a>) -> Option<&'a Blob> {
    match call.answer() {
        Some(Answer {
            body: Body::Decrypt { plaintext },
            ..
        }) => Some(plaintext),
        _ => None,
    }
}

/// What the Encrypt was given whose answer this Decrypt presents.
fn original<'a>(history: &'a History, call: &Call<'_>) -> Option<&'a Blob> {
    match &history.call(call.sent.of?)?.sent.request {
        Request::Encrypt { plaintext } => Some(plaintext),
        _ => None,
    }
}

fn is_decrypt(call: &Call<'_>) -> bool {
    matches!(call.sent.request, Request::Decrypt { .. })
}

/// One assertion: the Decrypt gave what Encrypt was given. Silent if the call never arrived.
fn comes_back(tally: &mut Tally<'_>, history: &History, call: &Call<'_>) {
    match (call.outcome(), plaintext(call), original(history, call)) {
        (None | Some(Outcome::NotConnected { .. }), ..) => {}
        (_, Some(given), Some(original)) => tally.holds(call.seq(), given.same(original), || {
            format!(
                "{}: other bytes ({} instead of {})",
                call.sent.method, given.len, original.len
            )
        }),
        _ => tally.holds(call.seq(), false, || describe(call)),
    }
}

fn round_trips(check: &Check, history: &History) -> Vec<CheckResult> {
    let wanted = history.header().round_trips;
    let expected = format!("all of {wanted} seeds come back equal");
    let mut tally = Tally::new(check, history, "KMS2-RT-01", &expected);
    let mut kinds: std::collections::BTreeMap<&str, u64> = std::collections::BTreeMap::new();
    for call in history.calls_of(ROUND_TRIPS) {
        if is_decrypt(&call) {
            comes_back(&mut tally, history, &call);
            *kinds.entry(call.sent.case.as_ref()).or_default() += 1;
        } else if call.answer().is_none() {
            tally.succeeds(&call);
        }
    }
    for event in history.stimulus(ROUND_TRIPS) {
        if let What::Minimal(minimal) = &event.what {
            tally.holds(event.seq, false, || {
                format!(
                    "smallest failing seed {}: {}",
                    minimal.input, minimal.failure
                )
            });
        }
    }
    if tally.count() > 0 && tally.count() < wanted {
        let (count, last) = (tally.count(), history.stimulus(ROUND_TRIPS).last());
        let seq = last.map_or(0, |event| event.seq);
        tally.should(seq, false, || {
            format!("only {count} of {wanted} round trips were made")
        });
    }
    let kinds: Vec<_> = kinds
        .iter()
        .map(|(kind, n)| format!("{n} {kind}"))
        .collect();
    vec![tally.finish(
        format!("all equal: {}", kinds.join(", ")),
        "the server never tries a round trip: a seed that does not come back is lost data after its next restart",
    )]
}

fn other_lengths(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-RT-01",
        "equal bytes or an error; the server sends 32 bytes only, so there is no verdict here",
    );
    let mut notes = Vec::new();
    for call in history
        .calls_of(LENGTHS)
        .filter(|c| c.sent.case != AFTERWARDS)
    {
        match (call.outcome(), plaintext(&call), original(history, &call)) {
            (None | Some(Outcome::NotConnected { .. }), ..) => {}
            (_, Some(given), Some(original)) => {
                tally.should(call.seq(), given.same(original), || {
                    format!("{}: {} other bytes came back", call.sent.case, given.len)
                });
                notes.push(format!("{} kept", call.sent.case));
            }
            (Some(Outcome::Error { .. }), ..) => {
                tally.should(call.seq(), true, String::new);
                notes.push(format!(
                    "{} refused by {}",
                    call.sent.case, call.sent.method
                ));
            }
            (Some(Outcome::Ok(_)), ..) => {}
            _ => tally.should(call.seq(), false, || describe(&call)),
        }
    }
    vec![tally.finish(
        notes.join(", "),
        "reported for users of the plugin other than the API server",
    )]
}

fn seed_length(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(check, history, "KMS2-DEC-02", "32 bytes");
    for call in check.stimuli.iter().flat_map(|name| history.calls_of(name)) {
        let seed = original(history, &call).is_some_and(|blob| blob.len == SEED_BYTES);
        if let Some(given) = plaintext(&call).filter(|_| seed) {
            tally.holds(call.seq(), given.len == SEED_BYTES, || {
                format!("{} bytes", given.len)
            });
        }
    }
    vec![tally.finish(
        "32 bytes every time",
        "fewer bytes are an error at every read; more are used whole, so the data does not open",
    )]
}

fn never_other_bytes(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-DEC-04",
        "the bytes that Encrypt was given, or an error",
    );
    let seeds = |call: &Call<'_>| is_decrypt(call) && call.event.stimulus != LENGTHS;
    for call in history.calls().filter(seeds) {
        match (plaintext(&call), original(history, &call)) {
            (Some(given), Some(original)) => tally.holds(call.seq(), given.same(original), || {
                format!(
                    "{} bytes that were never encrypted{}",
                    given.len,
                    case(&call)
                )
            }),
            (Some(given), None) => tally.holds(call.seq(), false, || {
                format!("{} bytes out of nothing{}", given.len, case(&call))
            }),
            (None, _) if matches!(call.outcome(), Some(Outcome::Error { .. })) => {
                tally.holds(call.seq(), true, String::new);
            }
            (None, _) => {}
        }
    }
    vec![tally.finish(
        "no other bytes in any answer",
        "the server caches what it gets before it authenticates: one wrong answer makes the seed's objects unreadable for a day",
    )]
}

fn case(call: &Call<'_>) -> String {
    if call.sent.case.is_empty() {
        String::new()
    } else {
        format!(" ({})", call.sent.case)
    }
}

/// One assertion: the subject answered with an error of its own.
fn is_refused(tally: &mut Tally<'_>, call: &Call<'_>) {
    match call.outcome() {
        None | Some(Outcome::NotConnected { .. }) => {}
        Some(outcome) => {
            let refused = matches!(outcome, Outcome::Error { .. });
            tally.holds(call.seq(), refused, || describe(call));
        }
    }
}

fn damaged(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-DEC-04",
        "a gRPC error for each of them",
    );
    for call in history
        .calls_of(DAMAGE)
        .filter(|c| is_decrypt(c) && c.sent.case != AFTERWARDS)
    {
        is_refused(&mut tally, &call);
    }
    let count = tally.count();
    vec![tally.finish(
        format!("{count} damaged ciphertexts, all refused"),
        "only the plugin can tell that a ciphertext is not the one it made",
    )]
}

fn unknown_key_ids(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-DEC-04",
        "a gRPC error for each of them",
    );
    for call in history.calls_of(BINDING).filter(is_decrypt) {
        if call.sent.case.starts_with("key-id:") && call.sent.case != "key-id:other" {
            is_refused(&mut tally, &call);
        }
    }
    vec![tally.finish(
        "all refused",
        "a plugin that tries a key_id it does not know hides that data belongs to another key",
    )]
}

fn bound(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-DEC-05",
        "a gRPC error for each of them",
    );
    let calls = history.calls_of(BINDING).chain(history.calls_of(ROTATION));
    for call in calls.filter(is_decrypt) {
        let case = call.sent.case.as_ref();
        if case == "annotation:ignorable" {
            // It has no annotations, so one too many changes nothing it could have bound.
            let refused = matches!(call.outcome(), Some(Outcome::Error { .. }));
            let arrived = !matches!(call.outcome(), None | Some(Outcome::NotConnected { .. }));
            if arrived {
                tally.should(call.seq(), refused, || describe(&call));
            }
        } else if case.starts_with("annotation:") || case == "key-id:other" {
            is_refused(&mut tally, &call);
        }
    }
    let other = history
        .calls_of(ROTATION)
        .any(|call| call.sent.case == "key-id:other");
    let seen = match other {
        true => "all refused",
        false => "all refused; another valid key_id was not presented, for the key was not rotated",
    };
    vec![tally.finish(
        seen,
        "nothing else binds them: whoever can write to etcd can present any key_id and annotations",
    )]
}

fn latency(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(check, history, "KMS2-DEC-06", "p99 below 10 ms");
    let calls: Vec<_> = history
        .calls_of(DECRYPT)
        .filter(|c| plaintext(c).is_some())
        .collect();
    let samples = calls
        .iter()
        .filter_map(|c| c.answered.map(|a| a.elapsed_ns))
        .collect();
    let mut seen = String::new();
    if let (Some(p99), Some(first)) = (p99(samples), calls.first()) {
        seen = format!("p99 {} over {} calls", millis(p99), calls.len());
        tally.should(first.seq(), p99 < LATENCY_NS, || seen.clone());
    }
    vec![tally.finish(
        seen,
        "the documented limit; thousands of calls may come at server start",
    )]
}

fn concurrent(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-DEC-08",
        "each call gives its own seed",
    );
    for call in history.calls_of(CONCURRENT).filter(is_decrypt) {
        comes_back(&mut tally, history, &call);
    }
    let count = tally.count();
    vec![tally.finish(
        format!("{count} calls, all right"),
        "the server neither merges equal reads nor limits how many it sends at once",
    )]
}

fn burst(check: &Check, history: &History) -> Vec<CheckResult> {
    let limit = history.header().timeout_ns;
    let expected = format!("all succeed within {}", millis(limit));
    let mut tally = Tally::new(check, history, "KMS2-PERF-02", &expected);
    let mut slowest = 0;
    let arrived =
        |call: &Call<'_>| !matches!(call.outcome(), None | Some(Outcome::NotConnected { .. }));
    for call in history.calls_of(BURST).filter(is_decrypt).filter(arrived) {
        comes_back(&mut tally, history, &call);
        let elapsed = call.answered.map_or(0, |a| a.elapsed_ns);
        tally.holds(call.seq(), elapsed <= limit, || {
            format!("took {}", millis(elapsed))
        });
        slowest = slowest.max(elapsed);
    }
    let count = tally.count() / 2;
    vec![tally.finish(
        format!("{count} calls, the slowest after {}", millis(slowest)),
        "a starting server decrypts every seed it finds, and each call has its own timeout",
    )]
}

/// Material of a key_id that is no longer the current one.
fn is_earlier(call: &Call<'_>) -> bool {
    call.sent.case == "earlier-key"
}

fn after_restart(check: &Check, history: &History) -> Vec<CheckResult> {
    let lost = history.stimulus(RESTART).find(|event| match &event.what {
        What::Hook(step) => step.error.is_none() && step.effect_ns.is_none(),
        _ => false,
    });
    let judge = |requirement, every_key: bool| {
        let mut tally = Tally::new(check, history, requirement, "all of them come back equal");
        if let Some(event) = lost {
            tally.holds(event.seq, false, || {
                "it did not answer Status after the restart".into()
            });
        }
        let calls = history.calls_of(RESTART).filter(is_decrypt);
        for call in calls.filter(|call| every_key || !is_earlier(call)) {
            comes_back(&mut tally, history, &call);
        }
        let seen = format!("{} ciphertexts came back", tally.count());
        tally.finish(
            seen,
            "a cluster restarts its plugins and must read what is in etcd",
        )
    };
    vec![judge("KMS2-RT-02", false), judge("KMS2-DEC-07", true)]
}

fn after_rotation(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(check, history, "KMS2-ROT-03", "all of them come back equal");
    let mut key_ids = std::collections::BTreeSet::new();
    let calls = history.calls_of(ROTATION).chain(history.calls_of(RESTART));
    for call in calls.filter(is_earlier) {
        comes_back(&mut tally, history, &call);
        if let Request::Decrypt { key_id, .. } = &call.sent.request {
            key_ids.insert(&key_id.text);
        }
    }
    let seen = format!("data of {} earlier key_id(s) came back", key_ids.len());
    vec![tally.finish(
        seen,
        "old key_ids must stay decryptable as long as data under them may exist",
    )]
}
