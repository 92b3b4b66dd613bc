//! What goes over the edge of the model: times, actions to carry out, events, results.
//!
//! The way of one RPC: the model asks for a connection ([`Action::Dial`]), hears how that went
//! (`dialled`), asks for a request to be sent ([`Action::Send`]), and hears the answer (`answer`).
//! It keeps every deadline itself: a call that runs out is taken back by [`Action::Cancel`], and an
//! answer that comes later is ignored.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::grpc::{Method, Status};

/// A moment. Expiry, deadlines and tickers use `mono`; only texts and metrics show `unix`
/// (KMS2-STATE-08).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Since an epoch of the caller's choice; never goes back.
    pub mono: Duration,
    /// Wall time since 1970-01-01 UTC; may jump.
    pub unix: Duration,
}

/// One `kms` entry of one loaded configuration: a connection, a state and caches of its own
/// (KMS2-CFG-08). Never used twice in the life of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProviderId(pub u32);

/// One connection attempt of one provider, and the connection that comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnId(pub u32);

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialError {
    /// The system refused, such as `dial unix /run/kms.sock: connect: connection refused` or
    /// `dial unix : missing address`: Go's text.
    Connect(String),
    /// The socket opened, but the server's SETTINGS did not come, such as `error reading server
    /// preface: EOF`.
    Preface(String),
}

/// One RPC. Never used twice in the life of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// One run of a health check. Never used twice in the life of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProbeId(pub u64);

/// A request to send on the provider's connection.
#[derive(Clone, PartialEq, Eq)]
pub struct Rpc {
    /// Names the answer.
    pub call: CallId,
    /// Which method.
    pub method: Method,
    /// The message as Go encodes it, without the gRPC frame header.
    pub request: Vec<u8>,
    /// What is left of the deadline; goes into `grpc-timeout` (see [`grpc_timeout`]).
    pub timeout: Duration,
}

impl fmt::Debug for Rpc {
    /// Without the message, which can hold a seed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rpc")
            .field("call", &self.call)
            .field("method", &self.method)
            .field("bytes", &self.request.len())
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// The value of the header `grpc-timeout` as grpc-go writes it: nanoseconds below 100 ms, and from
/// there the first unit that needs at most eight digits, rounded up (KMS2-CONN-07).
pub fn grpc_timeout(timeout: Duration) -> String {
    let nanos = timeout.as_nanos();
    for (unit, size) in [
        ('n', 1),
        ('u', 1_000),
        ('m', 1_000_000),
        ('S', 1_000_000_000),
        ('M', 60_000_000_000),
    ] {
        let value = nanos.div_ceil(size);
        if value < 100_000_000 {
            return format!("{value}{unit}");
        }
    }
    format!("{}H", nanos.div_ceil(3_600_000_000_000))
}

/// Something that the caller has to do, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open a connection to the unix socket and read the server's SETTINGS; then say
    /// `dialled`. No time limit: see [`Action::AbortDial`].
    Dial {
        /// Whose connection.
        provider: ProviderId,
        /// Names the attempt and the connection.
        conn: ConnId,
        /// The socket's path, or `@name` for an abstract socket; may be empty or too long, which
        /// the system then refuses (KMS2-CONN-02).
        address: String,
        /// `:authority` of every request on it (KMS2-CONN-04).
        authority: String,
    },
    /// Give up the connection attempt; nothing is to be said about it any more.
    AbortDial {
        /// Whose attempt.
        provider: ProviderId,
        /// Which one.
        conn: ConnId,
    },
    /// Send a request on the open connection; say `answer` when the answer is there.
    Send {
        /// Whose connection.
        provider: ProviderId,
        /// On which one.
        conn: ConnId,
        /// The request.
        rpc: Rpc,
    },
    /// Reset the stream of a request (RST_STREAM CANCEL); its answer is no longer wanted.
    Cancel {
        /// On whose connection.
        provider: ProviderId,
        /// The request.
        call: CallId,
    },
    /// Give up an attempt that runs; say GOAWAY NO_ERROR with [`GOAWAY_TEXT`] on every connection
    /// of the provider that is open, and close them for good.
    Close {
        /// Whose connection.
        provider: ProviderId,
    },
    /// Nothing to do, something to know.
    Event(Event),
}

