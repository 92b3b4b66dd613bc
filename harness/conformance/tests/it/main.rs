//! The suite against an honest plugin, and against one that is broken in a single named way.
//!
//! The honest one passes everything; each breakage is named by exactly the requirements it breaks.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod breakages;
mod faults;
mod honest;
mod hostile;
mod plugin;
mod server;
mod spare;
