//! Simulated worlds, driven by hand: what each fault does to a real plugin between simulated peers.

mod bench;
mod faults;
mod processes;
mod repeat;
