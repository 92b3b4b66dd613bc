//! Judges of Status answers.

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};
use kms_history::{Answer, Body, Call, History, Outcome, Text, What};

use crate::stimuli::{
    AGREEMENT, BESIDE, CONTACT, LATE_BACKEND, NODES, RESTART, ROTATION, STATUS, WAITING,
};
use crate::tally::{Tally, describe, millis, p99};
use crate::{Check, CheckResult};

/// The API server's limit for key_id, in bytes (KMS2-STATUS-04).
pub(crate) const MAX_KEY_ID: u64 = 1024;

const WHERE: &[&str] = &[CONTACT, STATUS, AGREEMENT, ROTATION, RESTART];

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "status-version-accepted",
        requirements: &["KMS2-STATUS-01"],
        title: "Status.version is one that the API server accepts",
        stimuli: WHERE,
        judge: version_accepted,
    },
    Check {
        id: "status-version-constant",
        requirements: &["KMS2-STATUS-02"],
        title: "Status.version stays the same",
        stimuli: WHERE,
        judge: version_constant,
    },
    Check {
        id: "status-healthz-ok",
        requirements: &["KMS2-STATUS-03"],
        title: "Status says exactly `ok` while Encrypt works",
        stimuli: WHERE,
        judge: healthz_ok,
    },
    Check {
        id: "status-key-id-size",
        requirements: &["KMS2-STATUS-04"],
        title: "Status.key_id has 1 to 1024 bytes",
        stimuli: WHERE,
        judge: key_id_size,
    },
    Check {
        id: "status-key-id-public",
        requirements: &["KMS2-STATUS-06"],
        title: "key_id looks like nothing that should not be public",
        stimuli: WHERE,
        judge: key_id_public,
    },
    Check {
        id: "status-and-encrypt-agree",
        requirements: &["KMS2-STATUS-07", "KMS2-ENC-06"],
        title: "Status and Encrypt give the same key_id",
        stimuli: &[AGREEMENT, ROTATION],
        judge: agreement,
    },
    Check {
        id: "key-id-stable",
        requirements: &["KMS2-STATUS-08"],
        title: "key_id changes only with a rotation and never comes back",
        stimuli: WHERE,
        judge: stable,
    },
    Check {
        id: "status-cheap",
        requirements: &["KMS2-STATUS-15"],
        title: "Status is fast, also when asked a hundred times at once",
        stimuli: &[STATUS],
        judge: cheap,
    },
];

struct StatusAnswer<'a> {
    seq: u64,
    version: &'a Text,
    key_id: &'a Text,
}

/// Answers of the subject; those of a second node, and of processes with another key, are other
/// judges' business.
fn answers(history: &History) -> impl Iterator<Item = StatusAnswer<'_>> {
    history
        .calls()
        .filter(|call| call.event.stimulus != NODES || call.sent.case.is_empty())
        .filter(|call| !BESIDE.contains(&call.event.stimulus.as_ref()))
        .filter_map(|call| match &call.answer()?.body {
            Body::Status {
                version, key_id, ..
            } => Some(StatusAnswer {
                seq: call.seq(),
                version,
                key_id,
            }),
            _ => None,
        })
}

fn version_accepted(check: &Check, history: &History) -> Vec<CheckResult> {
    let accepted: &[&str] = match history.header().server_version {
        Some(27 | 28) => &["v2beta1"],
        _ => &["v2", "v2beta1"],
    };
    let expected = format!("version is one of {accepted:?}");
    let mut tally = Tally::new(check, history, "KMS2-STATUS-01", &expected);
    let mut seen = "";
    for answer in answers(history) {
        seen = &answer.version.text;
        tally.holds(answer.seq, accepted.contains(&seen), || {
            format!("version {:?}", answer.version.text)
        });
    }
    vec![tally.finish(
        format!("version {seen:?}"),
        "a server that does not know the version holds the provider for unhealthy; 1.27 and 1.28 know only v2beta1",
    )]
}

