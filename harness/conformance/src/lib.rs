//! Stimuli: what the suite sends to a plugin to judge it.
//!
//! [`run`] talks to any KMS v2 plugin through a stream (a unix socket, or one in memory) and leaves
//! a transcript; `kms-judge` gives the verdicts. A stimulus never decides whether the subject is
//! right: it records facts, and the few that need payload bytes (does the ciphertext hold the
//! plaintext?) it establishes on the spot. No fault of the backend is injected here and no process
//! is started; the subject's own is signalled where the operator says how to bring it back, and what
//! would cost it its key or its backend is asked of a [`spare`] that whoever runs the suite starts.
//!
//! Reading order: [`target`], [`process`], [`spare`], [`metrics`], [`options`], [`recorder`], `lab`, `codec`,
//! `client`, `raw`, `stimuli`.

mod client;
mod codec;
mod facts;
mod lab;
pub mod metrics;
pub mod options;
pub mod process;
mod proto;
mod raw;
pub mod recorder;
mod run;
mod seeds;
pub mod spare;
mod stimuli;
pub mod target;

pub use codec::RawCodec;
pub use lab::ProgressCallback;
pub use metrics::HttpMetrics;
pub use options::{Options, OptionsError, Progress};
pub use process::{Process, Signal};
pub use recorder::Recorder;
pub use run::run;
pub use spare::{Act, Backend, Falsehood, Seen, Spare, Spares};
pub use target::{BoxFuture, Connect, Hook, Metrics, Stream, Target, UnixSocket};
