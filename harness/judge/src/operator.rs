//! Judges of what only the operator can arrange: rotation, the socket's file, the log.

use kms_history::{Body, Call, History, HookStep, LogSearch, Needle, Outcome, SocketFacts, What};

use crate::process::measures;
use crate::stimuli::{BINDING, DAMAGE, LOGS, ROTATION, SECRETS, SOCKET};
use crate::tally::Tally;
use crate::{Check, CheckResult};

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "rotation-reported",
        requirements: &["KMS2-ROT-01", "KMS2-STALE-05"],
        title: "A rotation of the remote key is reported, by Status and Encrypt together",
        stimuli: &[ROTATION],
        judge: rotation,
    },
    Check {
        id: "socket-closed-to-others",
        requirements: &["KMS2-SEC-02", "KMS2-CONN-15"],
        title: "Others can neither read nor write the socket",
        stimuli: &[SOCKET],
        judge: socket,
    },
    Check {
        id: "uids-logged",
        requirements: &["KMS2-LOG-04", "KMS2-OBS-01"],
        title: "The log names the uid of calls, above all of those that fail",
        stimuli: &[LOGS],
        judge: uids,
    },
    Check {
        id: "no-plaintext-in-errors",
        requirements: &["KMS2-SEC-01"],
        title: "No error text holds the plaintext of its call",
        stimuli: &[DAMAGE, BINDING],
        judge: errors_without_plaintext,
    },
    Check {
        id: "no-plaintext-in-log",
        requirements: &["KMS2-SEC-01"],
        title: "No plaintext stands in the log",
        stimuli: &[LOGS],
        judge: log_without_plaintext,
    },
    Check {
        id: "no-secret-shown",
        requirements: &["KMS2-SEC-01"],
        title: "No credential and no plaintext stands in log, metrics or argument list",
        stimuli: &[SECRETS],
        judge: nothing_shown,
    },
];

fn rotations(history: &History) -> impl Iterator<Item = (u64, &HookStep)> {
    history
        .stimulus(ROTATION)
        .filter_map(|event| match &event.what {
            What::Hook(step) if step.error.is_none() => Some((event.seq, step)),
            _ => None,
        })
}

fn rotation(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut reported = Tally::new(
        check,
        history,
        "KMS2-ROT-01",
        "one new key_id after each rotation, used by Encrypt as soon as Status gives it",
    );
    let mut delay = Tally::new(
        check,
        history,
        "KMS2-STALE-05",
        "the time to the new key_id can be told",
    );
    let mut times = Vec::new();
    for (seq, step) in rotations(history) {
        reported.holds(seq, step.effect_ns.is_some(), || {
            "no new key_id in time".into()
        });
        delay.should(seq, step.effect_ns.is_some(), || {
            "no new key_id in time".into()
        });
        if let Some(ns) = step.effect_ns {
            times.push(format!("{:.1} s", ns as f64 / 1e9));
            let (before, after): (Vec<_>, Vec<_>) = history
                .calls_of(ROTATION)
                .partition(|call| call.seq() < seq);
            // Where they disagreed before, the rotation did not part them.
            if let Some((_, status, encrypt)) = first_pair(before.iter().rev())
                && status == encrypt
                && let Some((at, status, encrypt)) = first_pair(after.iter())
            {
                reported.holds(at, status == encrypt, || {
                    format!("Status gave {status:?}, Encrypt then {encrypt:?}")
                });
            }
        }
    }
    let seen = format!("new key_id after {}", times.join(" and "));
    vec![
        reported.finish(
            seen.clone(),
            "until both agree the server refuses each new seed and goes on with the old one",
        ),
        delay.finish(
            seen,
            "passive migration waits 3 minutes + this time + a margin",
        ),
    ]
}

/// The first Status and the first Encrypt in the given order: where, and the key_ids of both.
fn first_pair<'a, 'b: 'a>(
    calls: impl Iterator<Item = &'a Call<'b>> + Clone,
) -> Option<(u64, &'b str, &'b str)> {
    let find = |method: &str| calls.clone().find(|call| call.sent.method == method);
    let (status, encrypt) = (find("Status")?, find("Encrypt")?);
    Some((encrypt.seq(), key_id(status)?, key_id(encrypt)?))
}

fn key_id<'a>(call: &Call<'a>) -> Option<&'a str> {
    match &call.answer()?.body {
        Body::Status { key_id, .. } | Body::Encrypt { key_id, .. } => Some(&key_id.text),
        _ => None,
    }
}

