//! What holds for all checks, whatever they look at.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod registry;
mod vacuity;
