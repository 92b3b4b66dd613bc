//! Arms: the worlds that scenarios are played in.

#[cfg(feature = "kube")]
pub mod cluster;
pub mod process;
