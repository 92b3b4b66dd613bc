//! Judges of Encrypt answers.

use std::collections::BTreeMap;

use kms_history::{Annotation, Answer, Blob, Body, Call, History, Outcome, Request, Text};

use crate::status::judge_key_id_size;
use crate::stimuli::{
    AGREEMENT, BYSTANDERS, CONTACT, ENCRYPT, EQUAL, RESTART, ROTATION, ROUND_TRIPS, UIDS,
};
use crate::tally::{Tally, code_name, describe, ending, millis, p99};
use crate::{Check, CheckResult};

const MAX_CIPHERTEXT: u64 = 1024;
const MAX_ANNOTATIONS: u64 = 32 * 1024;
/// What a judge calls a small cost, in bytes for each stored object (KMS2-ENC-14).
const SMALL_ANNOTATIONS: u64 = 1024;
/// The documented limit for Encrypt (KMS2-ENC-13).
const LATENCY_NS: u64 = 100_000_000;
/// What the API server always sends (KMS2-ENC-02).
pub(crate) const SEED_BYTES: u64 = 32;

/// Every stimulus that wraps seeds as the API server does.
const WHERE: &[&str] = &[
    CONTACT,
    AGREEMENT,
    ENCRYPT,
    ROUND_TRIPS,
    EQUAL,
    UIDS,
    BYSTANDERS,
    ROTATION,
    RESTART,
];

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "ciphertext-size",
        requirements: &["KMS2-ENC-05"],
        title: "A wrapped seed has 1 to 1024 bytes",
        stimuli: WHERE,
        judge: ciphertext_size,
    },
    Check {
        id: "encrypt-key-id-size",
        requirements: &["KMS2-ENC-06"],
        title: "Encrypt's key_id has 1 to 1024 bytes",
        stimuli: WHERE,
        judge: key_id_size,
    },
    Check {
        id: "annotation-keys-are-domain-names",
        requirements: &["KMS2-ENC-07"],
        title: "Annotation keys are fully qualified domain names",
        stimuli: WHERE,
        judge: annotation_keys,
    },
    Check {
        id: "annotation-size",
        requirements: &["KMS2-ENC-08"],
        title: "Annotations have at most 32768 bytes in all",
        stimuli: WHERE,
        judge: annotation_size,
    },
    Check {
        id: "annotation-cost",
        requirements: &["KMS2-ENC-14"],
        title: "Annotations are small, since every stored object carries them",
        stimuli: WHERE,
        judge: annotation_cost,
    },
    Check {
        id: "answers-are-distinct",
        requirements: &["KMS2-ENC-10"],
        title: "Distinct seeds give distinct ciphertext, key_id and annotations",
        stimuli: WHERE,
        judge: distinct,
    },
    Check {
        id: "plaintext-is-hidden",
        requirements: &["KMS2-ENC-12"],
        title: "No answer of Encrypt holds the seed in the open",
        stimuli: WHERE,
        judge: hidden,
    },
    Check {
        id: "encrypt-latency",
        requirements: &["KMS2-ENC-13"],
        title: "Encrypt takes less than 100 ms",
        stimuli: &[ENCRYPT],
        judge: latency,
    },
    Check {
        id: "uid-forms",
        requirements: &["KMS2-ENC-04"],
        title: "A usual uid works, an empty one works or is an invalid argument",
        stimuli: &[UIDS],
        judge: uid_forms,
    },
    Check {
        id: "equal-seeds-differ",
        requirements: &["KMS2-RT-03"],
        title: "Equal seeds give different ciphertexts",
        stimuli: &[EQUAL],
        judge: equal_seeds,
    },
];

/// A successful Encrypt of 32 bytes.
struct Wrapped<'a> {
    call: Call<'a>,
    plaintext: &'a Blob,
    ciphertext: &'a Blob,
    key_id: &'a Text,
    annotations: &'a [Annotation],
}

fn wrapped(history: &History) -> impl Iterator<Item = Wrapped<'_>> {
    history.calls().filter_map(|call| {
        let Request::Encrypt { plaintext } = &call.sent.request else {
            return None;
        };
        let Body::Encrypt {
            ciphertext,
            key_id,
            annotations,
        } = &call.answer()?.body
        else {
            return None;
        };
        (plaintext.len == SEED_BYTES).then_some(Wrapped {
            call,
            plaintext,
            ciphertext,
            key_id,
            annotations,
        })
    })
}

