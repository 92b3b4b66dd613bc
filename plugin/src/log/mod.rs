//! The log: one line per failed call and per change of state, never one per repeat, never a secret.
//!
//! Lines go through `tracing` into a subscriber of our own that only this module reaches. It is
//! not installed for the whole process: what HTTP libraries trace may show a token header.
//! Failed calls are limited to 20 lines a second and then counted (KMS2-LOG-04, BUG-111).
//! Not here: how lines leave the process ([`sink`]), and what happens when code panics ([`mod@panic`]).

pub mod panic;
pub mod sink;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tracing::dispatcher::{self, Dispatch};
use tracing::level_filters::LevelFilter;
use tracing::{debug, error, info, warn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::config::{LogFormat, LogLevel};
use crate::event::{Event, Method};
use crate::seam::{Observer, WallClock};

/// Lines about failed calls in one second.
const LINES_A_SECOND: u64 = 20;
const SECOND: Duration = Duration::from_secs(1);
/// The same trouble with the credential is told again after this time.
const REMIND_AFTER: Duration = Duration::from_secs(300);

/// The observer that writes the log.
pub struct Log {
    dispatch: Dispatch,
    state: Mutex<State>,
    /// Beside the lock, so that a call that went well takes no lock.
    suppressed: AtomicU64,
}

#[derive(Default)]
struct State {
    second: Option<Instant>,
    lines: u64,
    /// What was last said about logins and about renewals, and when.
    trouble: BTreeMap<&'static str, (String, Instant)>,
}

impl Log {
    /// A log in the given format whose lines go to `writer`, stamped by `wall`.
    pub fn new<W>(level: LogLevel, format: LogFormat, wall: Arc<dyn WallClock>, writer: W) -> Self
    where
        W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
    {
        let builder = tracing_subscriber::fmt()
            .with_max_level(filter(level))
            .with_target(false)
            .with_ansi(false)
            .with_timer(Stamp(wall))
            .with_writer(writer);
        let dispatch = match format {
            LogFormat::Json => Dispatch::new(builder.json().flatten_event(true).finish()),
            LogFormat::Text => Dispatch::new(builder.finish()),
        };
        Self {
            dispatch,
            state: Mutex::new(State::default()),
            suppressed: AtomicU64::new(0),
        }
    }

    /// Tells how many lines were left out, if any. Called before the process ends, too.
    pub fn flush(&self) {
        let count = self.suppressed.swap(0, Ordering::Relaxed);
        if count > 0 {
            dispatcher::with_default(&self.dispatch, || {
                warn!(count, "more calls failed than are logged one by one");
            });
        }
    }

    /// Whether a line about a failed call may be written now.
    fn may_write(&self) -> bool {
        let now = Instant::now();
        let mut state = self.state();
        if state.second.is_none_or(|start| now - start >= SECOND) {
            state.second = Some(now);
            state.lines = 0;
            drop(state);
            self.flush();
            state = self.state();
        }
        state.lines += 1;
        let may = state.lines <= LINES_A_SECOND;
        if !may {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
        }
        may
    }

    /// The count comes out with the first event after its second, whatever that is about.
    fn flush_if_due(&self) {
        if self.suppressed.load(Ordering::Relaxed) > 0 {
            let due = self
                .state()
                .second
                .is_none_or(|start| Instant::now() - start >= SECOND);
            if due {
                self.flush();
            }
        }
    }

    /// Whether this trouble is new, or was told long ago.
    fn is_news(&self, about: &'static str, detail: &str) -> bool {
        let now = Instant::now();
        let mut state = self.state();
        let told = state
            .trouble
            .get(about)
            .is_some_and(|(last, when)| last == detail && now - *when < REMIND_AFTER);
        if !told {
            state.trouble.insert(about, (detail.to_owned(), now));
        }
        !told
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic between two assignments leaves nothing that could mislead.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, event: &Event<'_>) {
        match *event {
            Event::Call {
                method,
                code,
                uid,
                request_id,
                http_status,
                latency,
                key_id,
                message,
                remedy,
            } => {
                let latency_ms = millis(latency);
                let request_id = RequestId(request_id);
                let method_name = method.as_str();
                let code_name = code_name(code);
                if code == 0 {
                    debug!(
                        method = method_name,
                        uid,
                        %request_id,
                        latency_ms,
                        key_id,
                        "call"
                    );
                } else if method == Method::Status {
                    // Its change of state has a line of its own, and callers repeat it for ever.
                    debug!(
                        method = method_name,
                        code = code_name,
                        latency_ms,
                        error = message,
                        "status is not good"
                    );
                } else if self.may_write() {
                    error!(
                        method = method_name,
                        code = code_name,
                        uid,
                        %request_id,
                        http_status,
                        latency_ms,
                        key_id,
                        remedy,
                        error = message,
                        "call failed"
                    );
                }
            }
            Event::VaultRequest {
                op,
                request_id,
                http_status,
                latency,
                items,
            } => {
                let (operation, latency_ms) = (op.as_str(), millis(latency));
                debug!(
                    operation,
                    request_id = %RequestId(request_id),
                    http_status,
                    latency_ms,
                    items,
                    "request to vault"
                );
            }
            Event::Login {
                ok: true,
                ttl,
                detail,
            } => {
                self.state().trouble.clear();
                info!(ttl_seconds = ttl.as_secs(), detail, "logged in");
            }
            Event::Login {
                ok: false, detail, ..
            } => {
                if self.is_news("login", detail) {
                    error!(error = detail, "login failed");
                } else {
                    debug!(error = detail, "login failed");
                }
            }
            Event::Renewal { ok: true, ttl, .. } => {
                debug!(ttl_seconds = ttl.as_secs(), "token renewed");
            }
            Event::Renewal {
                ok: false, detail, ..
            } => {
                if self.is_news("renewal", detail) {
                    warn!(error = detail, "token not renewed");
                } else {
                    debug!(error = detail, "token not renewed");
                }
            }
            Event::StatusChanged { ok: true, .. } => info!("status is good"),
            Event::StatusChanged { ok: false, detail } => {
                error!(error = detail, "status is not good");
            }
            Event::KeyTaken { version, key_id } => info!(version, key_id, "key version in use"),
            Event::FormerPlace {
                index, ok: true, ..
            } => {
                info!(index, "former place can be read");
            }
            Event::FormerPlace {
                index,
                ok: false,
                detail,
            } => {
                error!(index, error = detail, "former place cannot be read");
            }
            Event::SocketRebound => warn!("the socket had gone from its path: bound again"),
            Event::Notice { warn: true, text } => warn!("{text}"),
            Event::Notice { warn: false, text } => info!("{text}"),
            Event::UnboundRead { .. }
            | Event::Coalesced
            | Event::Waiting { .. }
            | Event::TokenExpiry { .. } => {}
        }
    }
}

impl Observer for Log {
    fn event(&self, event: &Event<'_>) {
        self.flush_if_due();
        dispatcher::with_default(&self.dispatch, || self.write(event));
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}

/// Names of gRPC's codes, as in its specification.
pub fn code_name(code: u32) -> &'static str {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    let index = usize::try_from(code).unwrap_or(usize::MAX);
    NAMES.get(index).copied().unwrap_or("UNKNOWN")
}

/// Our id of a request to Vault; nothing where there was none.
struct RequestId(u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return Ok(());
        }
        write!(f, "r-{:016x}", self.0)
    }
}

fn millis(latency: Duration) -> f64 {
    (latency.as_secs_f64() * 1e6).round() / 1e3
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// Stamps lines from the clock of the seam, so that a simulated day reads as one.
struct Stamp(Arc<dyn WallClock>);

impl FormatTime for Stamp {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        let now = Timestamp::try_from(self.0.now()).map_err(|_| fmt::Error)?;
        write!(w, "{now:.6}")
    }
}
