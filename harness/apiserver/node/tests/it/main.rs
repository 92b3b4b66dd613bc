//! The simulated kube-apiserver, in virtual time.

#[path = "../conformance.rs"]
mod conformance;
mod object;
mod plugin;
mod store;
mod watchcache;
mod world;