/// The debug text of the GOAWAY that ends a connection (KMS2-CONN-13).
pub const GOAWAY_TEXT: &str = "client transport shutdown";

/// Something that happened inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The inline checks of the first load are over: the server goes on starting
    /// (KMS2-START-01).
    Started,
    /// The first load failed after its first provider was made: the server exits.
    StartFailed {
        /// Upstream's text.
        error: String,
    },
    /// A Decrypt call is over; hand the outcome to `supply`.
    Decrypted {
        /// The call.
        call: CallId,
        /// The raw answer, or why there is none.
        outcome: Result<Vec<u8>, Status>,
    },
    /// A health check is over.
    Probed {
        /// The check.
        probe: ProbeId,
        /// What it found: the text of its error.
        result: Result<(), String>,
    },
    /// An attempt to reload the configuration is over.
    Reloaded {
        /// Why the old one stays in force.
        result: Result<(), String>,
    },
    /// The configuration file is to be read; hand it to `config_read` (KMS2-RELOAD-02).
    ReadConfig,
    /// A line of the log.
    Log(Log),
}

/// A line of the log, as klog writes it after its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Error, or information at this verbosity.
    pub level: LogLevel,
    /// The message with its fields. Names no key_id, only hashes (KMS2-LOG-02).
    pub text: String,
}

impl Log {
    pub(crate) fn error(text: String) -> Action {
        Action::Event(Event::Log(Log {
            level: LogLevel::Error,
            text,
        }))
    }

    pub(crate) fn info(verbosity: u8, text: String) -> Action {
        Action::Event(Event::Log(Log {
            level: LogLevel::Info(verbosity),
            text,
        }))
    }
}

/// The level of a [`Log`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// An error: always shown.
    Error,
    /// Shown from this verbosity on.
    Info(u8),
}

/// A resource with its API group; the group is empty for the core.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupResource {
    /// Such as `apps`.
    pub group: String,
    /// In plural, such as `secrets`.
    pub resource: String,
}

impl GroupResource {
    /// A resource of the core group.
    pub fn core(resource: &str) -> Self {
        GroupResource {
            group: String::new(),
            resource: resource.to_owned(),
        }
    }

    /// `name` or `name.group`, cut at the first dot.
    pub fn parse(text: &str) -> Self {
        let (resource, group) = text.split_once('.').unwrap_or((text, ""));
        GroupResource {
            group: group.to_owned(),
            resource: resource.to_owned(),
        }
    }
}

impl GroupResource {
    /// As it is displayed.
    pub(crate) fn name(&self) -> Cow<'_, str> {
        if self.group.is_empty() {
            Cow::Borrowed(&self.resource)
        } else {
            Cow::Owned(self.to_string())
        }
    }
}

impl fmt::Display for GroupResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            f.write_str(&self.resource)
        } else {
            write!(f, "{}.{}", self.resource, self.group)
        }
    }
}

/// Why a value cannot be written or read: the text that goes into the HTTP answer
/// (KMS2-WRITE-03, KMS2-DEC-13).
#[derive(Clone, PartialEq, Eq)]
pub struct TransformError {
    /// The text.
    pub text: String,
    /// The RPC's error, if that was the cause; its code is a label of metrics (KMS2-MET-09).
    pub status: Option<Status>,
}

impl TransformError {
    /// An error that no RPC caused.
    pub fn new(text: impl Into<String>) -> Self {
        TransformError {
            text: text.into(),
            status: None,
        }
    }
}

impl fmt::Debug for TransformError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransformError({:?})", self.text)
    }
}

impl fmt::Display for TransformError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for TransformError {}

/// A value as it was before it was stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Plain {
    /// The value.
    pub bytes: Vec<u8>,
    /// Whether an update has to write it again even if nothing changed (KMS2-STALE-04).
    pub stale: bool,
}

impl fmt::Debug for Plain {
    /// Without the value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plain")
            .field("bytes", &self.bytes.len())
            .field("stale", &self.stale)
            .finish()
    }
}
