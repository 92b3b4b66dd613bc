//! Tests of the report from outside.

mod build;
mod fixture;
mod golden;
mod json;
mod latency;
mod redact;
mod renderings;
mod verdict;