fn socket(check: &Check, history: &History) -> Vec<CheckResult> {
    const OTHERS_READ_WRITE: u32 = 0o006;
    const OTHERS_WRITE: u32 = 0o002;
    let mut closed = Tally::new(
        check,
        history,
        "KMS2-SEC-02",
        "no permission for others on the socket",
    );
    let mut guarded = Tally::new(check, history, "KMS2-CONN-15", "others cannot write it");
    let mut seen = String::new();
    for event in history.stimulus(SOCKET) {
        let What::Socket(SocketFacts {
            mode,
            path_open_to_others,
            ..
        }) = event.what
        else {
            continue;
        };
        let way = if path_open_to_others {
            "an open"
        } else {
            "a closed"
        };
        seen = format!("mode {mode:04o} behind {way} path");
        let open = mode & OTHERS_READ_WRITE != 0;
        closed.holds(event.seq, !(open && path_open_to_others), || seen.clone());
        closed.should(event.seq, !open, || seen.clone());
        guarded.should(event.seq, mode & OTHERS_WRITE == 0, || seen.clone());
    }
    vec![
        closed.finish(
            seen.clone(),
            "whoever can connect can have every seed decrypted",
        ),
        guarded.finish(seen, "the API server does nothing to protect the socket"),
    ]
}

fn searches(history: &History) -> impl Iterator<Item = (u64, &LogSearch)> {
    history
        .stimulus(LOGS)
        .filter_map(|event| match &event.what {
            What::Log(search) => Some((event.seq, search)),
            _ => None,
        })
}

fn uids(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut some = Tally::new(check, history, "KMS2-LOG-04", "the log names uids");
    let mut failed = Tally::new(
        check,
        history,
        "KMS2-OBS-01",
        "the uid of each failed call is in the log",
    );
    for (seq, search) in searches(history) {
        let found = |n: &&Needle| n.kind.ends_with("uid") && !n.forms.is_empty();
        some.should(seq, search.needles.iter().any(|n| found(&n)), || {
            "not one uid found".into()
        });
        let refused = |n: &&Needle| {
            let call = history.call(n.call);
            n.kind == "failed-uid"
                && matches!(call.and_then(|c| c.outcome()), Some(Outcome::Error { .. }))
        };
        for needle in search.needles.iter().filter(refused) {
            failed.holds(needle.call, !needle.forms.is_empty(), || {
                "the uid of a failed call is not in the log".into()
            });
        }
    }
    let why = "the uid is the only thing that a call has in common with the API server's log";
    vec![some.finish("found", why), failed.finish("all found", why)]
}

fn errors_without_plaintext(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(check, history, "KMS2-SEC-01", "not in any error text");
    for call in history
        .calls()
        .filter(|call| call.sent.of.is_some() || call.sent.method == "Encrypt")
    {
        if let Some(answered) = call
            .answered
            .filter(|a| matches!(a.outcome, Outcome::Error { .. }))
        {
            let leaks = answered.leaks.iter().any(|leak| leak.place == "error");
            tally.holds(call.seq(), !leaks, || {
                format!("the error text of {} holds its plaintext", call.sent.method)
            });
        }
    }
    let seen = format!("{} errors looked at", tally.count());
    vec![tally.finish(
        seen,
        "error texts end in the API server's log and in its answers",
    )]
}

fn log_without_plaintext(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-SEC-01",
        "no planted plaintext, be it raw, hex, base64, escaped or a list of numbers",
    );
    let mut bytes = 0;
    for (_, search) in searches(history) {
        bytes += search.searched_bytes;
        for needle in search.needles.iter().filter(|n| n.kind == "plaintext") {
            tally.holds(needle.call, needle.forms.is_empty(), || {
                format!(
                    "a plaintext stands in the log as {}",
                    needle.forms.join(", ")
                )
            });
        }
    }
    vec![tally.finish(
        format!("none found in {bytes} bytes of log"),
        "a seed in a log opens every object that was written with it",
    )]
}

fn nothing_shown(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-SEC-01",
        "not one of them, be it raw, hex, base64, escaped or a list of numbers",
    );
    let mut seen = Vec::new();
    for place in ["log", "metrics", "arguments"] {
        let number = |what: &str| {
            let name = format!("{what}:{place}");
            measures(history, SECRETS, &name).last()
        };
        let Some((_, bytes)) = number("searched").filter(|(_, bytes)| *bytes > 0) else {
            continue;
        };
        seen.push(format!("{bytes} bytes of {place}"));
        for what in ["credentials", "plaintexts"] {
            let Some((seq, found)) = number(what) else {
                continue;
            };
            let told = || format!("{found} {what} in the {place}");
            match (place, what) {
                // It may have been started like that by whoever runs it.
                ("arguments", "credentials") => tally.should(seq, found == 0, told),
                _ => tally.holds(seq, found == 0, told),
            }
        }
    }
    vec![tally.finish(
        format!("none found in {}", seen.join(", ")),
        "logs and metrics are read by many, argument lists by every user of the machine; core files are not looked at",
    )]
}
