//! Every planted bug is caught in the simulation, by the invariant that is meant to see it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod bugs;
mod caught;
