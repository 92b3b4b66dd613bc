//! The operators' procedure for KMS encryption, played step by step on a simulated OpenShift cluster.
//!
//! The cluster is made of parts that are proven elsewhere: the control plane is [`kms_controlplane`], each API server
//! [`kms_apiserver_node`], each plugin the product's own source, each Vault [`sim_vault`]. This crate moves them
//! together in virtual time, writes the procedure's commands with what they print at that moment, and says which of its
//! expectations held. It reads no clock, no file and no network.
//!
//! In reading order: [`options`] (what can be asked for), [`world`] (the cluster), [`oc`] (what commands print),
//! [`stage`] (steps and expectations), [`procedure`], [`scenario`] (what can go wrong, as files), [`fault`] (how it is made
//! and undone), [`report`]; [`matrix`] (every fault at every phase of every migration path) and [`swarm`] (all of it drawn).

#![forbid(unsafe_code)]

pub mod fault;
pub mod many;
pub mod matrix;
pub mod oc;
pub mod options;
pub mod procedure;
pub mod report;
pub mod scenario;
pub mod stage;
pub mod swarm;
pub mod world;

use kms_apiserver_api::Trouble;

use options::Options;
use report::Rehearsal;

/// Plays a procedure. The same options give the same rehearsal, byte for byte.
///
/// # Errors
/// The rehearsal itself could not go on; what goes wrong on the cluster is in the rehearsal.
pub fn rehearse(options: &Options) -> Result<Rehearsal, Trouble> {
    kms_sim::run::virtual_time(options.seed, procedure::play(options))
}
