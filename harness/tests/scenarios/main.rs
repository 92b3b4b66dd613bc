//! The library of scenarios, and the commands around it, as people run them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod canary;
mod commands;
mod determinism;
mod library;
#[path = "../common/share.rs"]
mod share;
mod support;
