//! The honest plugin passes everything, with the core profile's full amounts.

use std::time::Duration;

use kms_conformance::{Options, Recorder, Target, run};
use kms_history::{History, Request, Sent, What};
use kms_judge::CheckStatus;
use kms_zoo::judged::options as small;
use kms_zoo::{Seen, Verdict, find};
use tokio::time::Instant;

use crate::record;

#[tokio::test]
async fn the_honest_plugin_passes_everything_in_time() {
    let start = Instant::now();
    // All amounts, and no long looks at how nothing happens.
    let options = Options {
        watch: Duration::from_millis(200),
        ..Options::default()
    };
    let history = record(None, &options).await;
    let results = kms_judge::judge(&history);
    let elapsed = start.elapsed();
    println!("{elapsed:?} for {} events", history.events().len());
    let seen = Seen::of(&results);
    let verdict = Verdict::of(find("honest").unwrap(), &seen);
    assert_eq!(verdict, Verdict::Passed, "{}", seen.text);
    let silent = results.iter().find(|result| result.assertions == 0);
    assert!(silent.is_none(), "{silent:?}");
    // Ten seconds on a machine of its own; what waits for a limit of its own would show.
    assert!(elapsed.as_secs() < 120, "took {elapsed:?}");
}

/// The same plugin judged for old servers: hyper refuses their `:authority`, and 1.28 knows no `v2`.
#[tokio::test]
async fn a_plugin_for_new_servers_fails_for_old_ones() {
    for (version, expected) in [
        (28, vec!["KMS2-STATUS-01", "KMS2-WIRE-12"]),
        (31, vec!["KMS2-WIRE-12"]),
        (32, vec![]),
    ] {
        let options = Options {
            server_version: Some(version),
            ..small()
        };
        let seen = Seen::of(&kms_judge::judge(&record(None, &options).await));
        let failed: Vec<_> = seen.failed.iter().collect();
        assert_eq!(failed, expected, "1.{version}\n{}", seen.text);
    }
}

/// A transcript that was written and read again gets the same verdicts, and no payload is in it.
#[tokio::test]
async fn a_stored_run_is_judged_the_same() {
    let history = record(None, &small()).await;
    let file = kms_history::Writer::write(Vec::new(), &history).unwrap();
    let again = kms_history::read(file.as_slice()).unwrap();
    assert_eq!(again, history);
    assert_eq!(kms_judge::judge(&again), kms_judge::judge(&history));
    assert!(!String::from_utf8(file).unwrap().contains("payload"));
}

/// On demand the plaintexts that the harness made are kept, and nothing of the subject's.
#[tokio::test]
async fn only_own_inputs_are_kept_on_demand() {
    let options = Options {
        keep_payloads: true,
        round_trips: 10,
        ..small()
    };
    let history = record(None, &options).await;
    let mut kept = 0;
    for event in history.events() {
        let text = format!("{:?}", event.what);
        let payload = text.contains("payload: Some");
        match &event.what {
            What::Sent(Sent {
                request: Request::Encrypt { plaintext },
                ..
            }) => {
                kept += u64::from(plaintext.payload.is_some());
            }
            _ => assert!(!payload, "{text}"),
        }
    }
    assert!(kept > 10);
}

/// Nobody is there: nothing passes, nothing fails, and each result says why.
#[tokio::test]
async fn an_absent_plugin_is_neither_passed_nor_failed() {
    let options = small();
    let recorder = Recorder::new(options.header());
    let target = Target::unix("/nonexistent/kms.sock");
    let history = run(&target, &options, &recorder).await.unwrap();
    for result in kms_judge::judge(&history) {
        let none = matches!(
            result.status,
            CheckStatus::NotRun | CheckStatus::Inconclusive
        );
        assert!(none && result.assertions == 0, "{result:?}");
        assert!(!result.explanation.is_empty());
    }
}

/// One seed, one sequence of stimuli.
#[tokio::test]
async fn the_same_seed_sends_the_same() {
    let sent = |history: &History| {
        let calls = history.calls().filter(|call| call.sent.method == "Encrypt");
        let mut calls: Vec<_> = calls
            .map(|c| (c.sent.uid.clone(), c.sent.request.clone()))
            .collect();
        calls.sort_by(|a, b| a.0.cmp(&b.0));
        format!("{calls:?}")
    };
    let other = Options { seed: 2, ..small() };
    let first = sent(&record(None, &small()).await);
    assert_eq!(first, sent(&record(None, &small()).await));
    assert_ne!(first, sent(&record(None, &other).await));
}
