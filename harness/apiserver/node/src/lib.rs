//! A simulated kube-apiserver: the half that stores, caches and serves.
//!
//! Secrets, ConfigMaps and Namespaces in a store with revisions, behind a watch cache for each kind, encrypted by the
//! model in `kms-apiserver`. Nothing here knows a plugin, a Vault or a scenario: it is given a store, a way to dial
//! sockets, a configuration file, time and chance.
//!
//! Reading order: [`store`], [`object`], [`registry`] (an object in the store), [`encryption`] and [`rpc`] (the model with
//! a plugin), [`cache`] and [`cacher`], [`rest`], [`serve`], [`http`], [`node`] (all of it together).

#![forbid(unsafe_code)]

pub mod cache;
pub mod cacher;
pub mod clock;
pub mod encryption;
pub mod http;
pub mod node;
pub mod object;
pub mod registry;
pub mod rest;
pub mod rpc;
pub mod serve;
pub mod simulated;
pub mod store;
