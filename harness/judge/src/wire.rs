//! Judges of the API on the wire.

use kms_history::{Answer, Body, Call, FrameDetail, History, Outcome, Request, What};

use crate::stimuli::{AUTHORITIES, CONTACT, GRPC_GO, PINGS, WIRE};
use crate::tally::{Tally, describe, ending, works};
use crate::{Check, CheckResult};

const UNIMPLEMENTED: u32 = 12;
/// Wire type of bytes, strings and messages.
const LEN: u8 = 2;

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "methods-and-paths",
        requirements: &["KMS2-WIRE-01"],
        title: "The three methods exist under v2.KeyManagementService, others do not",
        stimuli: &[CONTACT, WIRE],
        judge: paths,
    },
    Check {
        id: "requests-by-field-number",
        requirements: &["KMS2-WIRE-02", "KMS2-WIRE-04", "KMS2-WIRE-06"],
        title: "Requests are read by field number, in any order, unknown fields ignored",
        stimuli: &[WIRE],
        judge: requests,
    },
    Check {
        id: "answers-by-field-number",
        requirements: &["KMS2-WIRE-03", "KMS2-WIRE-05", "KMS2-WIRE-07"],
        title: "Answers have the API's field numbers and types",
        stimuli: &[CONTACT, WIRE, GRPC_GO],
        judge: answers,
    },
    Check {
        id: "texts-are-utf8",
        requirements: &["KMS2-WIRE-08"],
        title: "key_id and annotation keys are UTF-8",
        stimuli: &[CONTACT, WIRE, GRPC_GO],
        judge: utf8,
    },
    Check {
        id: "speaks-to-grpc-go",
        requirements: &["KMS2-WIRE-12"],
        title: "Frames exactly as the API server's client sends them are served",
        stimuli: &[GRPC_GO],
        judge: grpc_go,
    },
    Check {
        id: "old-servers-authority",
        requirements: &["KMS2-WIRE-12"],
        title: "`:authority` localhost is served; its older forms where such servers are meant",
        stimuli: &[AUTHORITIES],
        judge: authorities,
    },
    Check {
        id: "pings-are-no-flood",
        requirements: &["KMS2-AVAIL-09"],
        title: "grpc-go's PING and WINDOW_UPDATE after every answer are borne",
        stimuli: &[PINGS],
        judge: pings,
    },
];

fn paths(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-WIRE-01",
        "Status, Encrypt and Decrypt are there; a foreign package or method is UNIMPLEMENTED",
    );
    let code = |call: &Call<'_>| match call.outcome() {
        Some(Outcome::Error { code, .. }) => Some(*code),
        _ => None,
    };
    for call in history.calls_of(CONTACT) {
        if call.answer().is_some() || code(&call).is_some() {
            let there = code(&call) != Some(UNIMPLEMENTED);
            tally.holds(call.seq(), there, || describe(&call));
        }
    }
    for call in history
        .calls_of(WIRE)
        .filter(|call| call.sent.case == "foreign-path")
    {
        if !matches!(call.outcome(), None | Some(Outcome::NotConnected { .. })) {
            let refused = code(&call) == Some(UNIMPLEMENTED);
            tally.holds(call.seq(), refused, || describe(&call));
        }
    }
    vec![tally.finish("as expected", "the server calls exactly these paths")]
}

fn requests(check: &Check, history: &History) -> Vec<CheckResult> {
    let judge = |requirement, method: &str, expected: &str| {
        let mut tally = Tally::new(check, history, requirement, expected);
        for call in history
            .calls_of(WIRE)
            .filter(|call| call.sent.method == method)
        {
            let Some(outcome) = call.outcome() else {
                continue;
            };
            let arrived = !matches!(outcome, Outcome::NotConnected { .. });
            if !works(history, method) {
                continue;
            }
            let right = match (outcome, &call.sent.request) {
                (Outcome::Ok(answer), Request::Decrypt { .. }) => came_back(history, &call, answer),
                (Outcome::Ok(_), _) => true,
                _ => false,
            };
            if arrived {
                tally.holds(call.seq(), right, || match outcome {
                    Outcome::Ok(_) => format!("{}: other bytes came back", call.sent.case),
                    _ => describe(&call),
                });
            }
        }
        tally.finish(
            "every spelling is read",
            "proto3 allows each of these encodings",
        )
    };
    vec![
        judge(
            "KMS2-WIRE-02",
            "Status",
            "an empty body and unknown fields are accepted",
        ),
        judge(
            "KMS2-WIRE-04",
            "Encrypt",
            "plaintext is field 1, uid field 2",
        ),
        judge(
            "KMS2-WIRE-06",
            "Decrypt",
            "ciphertext is field 1, uid 2, key_id 3, annotations 4, and the seed comes back",
        ),
    ]
}

fn came_back(history: &History, call: &Call<'_>, answer: &Answer) -> bool {
    let original = call
        .sent
        .of
        .and_then(|seq| history.call(seq))
        .map(|call| &call.sent.request);
    match (original, &answer.body) {
        (Some(Request::Encrypt { plaintext: sent }), Body::Decrypt { plaintext }) => {
            plaintext.same(sent)
        }
        _ => false,
    }
}

