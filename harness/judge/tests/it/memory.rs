//! Memory over bursts, as real processes showed it.

use kms_history::{
    Answer, Answered, Blob, Body, Digest, Event, Header, History, Measure, Outcome, Request, Sent,
    Text, What,
};
use kms_judge::{CheckStatus, judge, stimuli};

/// KiB before and after each burst of so many Decrypts, of which the ones numbered in `refused` failed.
fn judged(kib: &[u64], calls: u64, refused: &[usize]) -> CheckStatus {
    let mut events = Vec::new();
    let mut push = |what| {
        let seq = events.len() as u64;
        events.push(Event {
            seq,
            at_ns: seq,
            stimulus: stimuli::MEMORY.into(),
            caller: 0,
            what,
        });
        seq
    };
    for (number, kib) in kib.iter().enumerate() {
        for _ in 0..if number == 0 { 0 } else { calls } {
            let call = push(What::Sent(decrypt()));
            let outcome = if refused.contains(&number) {
                Outcome::Error {
                    code: 14,
                    message: text("busy"),
                }
            } else {
                Outcome::Ok(Answer {
                    fields: Vec::new(),
                    bad_utf8: Vec::new(),
                    body: Body::Decrypt { plaintext: blob() },
                })
            };
            push(What::Answered(Answered {
                call,
                elapsed_ns: 1,
                outcome,
                leaks: Vec::new(),
            }));
        }
        push(What::Measured(Measure {
            name: "resident-bytes".into(),
            value: kib * 1024,
        }));
    }
    let header = Header::new(1, "core", 10, 3_000_000_000);
    let history = History::new(header, events).expect("events are in order");
    let result = judge(&history)
        .into_iter()
        .find(|result| result.check_id == "memory-bounded-under-bursts");
    result.expect("the check has a result").status
}

fn text(text: &str) -> Text {
    Text {
        text: text.into(),
        len: text.len() as u64,
        sha256: None,
    }
}

fn blob() -> Blob {
    Blob {
        len: 32,
        sha256: Digest([7; 32]),
        payload: None,
    }
}

fn decrypt() -> Sent {
    Sent {
        method: "Decrypt".into(),
        case: "".into(),
        uid: String::new(),
        request: Request::Decrypt {
            ciphertext: blob(),
            key_id: text("k"),
            annotations: Vec::new(),
        },
        of: None,
        deadline_ns: None,
        conn: None,
    }
}

/// 20 kB of each call are kept, and the allocator takes 2 MiB at a time: every other burst adds nothing.
#[test]
fn a_leak_that_fills_large_steps_is_one() {
    let rows = [
        &[
            57904, 57904, 59952, 59952, 62000, 62000, 64048, 64048, 66096, 66096, 68144,
        ][..],
        &[
            55916, 57964, 57964, 60012, 60012, 62060, 62060, 64108, 64108, 66156, 66156,
        ],
        // As many bursts as older histories have.
        &[55620, 57668, 57668, 59716, 59716, 61764],
        &[57572, 57572, 59620, 59620, 61668, 61668],
        // By the C library's allocator, page by page.
        &[41000, 42000, 43000, 44000, 45000, 46000, 47000],
    ];
    for row in rows {
        assert_eq!(judged(row, 50, &[]), CheckStatus::Fail, "{row:?}");
    }
}

#[test]
fn what_fills_its_memory_once_passes() {
    let rows = [
        // Ours, and a plugin in Go whose collector comes and goes.
        &[9200, 9318, 9421, 9421, 10650, 10854][..],
        &[40000, 47411, 53862, 49050, 52838, 48230],
        // Late steps, with rest between them.
        &[
            30000, 34000, 34000, 38000, 38000, 38000, 38000, 38000, 42000, 42000, 42000,
        ],
        // A long way until it is warm.
        &[
            30000, 34000, 38000, 42000, 46000, 50000, 54000, 58000, 58000, 58000, 58000,
        ],
    ];
    for row in rows {
        assert_eq!(judged(row, 1000, &[]), CheckStatus::Pass, "{row:?}");
    }
}

/// What counts is per Decrypt, and per burst where those are few.
#[test]
fn growth_that_is_less_than_counts_is_none() {
    let by = |kib: u64| (0..7).map(|burst| 30000 + burst * kib).collect::<Vec<_>>();
    assert_eq!(judged(&by(1000), 1000, &[]), CheckStatus::Fail);
    assert_eq!(judged(&by(999), 1000, &[]), CheckStatus::Pass);
    assert_eq!(judged(&by(256), 50, &[]), CheckStatus::Fail);
    assert_eq!(judged(&by(255), 50, &[]), CheckStatus::Pass);
}

/// A burst that was refused is no evidence, for or against.
#[test]
fn bursts_that_were_refused_show_nothing() {
    let row = [30000, 31000, 32000, 33000, 33000, 33000, 33000, 34000];
    assert_eq!(judged(&row, 50, &[]), CheckStatus::Pass);
    assert_eq!(judged(&row, 50, &[4, 5, 6]), CheckStatus::Fail);
    assert_eq!(
        judged(&row, 50, &[4, 5, 6, 7]),
        CheckStatus::Inconclusive,
        "two bursts are too few"
    );
}
