//! Judges of how the subject bears what goes wrong around it.

use kms_history::{Body, Call, History, Outcome};

use crate::stimuli::{
    AFTERWARDS, BINDING, BYSTANDERS, CONTACT, DAMAGE, LENGTHS, MALFORMED, OVERSIZED, STATUS, UIDS,
};
use crate::tally::{Tally, describe};
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
];

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
            tally.succeeds(call);
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
