//! The API server in front of the plugin, where it is a process or a cluster.
//!
//! In reading order: [`choice`] (what `--apiserver` means), [`caller`] (requests by the `kube` client), [`etcd`] (a store
//! of one's own, and what lies in it), [`flags`] (files and flags of a server; its ports), [`launched`] (a started one: a real
//! kube-apiserver, or anything that takes its flags), [`cluster`] (one that somebody else runs), [`start`] (any of them behind `trait
//! ApiServer`). Not for: the simulated server, which is a crate of its own, and what is asked of any of them.

pub mod caller;
pub mod choice;
pub mod cluster;
pub mod etcd;
pub mod flags;
pub mod launched;
mod ports;
pub mod start;
