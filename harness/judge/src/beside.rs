//! Judges of what was asked of other processes of the subject: a late backend, a false one, a key that
//! is deleted and made again, a rotation in vain, many rotations.

use kms_history::{Body, Call, History, Outcome};

use crate::process::{measures, step};
use crate::robust::SLACK_NS;
use crate::stimuli::{
    AFTERWARDS, AWAY, BEFORE, CONTACT, FALSE_BACKENDS, IN_VAIN, KEY_MADE_AGAIN, KEYLESS,
    LATE_BACKEND, MADE_AGAIN, MANY_ROTATIONS, ROTATION_IN_VAIN, SILENT,
};
use crate::tally::{Tally, describe, ending, millis};
use crate::{Check, CheckResult};

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "starts-without-its-backend",
        requirements: &["KMS2-AVAIL-04"],
        title: "It starts and answers Status without its backend, and serves when that comes",
        stimuli: &[LATE_BACKEND],
        judge: late,
    },
    Check {
        id: "deadlines-kept-without-backend",
        requirements: &["KMS2-AVAIL-03"],
        title: "A call is answered in time while the backend is away or silent",
        stimuli: &[LATE_BACKEND],
        judge: in_time,
    },
    Check {
        id: "status-tells-of-a-deleted-key",
        requirements: &["KMS2-AVAIL-10"],
        title: "Status is not good for long while Encrypt fails for want of the key",
        stimuli: &[KEY_MADE_AGAIN],
        judge: truthful,
    },
    Check {
        id: "re-created-key-has-a-new-id",
        requirements: &["KMS2-ROT-04"],
        title: "A key that was deleted and made again does not get the old key_id",
        stimuli: &[KEY_MADE_AGAIN],
        judge: made_again,
    },
    Check {
        id: "refused-rotation-changes-nothing",
        requirements: &["KMS2-ROT-05"],
        title: "After a rotation that the backend refused the old key_id is in force",
        stimuli: &[ROTATION_IN_VAIN],
        judge: in_vain,
    },
    Check {
        id: "only-the-right-backend",
        requirements: &["KMS2-SEC-03"],
        title: "A false backend is told nothing",
        stimuli: &[FALSE_BACKENDS],
        judge: false_backends,
    },
    Check {
        id: "memory-bounded-over-rotations",
        requirements: &["KMS2-PERF-01"],
        title: "Memory does not grow with each version of the key",
        stimuli: &[MANY_ROTATIONS],
        judge: many_rotations,
    },
];

/// How long Status may be good while Encrypt fails: two polls of the API server.
const TRUTH_NS: u64 = 20_000_000_000;
/// What 400 versions may take: 20 KiB each is more than anything that has to be known of one.
const VERSIONS_MAY_TAKE: u64 = 8 << 20;
/// Ways in which a backend can be false, as the stimulus names them.
const FALSEHOODS: [&str; 4] = ["other-authority", "other-name", "plain-http", REDIRECT];
const REDIRECT: &str = "foreign-redirect";

/// healthz and key_id of a Status that was answered.
fn status<'a>(call: &Call<'a>) -> Option<(&'a str, &'a str)> {
    match &call.answer()?.body {
        Body::Status {
            healthz, key_id, ..
        } => Some((&healthz.text, &key_id.text)),
        _ => None,
    }
}

fn is_good(call: &Call<'_>) -> bool {
    status(call).is_some_and(|(healthz, _)| healthz == "ok")
}

/// Whether Status is ever good in an ordinary run: one that never is shows nothing beside it, either.
fn well(history: &History) -> bool {
    history.calls_of(CONTACT).any(|call| is_good(&call))
}

/// The key_id that both Status and Encrypt gave before; none where they disagreed.
fn key_id_before<'a>(history: &'a History, stimulus: &'a str) -> Option<&'a str> {
    let mut ids = cases(history, stimulus, BEFORE).filter_map(|call| key_id(&call));
    let first = ids.next()?;
    let mut others = ids.peekable();
    others.peek()?;
    others.all(|other| other == first).then_some(first)
}

/// The key_id of an answer, whichever it is.
fn key_id<'a>(call: &Call<'a>) -> Option<&'a str> {
    match &call.answer()?.body {
        Body::Status { key_id, .. } | Body::Encrypt { key_id, .. } => Some(&key_id.text),
        _ => None,
    }
}

