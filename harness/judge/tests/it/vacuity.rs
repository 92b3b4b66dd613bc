//! Nothing seen is never a pass, whatever part of a run is there.

use kms_history::{
    Answer, Answered, Blob, Body, Digest, Event, Header, History, Outcome, Request, Sent, Text,
    What,
};
use kms_judge::{CheckStatus, checks, judge, stimuli};
use proptest::prelude::*;

fn header() -> Header {
    Header::new(1, "core", 10, 3_000_000_000)
}

fn event(seq: u64, stimulus: &'static str, what: What) -> Event {
    Event {
        seq,
        at_ns: seq * 1000,
        stimulus: stimulus.into(),
        caller: 0,
        what,
    }
}

fn status_sent() -> What {
    What::Sent(Sent {
        method: "Status".into(),
        case: "".into(),
        uid: String::new(),
        request: Request::Status,
        of: None,
        deadline_ns: None,
        conn: None,
    })
}

/// A call of each kind, as an unlucky stimulus would leave it.
fn unlucky(stimulus: &str) -> Vec<Request> {
    let blob = || Blob {
        len: 32,
        sha256: Digest([7; 32]),
        payload: None,
    };
    let decrypt = Request::Decrypt {
        ciphertext: blob(),
        key_id: text("k"),
        annotations: Vec::new(),
    };
    match stimulus {
        stimuli::SOCKET | stimuli::LOGS => Vec::new(),
        _ => vec![
            Request::Status,
            Request::Encrypt { plaintext: blob() },
            decrypt,
        ],
    }
}

fn text(text: &str) -> Text {
    Text {
        text: text.into(),
        len: text.len() as u64,
        sha256: None,
    }
}

#[test]
fn an_empty_history_passes_and_fails_nothing() {
    let results = judge(&History::new(header(), Vec::new()).unwrap());
    let expected: usize = checks().iter().map(|check| check.requirements.len()).sum();
    assert_eq!(results.len(), expected);
    for result in results {
        assert_eq!(result.status, CheckStatus::NotRun, "{result:?}");
        assert_eq!(result.assertions, 0);
        assert!(
            result.explanation.starts_with("no-stimulus: "),
            "{result:?}"
        );
    }
}

#[test]
fn each_check_gives_one_result_for_each_of_its_requirements_in_order() {
    let history = History::new(header(), Vec::new()).unwrap();
    for check in checks() {
        let ids: Vec<_> = (check.judge)(check, &history)
            .into_iter()
            .map(|r| r.requirement)
            .collect();
        assert_eq!(ids, check.requirements, "{}", check.id);
    }
}

#[test]
fn a_stimulus_that_did_not_run_gives_its_reason() {
    let not_run = What::NotRun("no-hook: not told how to restart it".into());
    let history = History::new(header(), vec![event(0, stimuli::RESTART, not_run)]).unwrap();
    let results = judge(&history);
    let restart = results
        .iter()
        .find(|r| r.requirement == "KMS2-RT-02")
        .unwrap();
    assert_eq!(restart.status, CheckStatus::NotRun);
    assert_eq!(restart.explanation, "no-hook: not told how to restart it");
}

/// Calls that never reached the subject are no evidence against it.
#[test]
fn an_unreachable_subject_is_inconclusive() {
    let names: std::collections::BTreeSet<&'static str> = checks()
        .iter()
        .flat_map(|check| check.stimuli)
        .copied()
        .collect();
    let mut events = Vec::new();
    for stimulus in names {
        for request in unlucky(stimulus) {
            for case in [
                "",
                stimuli::AFTERWARDS,
                "key-id:other",
                "annotation:added",
                "earlier-key",
            ] {
                let call = events.len() as u64;
                let mut sent = status_sent();
                if let What::Sent(sent) = &mut sent {
                    sent.request = request.clone();
                    sent.case = case.into();
                    sent.method = match request {
                        Request::Encrypt { .. } => "Encrypt".into(),
                        Request::Decrypt { .. } => "Decrypt".into(),
                        _ => "Status".into(),
                    };
                }
                events.push(event(call, stimulus, sent));
                let outcome = Outcome::NotConnected {
                    reason: "connection refused".into(),
                };
                let answered = Answered {
                    call,
                    elapsed_ns: 1,
                    outcome,
                    leaks: Vec::new(),
                };
                events.push(event(call + 1, stimulus, What::Answered(answered)));
            }
        }
    }
    for result in judge(&History::new(header(), events).unwrap()) {
        let harmless = matches!(
            result.status,
            CheckStatus::Inconclusive | CheckStatus::NotRun
        );
        assert!(harmless, "{result:?}");
    }
}

proptest! {
    /// A pass has assertions; a verdict without any is none.
    #[test]
    fn no_verdict_without_assertions(
        answers in prop::collection::vec((0usize..4, "v2|v2beta1|v3", "ok|OK|", "[a-c]{0,2}"), 0..12)
    ) {
        let names = [stimuli::CONTACT, stimuli::STATUS, stimuli::AGREEMENT, stimuli::BYSTANDERS];
        let mut events = Vec::new();
        for (stimulus, version, healthz, key_id) in answers {
            let call = events.len() as u64;
            events.push(event(call, names[stimulus], status_sent()));
            let body = Body::Status {
                version: text(&version),
                healthz: text(&healthz),
                key_id: text(&key_id),
            };
            let answer = Answer { fields: vec![(1, 2)], bad_utf8: Vec::new(), body };
            let outcome = Outcome::Ok(answer);
            let answered = Answered { call, elapsed_ns: 5, outcome, leaks: Vec::new() };
            events.push(event(call + 1, names[stimulus], What::Answered(answered)));
        }
        let history = History::new(header(), events).unwrap();
        let results = judge(&history);
        for result in &results {
            let verdict = matches!(
                result.status,
                CheckStatus::Pass | CheckStatus::Fail | CheckStatus::Warn
            );
            prop_assert_eq!(verdict, result.assertions > 0, "{:?}", result);
            prop_assert!(result.evidence.iter().all(|seq| (*seq as usize) < history.events().len()));
        }
        prop_assert_eq!(results, judge(&history));
    }
}
