//! `doctor` and `collect` on real parts: real Vaults, the plugin's socket, a real kube-apiserver. Names begin with the
//! kind of Vault, or with `cluster`.

#[cfg(feature = "kube")]
mod cluster;
mod said;
mod socket;
mod vault;

use std::path::PathBuf;
use std::sync::Arc;

use kms_harness::vault::family::Family;
use libtest_mimic::Trial;
use sim_vault::Flavour;
use vault::{Fault, Kind, Parts};

use crate::common::tier::{self, Tier};

/// All of them.
pub fn tier(plugin: &Arc<PathBuf>) -> Tier {
    let mut trials = Vec::new();
    #[cfg(feature = "kube")]
    trials.extend(cluster::trials(plugin));
    for kind in [
        Kind::Sim(Flavour::OpenBao),
        Kind::Server(Family::OpenBao),
        Kind::Server(Family::Vault),
    ] {
        trials.extend(of(kind, plugin));
    }
    (trials, 12)
}

fn of(kind: Kind, plugin: &Arc<PathBuf>) -> Vec<Trial> {
    let parts = kind.find().map(|binary| Parts {
        kind,
        binary,
        plugin: Arc::clone(plugin),
    });
    let mut trials = Vec::new();
    for fault in Fault::ALL
        .into_iter()
        .filter(|fault| fault.is_known_to(kind))
    {
        trials.push(tier::test(
            &format!("doctor::{kind}::vault::{fault:?}"),
            parts.clone(),
            move |parts| vault::is_found(parts, fault),
        ));
    }
    trials.push(tier::test(
        &format!("doctor::{kind}::socket::from_healthy_to_gone"),
        parts.clone(),
        socket::from_healthy_to_gone,
    ));
    trials.push(tier::test(
        &format!("doctor::{kind}::collect::nothing_of_a_real_system_leaks"),
        parts,
        socket::nothing_of_a_real_system_leaks,
    ));
    trials
}
