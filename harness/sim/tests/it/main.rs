//! Simulated worlds, driven by hand: what each fault does to a real plugin between simulated peers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod bench;
mod faults;
mod processes;
mod repeat;
