//! What is wrong with a cluster's KMS encryption: evidence, its redaction, the diagnosis, and the debug bundle.
//!
//! No I/O, no clock, no randomness that was not given. Whoever gathers brings [`raw`] documents; [`intake`] makes
//! [`evidence`] of them and is the one place that lets anything through; [`diagnose()`] is a pure function over it.
//!
//! In reading order: [`raw`], [`sign`] (what a text is known for), [`veil`] (what may be shown of it), [`evidence`],
//! [`intake`], [`rows`] (what can be found), [`mod@diagnose`], [`finding`], [`bundle`], [`canary`].

#![forbid(unsafe_code)]

pub mod bundle;
pub mod canary;
pub mod diagnose;
pub mod evidence;
pub mod finding;
pub mod intake;
pub mod raw;
pub mod rows;
pub mod sign;
pub mod veil;

pub use diagnose::diagnose;
pub use evidence::Evidence;
pub use finding::Diagnosis;