fn version_constant(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-STATUS-02",
        "the same version in every answer",
    );
    let mut all = answers(history);
    if let Some(first) = all.next() {
        for answer in all {
            tally.holds(answer.seq, answer.version == first.version, || {
                format!(
                    "first {:?}, later {:?}",
                    first.version.text, answer.version.text
                )
            });
        }
    }
    vec![tally.finish(
        "one version throughout",
        "the server pins the first version it sees and holds any other for a fault until it restarts",
    )]
}

fn healthz_ok(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-STATUS-03",
        "healthz is exactly \"ok\", and Status answers, while Encrypt works",
    );
    let encrypts = history.calls().any(|call| {
        matches!(
            call.answer(),
            Some(Answer {
                body: Body::Encrypt { .. },
                ..
            })
        )
    });
    for call in history
        .calls()
        .filter(|call| call.sent.method == "Status" && ordinary(call))
    {
        match call.outcome() {
            Some(Outcome::Ok(Answer {
                body: Body::Status { healthz, .. },
                ..
            })) => {
                tally.holds(call.seq(), healthz.text == "ok", || {
                    format!("healthz {:?}", healthz.text)
                });
            }
            None | Some(Outcome::NotConnected { .. } | Outcome::Cancelled) => {}
            Some(_) if encrypts => tally.holds(call.seq(), false, || describe(&call)),
            Some(_) => {}
        }
    }
    vec![tally.finish(
        "\"ok\" in every answer",
        "any other text is unhealthy: readyz fails, and the text is shown in the health error",
    )]
}

/// A Status call that a healthy plugin must answer: not one that was made to end early.
fn ordinary(call: &Call<'_>) -> bool {
    WHERE.contains(&call.event.stimulus.as_ref()) && call.sent.case != WAITING
}

fn key_id_size(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(check, history, "KMS2-STATUS-04", "1 to 1024 bytes");
    let mut longest = 0;
    for answer in answers(history) {
        judge_key_id_size(&mut tally, answer.seq, answer.key_id);
        longest = longest.max(answer.key_id.len);
    }
    vec![tally.finish(
        format!("at most {longest} bytes"),
        "empty or longer is unhealthy; 1024 is accepted although the proto says less than 1 kB",
    )]
}

pub(crate) fn judge_key_id_size(tally: &mut Tally<'_>, seq: u64, key_id: &Text) {
    let len = key_id.len;
    tally.holds(seq, (1..=MAX_KEY_ID).contains(&len), || {
        format!("{len} bytes")
    });
    if len == MAX_KEY_ID {
        tally.should(seq, false, || {
            "exactly 1024 bytes: accepted by the server, too long by the proto's comment".into()
        });
    }
}

fn key_id_public(check: &Check, history: &History) -> Vec<CheckResult> {
    /// Beginnings and parts that credentials and account names have.
    const SIGNS: [(&str, &str); 8] = [
        ("arn:", "a cloud resource name with an account number"),
        ("hvs.", "a Vault token"),
        ("hvb.", "a Vault token"),
        ("://", "an address"),
        ("-----BEGIN", "a PEM block"),
        ("AKIA", "an access key"),
        ("password", "a password"),
        ("secret", "a secret"),
    ];
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-STATUS-06",
        "no sign of a credential, account or address",
    );
    for answer in answers(history) {
        let read = unpacked(&answer.key_id.text);
        let sign = SIGNS
            .iter()
            .find(|(sign, _)| answer.key_id.text.contains(sign) || read.contains(sign));
        tally.should(answer.seq, sign.is_none(), || {
            let what = sign.map_or("", |(_, what)| what);
            format!("the key_id looks as if it held {what}")
        });
    }
    vec![tally.finish(
        "nothing suspicious",
        "key_id is logged and stored in clear in etcd; a hash tells nobody anything",
    )]
}

/// What stands in base64, which hides nothing; empty where none does.
fn unpacked(text: &str) -> String {
    let engine = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let standard = text.replace('-', "+").replace('_', "/");
    let bytes = engine.decode(standard).unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}

