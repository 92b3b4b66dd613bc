//! What the log says, and how often.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;
use vault_kubernetes_kms::config::{LogFormat, LogLevel};
use vault_kubernetes_kms::event::{Event, Method, VaultOp};
use vault_kubernetes_kms::log::{Log, panic, sink::Sink};
use vault_kubernetes_kms::seam::{Observer, WallClock};

#[derive(Debug)]
struct Noon;

impl WallClock for Noon {
    fn now(&self) -> SystemTime {
        // 2026-11-26T12:00:00Z
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_694_400)
    }
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Written {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Written {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn json(&self) -> Vec<Value> {
        let text = self.text();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

fn log(level: LogLevel, format: LogFormat) -> (Log, Written) {
    let written = Written::default();
    let log = Log::new(level, format, Arc::new(Noon), written.clone());
    (log, written)
}

fn failed<'a>(uid: &'a str, message: &'a str) -> Event<'a> {
    Event::Call {
        method: Method::Encrypt,
        code: 14,
        uid,
        request_id: 9,
        http_status: 503,
        latency: Duration::from_micros(12_345),
        key_id: "v1.abc",
        message,
        remedy: "sealed",
    }
}

fn good(uid: &str) -> Event<'_> {
    Event::Call {
        method: Method::Decrypt,
        code: 0,
        uid,
        request_id: 1,
        http_status: 200,
        latency: Duration::from_millis(2),
        key_id: "v1.abc",
        message: "",
        remedy: "none",
    }
}

#[test]
fn bug_111_a_failed_call_is_exactly_one_line_that_can_be_matched() {
    let (log, written) = log(LogLevel::Info, LogFormat::Json);
    log.event(&good("u-1"));
    log.event(&failed("u-123", "vault is sealed"));
    let lines = written.json();
    let expected = serde_json::json!({
        "timestamp": "2026-11-26T12:00:00.000000Z",
        "level": "ERROR",
        "message": "call failed",
        "method": "Encrypt",
        "code": "UNAVAILABLE",
        "uid": "u-123",
        "request_id": "r-0000000000000009",
        "http_status": 503,
        "latency_ms": 12.345,
        "key_id": "v1.abc",
        "remedy": "sealed",
        "error": "vault is sealed",
    });
    assert_eq!(lines, [expected]);
}

#[test]
fn kms2_log_04_each_call_is_logged_with_its_uid_on_request() {
    let (log, written) = log(LogLevel::Debug, LogFormat::Json);
    log.event(&good("u-1"));
    assert_eq!(written.json()[0]["uid"], "u-1");
    assert_eq!(written.json()[0]["level"], "DEBUG");
}

/// A uid comes from the caller, and a line is one line.
#[test]
fn no_caller_can_forge_a_line() {
    for format in [LogFormat::Json, LogFormat::Text] {
        let (log, written) = log(LogLevel::Info, format);
        log.event(&failed("u\n{\"level\":\"ERROR\"}\u{1b}[2J", "a\nb"));
        let text = written.text();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn bug_105_failed_calls_are_limited_and_counted() {
    let (log, written) = log(LogLevel::Info, LogFormat::Json);
    for _ in 0..1000 {
        log.event(&failed("u-1", "no"));
    }
    assert_eq!(written.json().len(), 20);
    // The count comes with whatever happens next, not with the next failure.
    tokio::time::advance(Duration::from_millis(999)).await;
    log.event(&good("u-2"));
    assert_eq!(written.json().len(), 20);
    tokio::time::advance(Duration::from_millis(1)).await;
    log.event(&good("u-3"));
    let lines = written.json();
    assert_eq!(lines.len(), 21);
    assert_eq!(lines[20]["count"], 980);
    // A new second has lines of its own.
    log.event(&failed("u-4", "no"));
    assert_eq!(written.json().len(), 22);
    log.flush();
    assert_eq!(written.json().len(), 22);
}

#[tokio::test(start_paused = true)]
async fn a_state_has_one_line_and_its_repeats_have_none() {
    let (log, written) = log(LogLevel::Info, LogFormat::Json);
    let refused = Event::Login {
        ok: false,
        ttl: Duration::ZERO,
        detail: "refused",
    };
    let not_renewed = Event::Renewal {
        ok: false,
        ttl: Duration::ZERO,
        detail: "denied",
    };
    for _ in 0..50 {
        log.event(&refused);
        log.event(&not_renewed);
        // An API server asks for Status for ever.
        log.event(&Event::Call {
            method: Method::Status,
            code: 14,
            uid: "",
            request_id: 0,
            http_status: 0,
            latency: Duration::ZERO,
            key_id: "",
            message: "vault is away",
            remedy: "network",
        });
        log.event(&Event::VaultRequest {
            request_id: 7,
            op: VaultOp::ReadKey,
            http_status: 0,
            latency: Duration::ZERO,
            items: 1,
        });
    }
    assert_eq!(written.json().len(), 2);
    log.event(&Event::StatusChanged {
        ok: false,
        detail: "vault is away",
    });
    log.event(&Event::KeyTaken {
        version: 2,
        key_id: "v1.def",
    });
    let lines = written.json();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[2]["error"], "vault is away");
    assert_eq!(lines[3]["key_id"], "v1.def");
    // After a success the same trouble is news again, and after five minutes anyway.
    log.event(&Event::Login {
        ok: true,
        ttl: Duration::from_secs(60),
        detail: "first use",
    });
    log.event(&refused);
    assert_eq!(written.json().len(), 6);
    tokio::time::advance(Duration::from_secs(301)).await;
    log.event(&refused);
    assert_eq!(written.json().len(), 7);
}

struct Kept(Mutex<Vec<String>>);

impl Observer for Kept {
    fn event(&self, event: &Event<'_>) {
        if let Event::Notice { warn: true, text } = event {
            self.0.lock().unwrap().push((*text).to_owned());
        }
    }
}

#[test]
fn bug_114_a_panic_shows_its_place_and_no_text_made_at_run_time() {
    let kept = Arc::new(Kept(Mutex::default()));
    let before = std::panic::take_hook();
    panic::install(kept.clone());
    let secret = String::from("canary-token");
    let formatted = std::panic::catch_unwind(|| panic!("token is {secret}"));
    let unwrapped =
        std::panic::catch_unwind(|| "x".parse::<u8>().map_err(|_| secret.clone()).unwrap());
    let literal = std::panic::catch_unwind(|| panic!("a literal"));
    std::panic::set_hook(before);
    assert!(formatted.is_err() && unwrapped.is_err() && literal.is_err());

    let kept = kept.0.lock().unwrap();
    let ours: Vec<_> = kept.iter().filter(|text| text.contains("log.rs")).collect();
    assert_eq!(ours.len(), 3, "{kept:?}");
    assert!(ours.iter().all(|text| !text.contains("canary")), "{kept:?}");
    assert!(ours[2].ends_with("a literal"));
}

/// A reader that stops reading until told otherwise.
#[derive(Clone, Default)]
struct Stuck(Arc<Pipe>);

/// Whether the reader goes on, and what it has read.
type Pipe = (Mutex<(bool, Vec<u8>)>, Condvar);

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (state, moved) = &*self.0;
        let mut state = moved
            .wait_while(state.lock().unwrap(), |(goes_on, _)| !*goes_on)
            .unwrap();
        state.1.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A full disk or a stopped reader of the log must not stop the calls (a log line from the only
/// thread that serves would).
#[test]
fn a_stuck_log_never_blocks_and_says_afterwards_what_it_lost() {
    let stuck = Stuck::default();
    let sink = Sink::start(stuck.clone()).unwrap();
    let log = Log::new(
        LogLevel::Info,
        LogFormat::Json,
        Arc::new(Noon),
        sink.clone(),
    );
    for version in 0..5000 {
        log.event(&Event::KeyTaken {
            version,
            key_id: "v1.abc",
        });
    }
    sink.flush(Duration::from_millis(10));
    let (state, moved) = &*stuck.0;
    state.lock().unwrap().0 = true;
    moved.notify_all();
    // The queue is full at first; then everything that was kept comes out.
    let text = loop {
        sink.flush(Duration::from_secs(5));
        let text = String::from_utf8(state.lock().unwrap().1.clone()).unwrap();
        if text.contains("\"version\":1023") {
            break text;
        }
    };
    assert!(text.contains("log lines lost"), "{text}");
    let lost: u64 = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).unwrap()["count"].as_u64())
        .sum();
    let kept = text.lines().filter(|line| line.contains("v1.abc")).count() as u64;
    assert_eq!(lost + kept, 5000);
}
