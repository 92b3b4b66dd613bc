//! The simulated kube-apiserver, in virtual time.

#[path = "../conformance.rs"]
mod conformance;
mod object;
mod plugin;
mod properties;
mod rest;
mod store;
mod watchcache;
mod world;
