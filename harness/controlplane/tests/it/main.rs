//! The model against recordings of the real controllers, and each of its parts alone.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(
    clippy::print_stdout,
    reason = "a test prints how many stories are alike"
)]

mod conditions;
mod invariants;
mod outages;
mod plane;
mod player;
mod quirks;
mod recordings;
mod stories;
mod traces;
mod traps;
mod view;
