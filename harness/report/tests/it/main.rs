//! Tests of the report from outside.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

mod badge;
mod build;
mod fixture;
mod forms;
mod golden;
mod hostile;
mod json;
mod latency;
mod redact;
mod renderings;
mod several;
mod verdict;