/// Whether what was to be done to the backend was done, and where.
fn done(history: &History, stimulus: &str, hook: &str) -> Option<u64> {
    let (seq, step) = step(history, stimulus, hook)?;
    step.error.is_none().then_some(seq)
}

fn cases<'a>(
    history: &'a History,
    stimulus: &'a str,
    case: &'static str,
) -> impl Iterator<Item = Call<'a>> + use<'a> {
    let calls = history.calls_of(stimulus);
    calls.filter(move |call| call.sent.case == case)
}

fn late(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-AVAIL-04",
        "an answer to Status, whatever it says; good, with Encrypt and Decrypt, once the backend is there",
    );
    let mut seen = String::new();
    if done(history, LATE_BACKEND, "backend-silent").is_some() {
        for call in cases(history, LATE_BACKEND, AWAY).filter(|c| c.sent.method == "Status") {
            let answered = matches!(call.outcome(), Some(Outcome::Ok(_) | Outcome::Error { .. }));
            tally.holds(call.seq(), answered, || {
                format!("without a backend: {}", describe(&call))
            });
        }
        if let Some((seq, step)) = step(history, LATE_BACKEND, "backend-comes")
            && step.error.is_none()
            && well(history)
        {
            tally.holds(seq, step.effect_ns.is_some(), || {
                "Status did not become good when the backend came".to_owned()
            });
            seen = format!(
                "good {} after the backend came",
                millis(step.effect_ns.unwrap_or_default())
            );
        }
        for call in cases(history, LATE_BACKEND, AFTERWARDS) {
            tally.still_succeeds(&call);
        }
    }
    vec![tally.finish(
        seen,
        "after a power cut everything starts at once, and a Vault in the cluster starts after the API server",
    )]
}

fn in_time(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-AVAIL-03",
        "ended by the subject within the deadline and 250 ms",
    );
    let mut slowest = 0;
    let calls = cases(history, LATE_BACKEND, AWAY).chain(cases(history, LATE_BACKEND, SILENT));
    for call in calls {
        let Some(answered) = call.answered else {
            continue;
        };
        let limit = call.sent.deadline_ns.map_or(u64::MAX, |ns| ns + SLACK_NS);
        let held = match answered.outcome {
            Outcome::NotConnected { .. } => continue,
            Outcome::TimedOut => false,
            _ => answered.elapsed_ns <= limit,
        };
        tally.holds(call.seq(), held, || {
            format!("{} after {}", describe(&call), millis(answered.elapsed_ns))
        });
        slowest = slowest.max(answered.elapsed_ns);
    }
    vec![tally.finish(
        format!("the slowest after {}", millis(slowest)),
        "a call that hangs holds an API request, and tells nobody what is wrong",
    )]
}

fn truthful(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-AVAIL-10",
        "a gRPC error, or a healthz other than ok, within 20 s of the first Encrypt that failed",
    );
    let mut seen = String::new();
    if done(history, KEY_MADE_AGAIN, "delete-key").is_some() {
        let calls: Vec<_> = cases(history, KEY_MADE_AGAIN, KEYLESS).collect();
        let failed = calls.iter().find(|call| {
            call.sent.method == "Encrypt" && matches!(call.outcome(), Some(Outcome::Error { .. }))
        });
        let worked_before = cases(history, KEY_MADE_AGAIN, BEFORE).any(|call| is_good(&call));
        if let Some(failed) = failed.filter(|_| worked_before) {
            let since = failed.event.at_ns;
            let mut statuses = calls.iter().filter(|call| {
                call.sent.method == "Status"
                    && call.event.at_ns >= since
                    && matches!(call.outcome(), Some(Outcome::Ok(_) | Outcome::Error { .. }))
            });
            let sick = statuses.clone().find(|call| !is_good(call));
            match (sick, statuses.next_back()) {
                (Some(sick), _) => {
                    let after = sick.event.at_ns - since;
                    seen = format!("bad {} after Encrypt failed", millis(after));
                    tally.holds(sick.seq(), after <= TRUTH_NS, || seen.clone());
                    if let Some((healthz, key_id)) = status(sick) {
                        tally.should(sick.seq(), key_id.is_empty(), || {
                            format!("healthz {healthz:?} with a key_id: the server goes on writing")
                        });
                    }
                }
                (None, Some(last)) => tally.holds(last.seq(), false, || {
                    let after = millis(last.event.at_ns - since);
                    format!("Status still good {after} after Encrypt failed")
                }),
                (None, None) => {}
            }
        }
    }
    vec![tally.finish(
        seen,
        "health checks and alerts see Status alone; other faults of the backend, and Decrypt alone failing, are not tried",
    )]
}