fn ciphertext_size(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(check, history, "KMS2-ENC-05", "1 to 1024 bytes");
    let (mut shortest, mut longest) = (u64::MAX, 0);
    for Wrapped {
        call, ciphertext, ..
    } in wrapped(history)
    {
        let len = ciphertext.len;
        tally.holds(call.seq(), (1..=MAX_CIPHERTEXT).contains(&len), || {
            format!("{len} bytes")
        });
        if len == MAX_CIPHERTEXT {
            tally.should(call.seq(), false, || {
                "exactly 1024 bytes: accepted by the server, too long by the proto's comment".into()
            });
        }
        (shortest, longest) = (shortest.min(len), longest.max(len));
    }
    vec![tally.finish(
        format!("{shortest} to {longest} bytes"),
        "outside that the server throws the answer away and writes go on with the old seed until it expires",
    )]
}

fn key_id_size(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(check, history, "KMS2-ENC-06", "1 to 1024 bytes");
    for answer in wrapped(history) {
        judge_key_id_size(&mut tally, answer.call.seq(), answer.key_id);
    }
    vec![tally.finish(
        "within the limits",
        "outside that the server throws the answer away",
    )]
}

fn annotation_keys(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-ENC-07",
        "at least two labels of a-z 0-9 -, each 1 to 63 bytes, 253 in all",
    );
    let mut keys: Vec<&str> = Vec::new();
    for answer in wrapped(history) {
        // Having none is allowed; that every answer was looked at is the assertion.
        tally.holds(answer.call.seq(), true, String::new);
        for Annotation { key, .. } in answer.annotations {
            let whole = key.sha256.is_none();
            tally.holds(
                answer.call.seq(),
                whole && is_domain_name(&key.text),
                || {
                    format!(
                        "annotation key {:?}",
                        key.text.chars().take(80).collect::<String>()
                    )
                },
            );
            if !keys.contains(&key.text.as_str()) && keys.len() < 8 {
                keys.push(&key.text);
            }
        }
    }
    vec![tally.finish(
        if keys.is_empty() {
            "no annotations".into()
        } else {
            keys.join(", ")
        },
        "the server refuses the whole answer for one bad key",
    )]
}

/// The API machinery's rule for fully qualified domain names.
pub(crate) fn is_domain_name(key: &str) -> bool {
    let name = key.strip_suffix('.').unwrap_or(key);
    let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let label = |l: &str| {
        let bytes = l.as_bytes();
        (1..=63).contains(&bytes.len())
            && bytes.iter().all(|b| edge(*b) || *b == b'-')
            && edge(bytes[0])
            && edge(bytes[bytes.len() - 1])
    };
    name.len() <= 253 && name.contains('.') && name.split('.').all(label)
}

fn total(annotations: &[Annotation]) -> u64 {
    annotations.iter().map(|a| a.key.len + a.value.len).sum()
}

fn annotation_size(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-ENC-08",
        "keys and values of at most 32768 bytes",
    );
    let mut most = 0;
    for answer in wrapped(history) {
        let bytes = total(answer.annotations);
        tally.holds(answer.call.seq(), bytes <= MAX_ANNOTATIONS, || {
            format!("{bytes} bytes")
        });
        most = most.max(bytes);
    }
    vec![tally.finish(
        format!("at most {most} bytes"),
        "the server refuses the whole answer",
    )]
}

fn annotation_cost(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(check, history, "KMS2-ENC-14", "at most 1024 bytes");
    let mut most = 0;
    for answer in wrapped(history) {
        let bytes = total(answer.annotations);
        tally.should(answer.call.seq(), bytes <= SMALL_ANNOTATIONS, || {
            format!("{bytes} bytes")
        });
        most = most.max(bytes);
    }
    vec![tally.finish(
        format!("{most} bytes in each stored object"),
        "annotations are copied into every object in etcd",
    )]
}

fn distinct(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-ENC-10",
        "no two seeds with the same ciphertext, key_id and annotations",
    );
    let mut seen = BTreeMap::new();
    for Wrapped {
        call,
        plaintext,
        ciphertext,
        key_id,
        annotations,
    } in wrapped(history)
    {
        let triple = (ciphertext.sha256, key_id, annotations);
        match seen.get(&triple) {
            None => {
                if !seen.is_empty() {
                    tally.holds(call.seq(), true, String::new);
                }
                seen.insert(triple, plaintext.sha256);
            }
            Some(other) => tally.holds(call.seq(), *other == plaintext.sha256, || {
                "two seeds have the same ciphertext, key_id and annotations".into()
            }),
        }
    }
    vec![tally.finish(
        format!("{} distinct answers", seen.len()),
        "the three together are the server's cache key: it would open one object with the other's seed",
    )]
}

