//! The conformance report: canonical JSON and its renderings.
//!
//! Check results and facts about a run go in, one [`Report`] comes out, and every rendering is a
//! pure function of it. The crate does no I/O, reads no clock and judges nothing.

mod badge;
mod build;
mod cases;
mod compare;
pub mod console;
mod ctrf;
mod form;
mod hgrm;
mod html;
mod intoto;
mod json;
mod junit;
mod limits;
mod markdown;
mod merge;
pub mod model;
pub mod redact;
mod summary;
mod table;
mod text;
mod verdict;

pub use badge::{Refusal, badge};
pub use build::{BuildError, Inputs, build, requirements};
pub use compare::{Change, Comparison, Direction, compare};
pub use ctrf::ctrf;
pub use form::Form;
pub use hgrm::latency_files;
pub use html::html;
pub use intoto::{Unattested, report_statement, test_result_statement};
pub use json::{Parsed, ReadError, UNSTABLE_FIELDS, digest, from_json, schema, to_json};
pub use junit::junit;
pub use limits::limits_of;
pub use markdown::markdown;
pub use merge::{Identity, Unmergeable, merge};
pub use model::Report;
pub use summary::summary;
pub use table::table;
pub use verdict::{exit_code, exit_meaning, is_missing, roll_up, weight, worst};