fn made_again(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-ROT-04",
        "a key_id that was not there before, or an error",
    );
    let before = key_id_before(history, KEY_MADE_AGAIN);
    let mut new = 0;
    if let Some(before) = before
        && done(history, KEY_MADE_AGAIN, "make-key").is_some()
    {
        // The server asks Encrypt after a good Status only, and that may have been of a moment
        // before the key was made.
        let mut good = false;
        for call in cases(history, KEY_MADE_AGAIN, MADE_AGAIN) {
            if call.sent.method == "Status" {
                good = is_good(&call);
            } else if let Some(now) = key_id(&call).filter(|_| good) {
                tally.holds(call.seq(), now != before, || {
                    format!("Encrypt under the old key_id {before:?}")
                });
                new += 1;
            }
        }
    }
    vec![tally.finish(
        format!("another key_id, {new} times"),
        "data of the old key, which nobody can read, would count as current and never be looked at",
    )]
}

fn in_vain(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-ROT-05",
        "the key_id of before, in Status and Encrypt",
    );
    let before = key_id_before(history, ROTATION_IN_VAIN);
    if let Some(before) = before
        && done(history, ROTATION_IN_VAIN, "rotate-in-vain").is_some()
    {
        for call in cases(history, ROTATION_IN_VAIN, IN_VAIN) {
            match (key_id(&call), call.outcome()) {
                (Some(now), _) => tally.holds(call.seq(), now == before, || {
                    format!("{}: {now:?} in place of {before:?}", call.sent.method)
                }),
                (None, Some(Outcome::Error { .. })) => {
                    tally.holds(call.seq(), false, || describe(&call));
                }
                _ => {}
            }
        }
    }
    vec![tally.finish(
        "nothing changed",
        "a key_id without its key stops writes; a rotation that fails half-way is not tried",
    )]
}

fn false_backends(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-SEC-03",
        "no credential and no request where certificate, name, scheme or host is not what it was told",
    );
    let mut visited = Vec::new();
    for falsehood in FALSEHOODS {
        let number = |what: &str| {
            let name = format!("{what}:{falsehood}");
            measures(history, FALSE_BACKENDS, &name).last()
        };
        let (Some((_, contacts)), Some((seq, requests)), Some((_, credentials))) = (
            number("contacts"),
            number("requests"),
            number("credentials"),
        ) else {
            continue;
        };
        // One that nobody came to was told nothing, and shows nothing.
        if contacts == 0 {
            continue;
        }
        visited.push(falsehood);
        tally.holds(seq, credentials == 0, || {
            format!("{falsehood}: {credentials} requests with a credential")
        });
        let told = || format!("{falsehood}: {requests} requests");
        match falsehood {
            // Nothing secret went there.
            REDIRECT => tally.should(seq, requests == 0, told),
            _ => tally.holds(seq, requests == 0, told),
        }
        for call in cases(history, FALSE_BACKENDS, falsehood) {
            if let Some(outcome) = call.outcome() {
                tally.holds(call.seq(), !is_good(&call), || {
                    format!("{falsehood}: Status {}, with healthz ok", ending(outcome))
                });
            }
        }
    }
    vec![tally.finish(
        format!("refused: {}", visited.join(", ")),
        "whoever stands between the plugin and Vault would have its credential, and with it every seed",
    )]
}

fn many_rotations(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-PERF-01",
        "at most 8 MiB more than before",
    );
    let samples: Vec<_> = measures(history, MANY_ROTATIONS, "resident-bytes").collect();
    let rotations = measures(history, MANY_ROTATIONS, "rotations").next();
    let seen_by_it = step(history, MANY_ROTATIONS, "rotate-spare")
        .is_some_and(|(_, step)| step.effect_ns.is_some());
    let mut seen = String::new();
    if let ([(_, before), (at, after)], Some((_, rotations)), true) =
        (&samples[..], rotations, seen_by_it)
    {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        seen = format!(
            "{:.1} MiB, {:.1} MiB after {rotations} rotations",
            mib(*before),
            mib(*after)
        );
        let held = after.saturating_sub(*before) <= VERSIONS_MAY_TAKE;
        tally.holds(*at, held, || seen.clone());
    }
    vec![tally.finish(
        seen,
        "a key that is rotated for years has hundreds of versions, each of which may still be needed; \
         they came faster here than the subject looks",
    )]
}
