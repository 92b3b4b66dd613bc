//! The proxies between real sockets.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod socket;
mod tcp;
