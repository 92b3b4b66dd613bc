//! Stimuli: what the suite sends to a plugin to judge it.
//!
//! [`run`] talks to any KMS v2 plugin through a stream (a unix socket, or one in memory) and leaves
//! a transcript; `kms-judge` gives the verdicts. A stimulus never decides whether the subject is
//! right: it records facts, and the few that need payload bytes (does the ciphertext hold the
//! plaintext?) it establishes on the spot. No fault is injected here, no process is started.
//!
//! Reading order: [`target`], [`options`], [`recorder`], `lab`, `client`, `raw`, `stimuli`.

mod client;
mod facts;
mod lab;
pub mod options;
mod proto;
mod raw;
pub mod recorder;
mod run;
mod seeds;
mod stimuli;
pub mod target;

pub use lab::ProgressCallback;
pub use options::{Options, OptionsError, Progress};
pub use recorder::Recorder;
pub use run::run;
pub use target::{BoxFuture, Connect, Hook, Stream, Target};
