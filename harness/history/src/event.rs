//! What can stand in a transcript.
//!
//! Payloads appear as length and SHA-256. Texts that came from the subject are cut at
//! [`Text::MAX_KEPT`] bytes. Facts that need the payload itself (does the ciphertext contain the
//! plaintext?) are established by the stimulus and recorded, so that judging needs no payload.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Hex};

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Event {
    /// Position in the run, strictly ascending from 0.
    pub seq: u64,
    /// Nanoseconds since the run began.
    pub at_ns: u64,
    /// The stimulus that caused it.
    pub stimulus: Cow<'static, str>,
    /// Which of several concurrent callers, from 0.
    pub caller: u32,
    /// What happened.
    pub what: What,
}

/// The kinds of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum What {
    /// A call went out.
    Sent(Sent),
    /// It ended.
    Answered(Answered),
    /// A raw connection was opened; the event's `seq` names it.
    Opened,
    /// A raw connection ended, and how.
    Ended {
        /// The connection's `seq`.
        conn: u64,
        /// What the harness saw.
        reason: String,
    },
    /// An HTTP/2 frame (or other bytes) of ours on a raw connection.
    FrameSent(Frame),
    /// A frame of the subject's on a raw connection.
    FrameReceived(Frame),
    /// What the file system says about the socket.
    Socket(SocketFacts),
    /// An operator's hook: restart or rotation.
    Hook(HookStep),
    /// A search of the subject's log.
    Log(LogSearch),
    /// A number measured on the subject from outside.
    Measured(Measure),
    /// The smallest input that a property fails on.
    Minimal(Minimal),
    /// A stimulus, or part of one, did not run; the text begins with a reason code.
    NotRun(String),
    /// For readers only.
    Note(String),
}

/// A call of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sent {
    /// `Status`, `Encrypt`, `Decrypt`, or a whole path when it is another.
    pub method: Cow<'static, str>,
    /// Which variation of the stimulus this is; empty for an ordinary call.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub case: Cow<'static, str>,
    /// The request's uid.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// The request's content.
    pub request: Request,
    /// `seq` of the Encrypt call whose answer this Decrypt presents, altered as `case` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// Deadline told to the subject (`grpc-timeout`), in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ns: Option<u64>,
    /// `seq` of the raw connection, if it did not go through the gRPC library.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conn: Option<u64>,
}

/// What a request held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Request {
    /// No fields.
    Status,
    /// A plaintext to wrap.
    Encrypt {
        /// The plaintext.
        plaintext: Blob,
    },
    /// A ciphertext to unwrap.
    Decrypt {
        /// The ciphertext.
        ciphertext: Blob,
        /// The key_id.
        key_id: Text,
        /// The annotations, ordered by key.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        annotations: Vec<Annotation>,
    },
    /// Bytes that are no message of the API, or an unusual encoding of one.
    Bytes(Blob),
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Answered {
    /// `seq` of the [`Sent`] event.
    pub call: u64,
    /// Nanoseconds from sending to the end.
    pub elapsed_ns: u64,
    /// What came.
    pub outcome: Outcome,
    /// Where the answer (or its error text) holds the call's plaintext.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaks: Vec<Leak>,
}

/// What ended a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Outcome {
    /// gRPC status 0 and one message.
    Ok(Answer),
    /// A gRPC status other than 0, sent by the subject.
    Error {
        /// gRPC code.
        code: u32,
        /// Its text; plaintexts of ours in it are replaced.
        message: Text,
    },
    /// An HTTP answer without a gRPC status.
    Http {
        /// HTTP status.
        status: u16,
    },
    /// The stream was reset.
    Reset {
        /// HTTP/2 error code.
        code: u32,
    },
    /// The connection ended before an answer.
    Closed {
        /// Error code of a GOAWAY, if one came.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        goaway: Option<u32>,
        /// What the transport said.
        reason: String,
    },
    /// The harness's own limit passed.
    TimedOut,
    /// The harness gave the call up on purpose.
    Cancelled,
    /// No connection could be made, so the subject never saw the call.
    NotConnected {
        /// What the dial said.
        reason: String,
    },
    /// gRPC status 0 with bytes that are not one message of the method.
    Unreadable {
        /// What is wrong with them.
        reason: String,
    },
}

/// A successful answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Answer {
    /// Field number and wire type of each field in the order of the bytes.
    pub fields: Vec<(u32, u8)>,
    /// String fields whose bytes are not UTF-8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bad_utf8: Vec<String>,
    /// The content by field number.
    pub body: Body,
}

