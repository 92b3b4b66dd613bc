//! The command line as people run it, on real processes: a toy plugin, our own, and what is left
//! of both afterwards.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod cli;
#[path = "../../report/tests/it/fixture.rs"]
mod fixture;
mod front;
mod processes;
mod reports;
mod support;
mod tiers;
mod toy;
mod trials;
mod workspace;
