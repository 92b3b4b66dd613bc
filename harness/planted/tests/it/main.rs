//! What is wrong is caught in the simulation: every planted bug by the invariant that is meant to see it, every invariant
//! by something, and under many faults with few of them left.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod bugs;
mod invariants;
mod models;
mod shrunk;
