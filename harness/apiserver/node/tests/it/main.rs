//! The simulated kube-apiserver, in virtual time.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "../conformance/mod.rs"]
mod conformance;
mod link;
mod object;
mod plugin;
mod properties;
mod rest;
mod store;
mod watchcache;
mod world;
