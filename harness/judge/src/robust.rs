//! Judges of how the subject bears what goes wrong around it.

use kms_history::{Body, Call, History, Outcome};

use crate::stimuli::{
    AFTERWARDS, BINDING, BYSTANDERS, CANCELLED, CONTACT, DAMAGE, DEADLINES, LENGTHS, MALFORMED,
    OVERSIZED, STATUS, UIDS,
};
use crate::tally::{Tally, describe, millis, works};
use crate::{Check, CheckResult};

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "bad-objects-stay-alone",
        requirements: &["KMS2-AVAIL-08"],
        title: "Undecryptable objects change neither Status nor other calls",
        stimuli: &[BYSTANDERS],
        judge: bystanders,
    },
    Check {
        id: "survives-bad-requests",
        requirements: &["KMS2-SEC-04"],
        title: "After damaged, foreign, oversized and malformed requests an ordinary call works",
        stimuli: &[DAMAGE, BINDING, UIDS, LENGTHS, OVERSIZED, MALFORMED],
        judge: survives,
    },
    Check {
        id: "bad-requests-refused",
        requirements: &["KMS2-SEC-04"],
        title: "Oversized and malformed requests end in an error",
        stimuli: &[OVERSIZED, MALFORMED],
        judge: refused,
    },
    Check {
        id: "deadlines-kept",
        requirements: &["KMS2-AVAIL-03"],
        title: "A call ends inside the time that its caller gave it",
        stimuli: &[DEADLINES],
        judge: deadlines,
    },
    Check {
        id: "cancelled-calls-do-no-harm",
        requirements: &["KMS2-AVAIL-03"],
        title: "Calls given up half-way leave the connection and other calls alone",
        stimuli: &[CANCELLED],
        judge: cancelled,
    },
];

/// What a plugin may be late by: the way of the answer, and a busy machine.
pub(crate) const SLACK_NS: u64 = 250_000_000;

fn refused(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-SEC-04",
        "a gRPC error, an HTTP error, a reset or a closed connection",
    );
    let calls = history
        .calls_of(OVERSIZED)
        .chain(history.calls_of(MALFORMED));
    for call in calls.filter(|call| call.sent.case != AFTERWARDS && !call.sent.case.is_empty()) {
        let ended_well = match call.outcome() {
            None | Some(Outcome::NotConnected { .. }) => continue,
            Some(Outcome::TimedOut | Outcome::Unreadable { .. }) => false,
            Some(Outcome::Ok(_)) => match call.sent.case.as_ref() {
                // Allowed to be ignored, or to be within the subject's own limits.
                "garbled-timeout" | "huge-metadata" | "plaintext of 5 MiB" => true,
                "content-type-json" => {
                    tally.should(call.seq(), false, || describe(&call));
                    continue;
                }
                _ => false,
            },
            Some(_) => true,
        };
        tally.holds(call.seq(), ended_well, || describe(&call));
    }
    let count = tally.count();
    vec![tally.finish(
        format!("{count} requests, none accepted, none left hanging"),
        "what is no request must not be answered as if it were one",
    )]
}

fn deadlines(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-AVAIL-03",
        "ended by the subject within the deadline and 250 ms",
    );
    let mut slowest = 0;
    for call in history.calls_of(DEADLINES) {
        if call.sent.case == AFTERWARDS {
            tally.still_succeeds(&call);
            continue;
        }
        let Some(answered) = call.answered.filter(|a| arrived(&a.outcome)) else {
            continue;
        };
        // Without a deadline here the call had next to no time: ending at all is enough.
        let limit = call.sent.deadline_ns.map_or(u64::MAX, |ns| ns + SLACK_NS);
        let ended = !matches!(answered.outcome, Outcome::TimedOut);
        tally.holds(call.seq(), ended && answered.elapsed_ns <= limit, || {
            format!("{} after {}", describe(&call), millis(answered.elapsed_ns))
        });
        slowest = slowest.max(answered.elapsed_ns);
    }
    vec![tally.finish(
        format!("the slowest after {}", millis(slowest)),
        "the caller has given up by then",
    )]
}

fn cancelled(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-AVAIL-03",
        "ordinary calls succeed afterwards",
    );
    for call in history
        .calls_of(CANCELLED)
        .filter(|call| call.sent.case == AFTERWARDS)
    {
        tally.still_succeeds(&call);
    }
    vec![tally.finish(
        "no harm seen",
        "Decrypt is cancelled whenever an API client goes away",
    )]
}

fn survives(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-SEC-04",
        "ordinary calls succeed afterwards, on a connection that can still be made",
    );
    for call in check.stimuli.iter().flat_map(|name| history.calls_of(name)) {
        let Some(outcome) = call.outcome() else {
            continue;
        };
        if call.sent.case == AFTERWARDS {
            if !works(history, &call.sent.method) {
                continue;
            }
            let ok = matches!(outcome, Outcome::Ok(_));
            tally.holds(call.seq(), ok, || {
                format!("after {}: {}", call.event.stimulus, describe(&call))
            });
        } else if let Outcome::Closed { .. } = outcome
            && call.sent.conn.is_none()
        {
            // A message of the API, however wrong its content, is no reason to drop the connection.
            tally.holds(call.seq(), false, || describe(&call));
        }
    }
    vec![tally.finish(
        "it went on serving",
        "one request must not take the plugin, and with it every secret of the cluster, away",
    )]
}

fn bystanders(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-AVAIL-08",
        "Status stays ok with the same key_id, ordinary calls succeed",
    );
    let (baseline, rest): (Vec<_>, Vec<_>) = history
        .calls_of(BYSTANDERS)
        .partition(|call| call.sent.case == "baseline");
    // Earlier stimuli have presented bad objects too, so health is compared with the run's start.
    let start = history.calls_of(CONTACT).chain(history.calls_of(STATUS));
    let healthz = constant(
        start
            .filter_map(|call| status(&call))
            .map(|(healthz, _)| healthz),
    );
    let key_id = constant(baseline.iter().filter_map(status).map(|(_, key_id)| key_id));
    for call in rest.iter().filter(|call| call.sent.case == AFTERWARDS) {
        if call.sent.method != "Status" {
            tally.still_succeeds(call);
            continue;
        }
        // Where Status was not steady before, nothing can be said of what changed it.
        let Some(healthz) = healthz else { continue };
        tally.succeeds(call);
        if let Some((now, id)) = status(call) {
            tally.holds(call.seq(), now == healthz, || {
                format!("healthz {healthz:?}, then {now:?}")
            });
            let same = key_id.is_none_or(|before| before == id);
            tally.holds(call.seq(), same, || format!("another key_id: {id:?}"));
        }
    }
    vec![tally.finish(
        "nobody else noticed",
        "one damaged object in etcd must not take encryption away from a whole cluster",
    )]
}

/// healthz and key_id of a Status answer.
fn status<'a>(call: &Call<'a>) -> Option<(&'a str, &'a str)> {
    match &call.answer()?.body {
        Body::Status {
            healthz, key_id, ..
        } => Some((&healthz.text, &key_id.text)),
        _ => None,
    }
}

/// The value that all of them have, if they agree.
fn constant<'a>(mut values: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}

/// Whether the subject has seen the call.
fn arrived(outcome: &Outcome) -> bool {
    !matches!(outcome, Outcome::NotConnected { .. })
}
