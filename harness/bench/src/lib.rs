//! Measures a KMS v2 plugin beside direct calls to the same OpenBao, and soaks it.
//!
//! `real` answers "what does the plugin cost, and what does it do when the server is gone";
//! `soak` answers "does a call ever fail while tokens end, keys rotate and leases are revoked".
//! Both start a real OpenBao in dev mode on loopback and leave nothing running.
//!
//! Not here: the contract (that is `kms-harness check`), and anything simulated. A figure of this
//! crate is wall time and CPU of one machine, so it is compared only with what ran beside it.

pub mod direct;
pub mod kms;
pub mod load;
pub mod locate;
pub mod proc;
pub mod real;
pub mod server;
pub mod soak;
pub mod stats;
pub mod subject;

use std::io::Write as _;

/// What a job comes to; the value is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// All goals were met.
    Held = 0,
    /// The subject missed a goal or failed a call.
    Missed = 1,
    /// The measurement could not be made, or shows nothing.
    Inconclusive = 3,
}

/// One line of progress for the person who waits; goes to stderr, results go to stdout.
pub fn progress(text: impl std::fmt::Display) {
    // Nobody listening on stderr is no reason to stop.
    let _ = writeln!(std::io::stderr(), "kms-bench: {text}");
}
