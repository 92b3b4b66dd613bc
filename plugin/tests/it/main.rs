//! Integration tests, one binary.

mod http;
mod log;
mod metrics;
mod socket;