fn answers(check: &Check, history: &History) -> Vec<CheckResult> {
    let judge = |requirement, method: &str, known: u32, needed: &[u32], why| {
        let expected = format!("fields 1 to {known}, length-delimited");
        let mut tally = Tally::new(check, history, requirement, &expected);
        for call in history.calls().filter(|call| call.sent.method == method) {
            let Some(Answer { fields, .. }) = call.answer() else {
                continue;
            };
            let has = |number: u32| fields.iter().any(|(n, _)| *n == number);
            let wrong = fields.iter().find(|(n, wire)| *n <= known && *wire != LEN);
            let unknown = fields.iter().find(|(n, _)| *n > known);
            let missing = needed.iter().find(|n| !has(**n));
            tally.holds(call.seq(), wrong.is_none(), || {
                format!("wrong type: {wrong:?}")
            });
            // An absent field may just be empty, which others judge; beside an unknown number it
            // is a wrong number.
            tally.holds(call.seq(), missing.is_none() || unknown.is_none(), || {
                format!("field {missing:?} is missing, {unknown:?} is there")
            });
            if requirement == "KMS2-WIRE-07" {
                tally.holds(call.seq(), unknown.is_none(), || {
                    format!("field {unknown:?}")
                });
            } else {
                tally.should(call.seq(), unknown.is_none(), || {
                    format!("field {unknown:?}")
                });
            }
        }
        tally.finish("as expected", why)
    };
    let ignored = "the server ignores unknown fields and finds the known ones empty";
    vec![
        judge("KMS2-WIRE-03", "Status", 3, &[1, 2, 3], ignored),
        judge("KMS2-WIRE-05", "Encrypt", 3, &[1, 2], ignored),
        judge(
            "KMS2-WIRE-07",
            "Decrypt",
            1,
            &[1],
            "the answer of Decrypt has one field only",
        ),
    ]
}

fn utf8(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(check, history, "KMS2-WIRE-08", "every text is valid UTF-8");
    for call in history.calls() {
        if let Some(Answer { bad_utf8, .. }) = call.answer() {
            tally.holds(call.seq(), bad_utf8.is_empty(), || {
                format!(
                    "{} of {} is not UTF-8",
                    bad_utf8.join(", "),
                    call.sent.method
                )
            });
        }
    }
    vec![tally.finish(
        "valid in every answer",
        "a Go client refuses the whole message, so the call fails",
    )]
}

fn grpc_go(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-WIRE-12",
        "preface, empty SETTINGS and header fields in grpc-go's order are answered",
    );
    for call in history.calls_of(GRPC_GO) {
        tally.still_succeeds(&call);
    }
    for event in history.stimulus(GRPC_GO) {
        if let What::NotRun(reason) = &event.what {
            tally.holds(event.seq, false, || reason.clone());
        }
    }
    let count = tally.count();
    vec![tally.finish(
        format!("{count} calls on one connection"),
        "the API server has no other client",
    )]
}

fn authorities(check: &Check, history: &History) -> Vec<CheckResult> {
    let version = history.header().server_version;
    let needed: &[&str] = match version {
        Some(27 | 28) => &["localhost", "path"],
        Some(29..=31) => &["localhost", "escaped-path"],
        _ => &["localhost"],
    };
    let expected = format!("served for {}", needed.join(" and "));
    let mut tally = Tally::new(check, history, "KMS2-WIRE-12", &expected);
    let mut notes = Vec::new();
    for call in history.calls_of(AUTHORITIES) {
        let Some(outcome) = call.outcome() else {
            continue;
        };
        let served = matches!(outcome, Outcome::Ok(_));
        let case = call.sent.case.as_ref();
        if needed.contains(&case) && works(history, "Status") {
            tally.holds(call.seq(), served, || describe(&call));
        }
        notes.push(format!(
            "{case}: {}",
            if served {
                "served".into()
            } else {
                ending(outcome)
            }
        ));
    }
    vec![tally.finish(
        notes.join(", "),
        "servers of 1.25 to 1.31 derive it from the socket's path, which strict HTTP/2 stacks refuse (KMS2-CONN-04); later ones send localhost",
    )]
}

fn pings(check: &Check, history: &History) -> Vec<CheckResult> {
    /// On a PING: an acknowledgement.
    const ACK: u8 = 1;
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-AVAIL-09",
        "every call succeeds, every PING is acknowledged, no GOAWAY",
    );
    for call in history.calls_of(PINGS) {
        tally.still_succeeds(&call);
    }
    let (mut sent, mut acknowledged, mut last) = (0u64, 0u64, 0);
    for event in history.stimulus(PINGS) {
        match &event.what {
            What::FrameSent(frame) if frame.kind == "PING" && frame.flags & ACK == 0 => sent += 1,
            What::FrameReceived(frame) if frame.kind == "PING" && frame.flags & ACK != 0 => {
                acknowledged += 1;
            }
            What::FrameReceived(frame) => {
                if let Some(FrameDetail::GoAway(code, debug)) = &frame.detail {
                    tally.holds(event.seq, false, || format!("GOAWAY {code} {debug:?}"));
                }
            }
            _ => {}
        }
        last = event.seq;
    }
    if sent > 0 {
        tally.holds(last, acknowledged == sent, || {
            format!("{acknowledged} of {sent} PINGs acknowledged")
        });
    }
    vec![tally.finish(
        format!("{sent} PINGs on one connection"),
        "grpc-go measures the bandwidth after nearly every answer; an hour's idling is not tried",
    )]
}
