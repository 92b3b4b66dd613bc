//! The conformance report: canonical JSON and its renderings.
//!
//! Check results and facts about a run go in, one [`Report`] comes out, and every rendering is a
//! pure function of it. The crate does no I/O, reads no clock and judges nothing.

mod build;
pub mod console;
mod json;
mod limits;
mod markdown;
pub mod model;
pub mod redact;
mod text;
mod verdict;

pub use build::{BuildError, Inputs, build};
pub use json::{Parsed, ReadError, UNSTABLE_FIELDS, digest, from_json, schema, to_json};
pub use limits::limits_of;
pub use markdown::markdown;
pub use model::Report;
pub use verdict::{exit_code, exit_meaning, is_missing, roll_up, weight, worst};
