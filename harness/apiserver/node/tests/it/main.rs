//! The simulated kube-apiserver, in virtual time.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod authority;
#[path = "../conformance/mod.rs"]
mod conformance;
mod object;
mod plugin;
mod properties;
mod rest;
mod store;
mod watchcache;
mod world;