/// Content of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Body {
    /// Of Status.
    Status {
        /// API version.
        version: Text,
        /// Health word.
        healthz: Text,
        /// Key in use.
        key_id: Text,
    },
    /// Of Encrypt.
    Encrypt {
        /// The wrapped plaintext.
        ciphertext: Blob,
        /// Key used.
        key_id: Text,
        /// Annotations, ordered by key.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        annotations: Vec<Annotation>,
    },
    /// Of Decrypt.
    Decrypt {
        /// What the subject took for the plaintext.
        plaintext: Blob,
    },
    /// Of an unknown method.
    Bytes(Blob),
}

/// A byte string that is not kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Blob {
    /// Length in bytes.
    pub len: u64,
    /// Hash of the bytes.
    pub sha256: Digest,
    /// The bytes: only of inputs that the harness made, and only on demand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Hex>,
}

impl Blob {
    /// Whether both stand for the same bytes.
    pub fn same(&self, other: &Blob) -> bool {
        self.len == other.len && self.sha256 == other.sha256
    }
}

/// A text from the subject, cut when long.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Text {
    /// At most [`Text::MAX_KEPT`] bytes of it, bad UTF-8 replaced.
    pub text: String,
    /// Its whole length in bytes.
    pub len: u64,
    /// Hash of the whole, if `text` is not the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
}

impl Text {
    /// Longest text that is kept whole, in bytes.
    pub const MAX_KEPT: usize = 1100;
}

/// One annotation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Annotation {
    /// Its key.
    pub key: Text,
    /// Its value.
    pub value: Blob,
}

/// Plaintext found where it must not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Leak {
    /// `ciphertext`, `key_id`, `annotations`, `error`.
    pub place: String,
    /// `raw`, `hex`, `base64` and so on.
    pub form: String,
}

/// An HTTP/2 frame, or bytes that are none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Frame {
    /// The connection's `seq`.
    pub conn: u64,
    /// `HEADERS`, `DATA` and so on; `PREFACE`, `BYTES`, or `0x2a` for an unknown type.
    pub kind: Cow<'static, str>,
    /// Flags.
    pub flags: u8,
    /// Stream.
    pub stream: u32,
    /// Payload length in bytes.
    pub len: u64,
    /// What it says, for the kinds that say something short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<FrameDetail>,
}

/// Content of a short frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum FrameDetail {
    /// Identifier and value of each setting.
    Settings(Vec<(u16, u32)>),
    /// Header fields in their order.
    Headers(Vec<(String, String)>),
    /// RST_STREAM error code.
    Reset(u32),
    /// GOAWAY error code and debug text.
    GoAway(u32, String),
    /// PING payload.
    Ping(Hex),
    /// WINDOW_UPDATE increment.
    Window(u32),
}

/// The socket as the file system shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SocketFacts {
    /// Permission bits of the socket.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Whether everybody may pass every folder on the way to it.
    pub path_open_to_others: bool,
}

/// One use of an operator's hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HookStep {
    /// `restart` or `rotate`; or `terminate`, `kill` or `freeze`, the signals; or what was done to
    /// another process of the subject or its backend: `backend-silent`, `backend-comes`,
    /// `rotate-spare`, `rotate-in-vain`, `delete-key`, `make-key`, `restart-spare`; or `other-node`,
    /// which only waits until that one has seen a rotation.
    pub hook: String,
    /// Why it failed; absent when it worked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Nanoseconds until its effect was seen: after a restart an answer of Status, after a rotation
    /// another key_id; the length of a freeze. Absent when it was not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect_ns: Option<u64>,
}

/// What a look into the subject's log found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogSearch {
    /// Bytes of log that were written during the run and searched.
    pub searched_bytes: u64,
    /// What was looked for.
    pub needles: Vec<Needle>,
}

/// One thing looked for in a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Needle {
    /// `uid`, `failed-uid` (of a call that must fail) or `plaintext`.
    pub kind: String,
    /// `seq` of the call that carried it.
    pub call: u64,
    /// In which forms it was found; empty when it was not.
    pub forms: Vec<String>,
}

/// One measurement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Measure {
    /// What: `resident-bytes`, `metric-series`, `socket-left` (1 or 0), `rotations`; by place
    /// `searched:PLACE` (bytes), `credentials:PLACE` and `plaintexts:PLACE` (found there); by way of
    /// being false `contacts:WAY`, `requests:WAY` and `credentials:WAY` of a false backend.
    pub name: Cow<'static, str>,
    /// How much.
    pub value: u64,
}

/// The smallest failing input of a property.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Minimal {
    /// The input; the harness made it.
    pub input: Hex,
    /// How it failed.
    pub failure: String,
    /// Simplifications that were tried.
    pub steps: u64,
}
