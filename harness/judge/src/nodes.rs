//! Judge of two nodes on one remote key.

use kms_history::{Body, Call, History, Outcome, Request, What};

use crate::stimuli::{NODES, OTHER_NODE};
use crate::tally::{Tally, describe, works};
use crate::{Check, CheckResult};

pub(crate) const CHECKS: &[Check] = &[Check {
    id: "nodes-agree",
    requirements: &["KMS2-ROT-02"],
    title: "Two nodes report one key_id, and each decrypts what the other wrote",
    stimuli: &[NODES],
    judge: agree,
}];

fn agree(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-ROT-02",
        "equal key_ids, also once both have seen a rotation; each opens what the other wrote, at once",
    );
    let calls: Vec<_> = history.calls_of(NODES).collect();
    // Each Status of the other node comes right after one of the first.
    let statuses = calls.iter().filter_map(|call| Some((call, key_id(call)?)));
    let statuses: Vec<_> = statuses.collect();
    for pair in statuses.windows(2) {
        let [(first, here), (second, there)] = pair else {
            continue;
        };
        if !is_elsewhere(first) && second.sent.case == OTHER_NODE {
            tally.holds(second.seq(), here == there, || {
                format!("one reports {here:?}, the other {there:?}")
            });
        }
    }
    for call in calls.iter().filter(|call| call.sent.method == "Decrypt") {
        let original = call.sent.of.and_then(|seq| history.call(seq));
        if let Some(outcome) = call.outcome()
            && !matches!(outcome, Outcome::NotConnected { .. })
            && works(history, "Decrypt")
            && let Some(Request::Encrypt { plaintext }) = original.map(|call| &call.sent.request)
        {
            let same = matches!(
                call.answer().map(|answer| &answer.body),
                Some(Body::Decrypt { plaintext: given }) if given.same(plaintext)
            );
            tally.holds(call.seq(), same, || {
                format!("what the other node wrote: {}", describe(call))
            });
        }
    }
    let rotated = history.stimulus(NODES).any(|event| {
        matches!(&event.what, What::Hook(step) if step.hook == "rotate" && step.error.is_none())
    });
    let seen = match rotated {
        true => "they agreed, before and after a rotation",
        false => "they agreed; the key was not rotated",
    };
    vec![tally.finish(
        seen,
        "API servers read what others wrote through the plugin of their own node",
    )]
}

fn is_elsewhere(call: &Call<'_>) -> bool {
    !call.sent.case.is_empty()
}

/// The key_id of a Status answer that counts.
fn key_id<'a>(call: &Call<'a>) -> Option<&'a str> {
    match &call.answer()?.body {
        Body::Status { key_id, .. } => Some(&key_id.text),
        _ => None,
    }
}