fn hidden(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-ENC-12",
        "not in ciphertext, key_id or annotations, be it raw, hex, base64 or a list of numbers",
    );
    for Wrapped { call, .. } in wrapped(history) {
        let leaks = call.answered.map_or(&[][..], |a| &a.leaks);
        tally.holds(call.seq(), leaks.is_empty(), || {
            let leak = &leaks[0];
            format!("{} holds the plaintext as {}", leak.place, leak.form)
        });
    }
    vec![tally.finish(
        "not found in any answer",
        "the server stores the answer beside the data in etcd and never compares it with the seed",
    )]
}

fn latency(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(check, history, "KMS2-ENC-13", "p99 below 100 ms");
    let mut seen = String::new();
    let calls: Vec<_> = history
        .calls_of(ENCRYPT)
        .filter(|c| c.answer().is_some())
        .collect();
    let samples = calls
        .iter()
        .filter_map(|c| c.answered.map(|a| a.elapsed_ns))
        .collect();
    if let (Some(p99), Some(first)) = (p99(samples), calls.first()) {
        seen = format!("p99 {} over {} calls", millis(p99), calls.len());
        tally.should(first.seq(), p99 < LATENCY_NS, || seen.clone());
    }
    vec![tally.finish(
        seen,
        "the documented limit; the server waits for it when a key rotates",
    )]
}

fn uid_forms(check: &Check, history: &History) -> Vec<CheckResult> {
    const INVALID_ARGUMENT: u32 = 3;
    let mut tally = Tally::new(
        check,
        history,
        "KMS2-ENC-04",
        "success for a UUID of version 4; success or INVALID_ARGUMENT for an empty uid",
    );
    let mut notes = Vec::new();
    for call in history
        .calls_of(UIDS)
        .filter(|c| c.sent.method == "Encrypt")
    {
        let Some(outcome) = call.outcome() else {
            continue;
        };
        match call.sent.case.as_ref() {
            "" => tally.succeeds(&call),
            "empty" => {
                let answered = match outcome {
                    Outcome::Ok(Answer { .. }) => true,
                    Outcome::Error { code, .. } => *code == INVALID_ARGUMENT,
                    _ => false,
                };
                tally.should(call.seq(), answered, || describe(&call));
                notes.push(format!("empty: {}", ending(outcome)));
            }
            case => {
                let word = match outcome {
                    Outcome::Ok(_) => "success".into(),
                    Outcome::Error { code, .. } => code_name(*code),
                    other => ending(other),
                };
                notes.push(format!("{case}: {word}"));
            }
        }
    }
    vec![tally.finish(
        notes.join(", "),
        "the server always sends a UUID; forms other than that and the empty one are only reported",
    )]
}

fn equal_seeds(check: &Check, history: &History) -> Vec<CheckResult> {
    let mut tally = Tally::new(check, history, "KMS2-RT-03", "different ciphertexts");
    let mut seen: Vec<(&Blob, &Blob)> = Vec::new();
    for call in history.calls_of(EQUAL) {
        let (
            Request::Encrypt { plaintext },
            Some(Answer {
                body: Body::Encrypt { ciphertext, .. },
                ..
            }),
        ) = (&call.sent.request, call.answer())
        else {
            continue;
        };
        if seen.iter().any(|(p, _)| p.same(plaintext)) {
            let repeated = seen
                .iter()
                .any(|(p, c)| p.same(plaintext) && c.same(ciphertext));
            tally.should(call.seq(), !repeated, || {
                "the same ciphertext for the same seed".into()
            });
        }
        seen.push((plaintext, ciphertext));
    }
    vec![tally.finish(
        format!("{} ciphertexts of equal seeds, all different", seen.len()),
        "equal ciphertexts tell a reader of etcd which seeds are equal; nothing breaks",
    )]
}

#[cfg(test)]
mod tests {
    use super::is_domain_name;

    #[test]
    fn the_servers_table_of_annotation_keys_is_followed() {
        let long = format!(
            "{}.{}.{}.{}",
            "a".repeat(63),
            "b".repeat(63),
            "c".repeat(63),
            "d".repeat(61)
        );
        assert_eq!(long.len(), 253);
        for good in [
            "a.b",
            "10.0.0.1",
            "a.com.",
            "a-b.c9",
            &long,
            &format!("{long}."),
        ] {
            assert!(is_domain_name(good), "{good}");
        }
        let too_long = format!("{long}x");
        let label = format!("{}.b", "a".repeat(64));
        for bad in [
            "", "a", ".", "a.", ".a.b", "a..b", "a.b..", "A.b", "a_b.c", "a/b.c", "*.a.b", "a@b.c",
            "-a.b", "a-.b", "a b.c", &too_long, &label,
        ] {
            assert!(!is_domain_name(bad), "{bad}");
        }
    }
}
