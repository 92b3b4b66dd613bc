//! The stimuli against an honest plugin, and against subjects that do not play along.
//!
//! Both are of the zoo (`kms-zoo`). That the suite names what is broken is shown over all of it by `kms-harness
//! calibrate`, in the tests of the harness.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod honest;
mod hostile;

use kms_conformance::Options;
use kms_history::History;
use kms_zoo::{Bug, Served, judged};

/// The transcript of a plugin with a bug, or without one.
async fn record(bug: Option<Bug>, options: &Options) -> History {
    let served = Served::start(bug).await.unwrap();
    judged::record(&served.target, options).await.unwrap()
}
