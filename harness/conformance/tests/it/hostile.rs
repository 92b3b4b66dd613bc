//! Subjects that do not play along: the run ends in bounded time and claims nothing.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kms_conformance::{BoxFuture, Connect, Options, Recorder, Stream, Target, run};
use kms_history::{History, What};
use kms_judge::CheckStatus;
use kms_zoo::judged::options as small;
use kms_zoo::{Bug, Seen};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;

use crate::record;

/// Streams in memory; what stands at the other end is the test's choice.
struct InMemory<F>(F);

impl<F: Fn(DuplexStream) + Send + Sync> Connect for InMemory<F> {
    fn connect(&self) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async {
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            (self.0)(theirs);
            Ok(Box::new(ours) as Box<dyn Stream>)
        })
    }
}

async fn against(subject: impl Fn(DuplexStream) + Send + Sync + 'static) -> History {
    let options = Options {
        timeout: Duration::from_millis(200),
        ..small()
    };
    let recorder = Recorder::new(options.header());
    let target = Target::new(Arc::new(InMemory(subject)));
    run(&target, &options, &recorder).await.unwrap()
}

fn nothing_passes(history: &History) {
    let results = kms_judge::judge(history);
    let passed: Vec<_> = results
        .iter()
        .filter(|r| r.status == CheckStatus::Pass)
        .collect();
    assert!(passed.is_empty(), "{passed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_never_speaks_is_left_after_ten_seconds() {
    let start = Instant::now();
    let history = against(|stream| {
        tokio::spawn(async move {
            let _held = stream;
            std::future::pending::<()>().await;
        });
    })
    .await;
    assert!(
        start.elapsed() < Duration::from_secs(15),
        "{:?}",
        start.elapsed()
    );
    nothing_passes(&history);
    let unreachable = |what: &What| matches!(what, What::NotRun(r) if r.starts_with("unreachable"));
    assert!(
        history
            .events()
            .iter()
            .any(|event| unreachable(&event.what))
    );
}

#[tokio::test(start_paused = true)]
async fn garbage_instead_of_http2_is_no_answer() {
    let history = against(|mut stream| {
        tokio::spawn(async move {
            let _ = stream.write_all(&[0xff; 4096]).await;
            let mut sink = Vec::new();
            let _ = stream.read_to_end(&mut sink).await;
        });
    })
    .await;
    nothing_passes(&history);
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_fails_reaches_nobody() {
    static DIALS: AtomicU32 = AtomicU32::new(0);
    struct Refused;
    impl Connect for Refused {
        fn connect(&self) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
            DIALS.fetch_add(1, Ordering::Relaxed);
            Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) })
        }
    }
    let options = small();
    let recorder = Recorder::new(options.header());
    let target = Target::new(Arc::new(Refused));
    let history = run(&target, &options, &recorder).await.unwrap();
    assert!(
        DIALS.load(Ordering::Relaxed) > 1,
        "it dials until the limit"
    );
    nothing_passes(&history);
}

/// Hangs in every method once it has been found to work.
#[tokio::test]
async fn a_plugin_that_begins_to_hang_is_not_asked_for_ever() {
    let options = Options {
        timeout: Duration::from_millis(150),
        ..small()
    };
    let start = Instant::now();
    let history = record(Some(Bug::HangsAfterContact), &options).await;
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
    let results = kms_judge::judge(&history);
    let status = results
        .iter()
        .find(|r| r.check_id == "status-healthz-ok")
        .unwrap();
    assert_eq!(
        status.status,
        CheckStatus::Fail,
        "{}",
        Seen::of(&results).text
    );
    let trips = results
        .iter()
        .find(|r| r.check_id == "round-trips")
        .unwrap();
    assert_ne!(trips.status, CheckStatus::Pass);
}

/// Of all the seeds that end in two line ends the simplest one is reported.
#[tokio::test]
async fn a_failing_round_trip_is_shrunk_to_the_smallest_seed() {
    let history = record(Some(Bug::DecryptTrimsLineEnds), &small()).await;
    let minimal = history.events().iter().find_map(|event| match &event.what {
        What::Minimal(minimal) => Some(minimal.clone()),
        _ => None,
    });
    let minimal = minimal.unwrap();
    let zeros = minimal
        .input
        .0
        .iter()
        .take_while(|byte| **byte == 0)
        .count();
    assert!(minimal.input.0.ends_with(b"\n\n"), "{minimal:?}");
    let line_ends = minimal
        .input
        .0
        .iter()
        .rev()
        .take_while(|byte| **byte == b'\n')
        .count();
    assert_eq!(zeros + line_ends, 32, "{minimal:?}");
}

/// A run reports how far it is, and every event reaches the sink as it happens.
#[tokio::test]
async fn progress_and_events_are_told_while_it_runs() {
    static STEPS: AtomicU32 = AtomicU32::new(0);
    let options = Options {
        progress: Some(Arc::new(|progress| {
            assert!(progress.done <= progress.total && !progress.stimulus.is_empty());
            STEPS.fetch_add(1, Ordering::Relaxed);
        })),
        round_trips: 20,
        ..small()
    };
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let sink = Box::new(move |event: &kms_history::Event| sender.send(event.seq).unwrap());
    let recorder = Recorder::with_sink(options.header(), sink);
    let target = Target::unix("/nonexistent/kms.sock");
    let history = run(&target, &options, &recorder).await.unwrap();
    for event in history.events() {
        assert_eq!(receiver.try_recv(), Ok(event.seq));
    }
    record(None, &options).await;
    assert!(STEPS.load(Ordering::Relaxed) > 50);
}
