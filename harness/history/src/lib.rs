//! The recorded transcript of a run, and its file format `history.jsonl`.
//!
//! A stimulus talks to the subject and everything it saw goes in here; a judge reads nothing else.
//! So a stored run can be judged again by newer checks. The crate does no I/O of its own beyond a
//! given reader or writer, computes no hash and gives no verdict.
//!
//! Reading order: [`digest`], [`event`], [`history`], [`file`](mod@file), [`search`]; of chaos runs [`chaos`], [`chaos_file`].

pub mod chaos;
pub mod chaos_file;
mod chaos_text;
pub mod digest;
pub mod event;
pub mod file;
pub mod history;
pub mod search;

pub use digest::{Digest, Hex};
pub use event::{
    Annotation, Answer, Answered, Blob, Body, Event, Frame, FrameDetail, HookStep, Leak, LogSearch,
    Measure, Minimal, Needle, Outcome, Request, Sent, SocketFacts, Text, What,
};
pub use file::{ReadError, Writer, read};
pub use history::{Call, Header, History, HistoryError};

/// Value of the header's `format`.
pub const FORMAT: &str = "kms-history";

/// The only version this build writes and reads.
pub const VERSION: u32 = 1;