fn agreement(check: &Check, history: &History) -> Vec<CheckResult> {
    let expected = "Encrypt gives the key_id that Status gives before and after it";
    let mut tallies = check
        .requirements
        .iter()
        .map(|r| Tally::new(check, history, r, expected))
        .collect::<Vec<_>>();
    let calls: Vec<_> = history
        .calls_of(AGREEMENT)
        .chain(history.calls_of(ROTATION))
        .collect();
    for window in calls.windows(3) {
        let ids: Vec<&Text> = window.iter().filter_map(key_id).collect();
        let methods: Vec<&str> = window
            .iter()
            .map(|call| call.sent.method.as_ref())
            .collect();
        let [before, used, after] = ids[..] else {
            continue;
        };
        if methods != ["Status", "Encrypt", "Status"] || before != after {
            continue;
        }
        for tally in &mut tallies {
            tally.holds(window[1].seq(), used == before, || {
                format!("Status {:?}, Encrypt {:?}", before.text, used.text)
            });
        }
    }
    let why = "on a mismatch the server throws the answer away and is unhealthy until both agree";
    tallies
        .into_iter()
        .map(|tally| tally.finish("the same key_id in every triple", why))
        .collect()
}

fn key_id<'a>(call: &Call<'a>) -> Option<&'a Text> {
    match &call.answer()?.body {
        Body::Status { key_id, .. } | Body::Encrypt { key_id, .. } => Some(key_id),
        _ => None,
    }
}

fn stable(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-STATUS-08",
        "no change without a rotation, and never an earlier key_id again",
    );
    let rotations = history
        .events()
        .iter()
        .filter(|e| matches!(&e.what, What::Hook(step) if step.hook == "rotate" && step.error.is_none()))
        .count();
    // One more may happen by the operator's own schedule while the suite runs.
    let allowed = rotations + 1;
    let mut values: Vec<&Text> = Vec::new();
    for answer in answers(history) {
        let key_id = answer.key_id;
        if values.last() == Some(&key_id) || values.is_empty() {
            if values.is_empty() {
                values.push(key_id);
            } else {
                tally.holds(answer.seq, true, String::new);
            }
            continue;
        }
        let known = values.contains(&key_id);
        values.push(key_id);
        let changes = values.len() - 1;
        tally.holds(answer.seq, !known && changes <= allowed, || match known {
            true => format!("key_id {:?} came back", key_id.text),
            false => format!("{changes} changes, {rotations} rotations"),
        });
    }
    // Before its backend was there for the first time it may have no key_id, but not another one.
    let mut late: Vec<&Text> = Vec::new();
    for call in history.calls_of(LATE_BACKEND) {
        if let Some(key_id) = key_id(&call).filter(|key_id| key_id.len > 0) {
            late.push(key_id);
            tally.holds(call.seq(), *key_id == *late[0], || {
                let [first, now] = [&late[0].text, &key_id.text];
                format!("{first:?} while the backend was away, {now:?} later")
            });
        }
    }
    vec![tally.finish(
        format!("{} key_id(s) in their order", values.len()),
        "data under a key_id that comes back is not seen as stale, so migration skips it",
    )]
}

fn cheap(check: &Check, history: &History) -> Vec<CheckResult> {
    let limit = history.header().timeout_ns / 30;
    let expected = format!(
        "p99 at most {}, a thirtieth of the call timeout",
        millis(limit)
    );
    let mut tally = Tally::new(check, history, "KMS2-STATUS-15", &expected);
    let mut seen = Vec::new();
    for (case, name) in [("", "one at a time"), ("hammer", "at once")] {
        let calls: Vec<_> = history
            .calls_of(STATUS)
            .filter(|c| c.sent.case == case && arrived(c))
            .collect();
        let samples = calls
            .iter()
            .filter_map(|c| c.answered.map(|a| a.elapsed_ns))
            .collect();
        if let (Some(p99), Some(first)) = (p99(samples), calls.first()) {
            let text = format!("p99 {} {name}", millis(p99));
            tally.should(first.seq(), p99 <= limit, || text.clone());
            seen.push(text);
        }
    }
    vec![tally.finish(
        seen.join(", "),
        "Status is polled for ever and by every health probe, so it must not wait for a remote call",
    )]
}

/// Whether the subject has seen the call and did something about it.
fn arrived(call: &Call<'_>) -> bool {
    !matches!(
        call.outcome(),
        None | Some(Outcome::NotConnected { .. } | Outcome::Closed { .. })
    )
}
