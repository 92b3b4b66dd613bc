//! The language and its errors, plans, and shrinking.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod bad;
mod good;
