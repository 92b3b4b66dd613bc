//! The API server in front of the plugin.
//!
//! In reading order: [`choice`] (what `--apiserver` means), [`start`] (any of them behind `trait ApiServer`), [`ready`],
//! [`passage`] (what is asked of one in a run). With the feature `kube`, what is a process or a cluster: `parts` (where the binaries are), `caller` (requests by the
//! `kube` client), `etcd` (a store of one's own, and what lies in it), `flags` (files and flags of a server; its ports),
//! `launched` (a started one: a real kube-apiserver, or anything that takes its flags), `cluster` (one that somebody else
//! runs), `lent` (such a one for a run's plugin). Not for: the simulated server, which is a crate of its own.

#[cfg(feature = "kube")]
pub mod caller;
pub mod choice;
#[cfg(feature = "kube")]
pub mod cluster;
#[cfg(feature = "kube")]
pub mod etcd;
#[cfg(feature = "kube")]
pub mod flags;
#[cfg(feature = "kube")]
pub mod launched;
#[cfg(feature = "kube")]
pub mod lent;
#[cfg(feature = "kube")]
pub mod parts;
pub mod passage;
pub mod ready;
pub mod start;
