//! What holds for the workspace and for its tests.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod tiers;
mod workspace;
