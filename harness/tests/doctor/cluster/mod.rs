//! A real kube-apiserver by its kubeconfig, with etcd, the plugin and an OpenBao of its own behind it.
//!
//! `faults`: as any cluster has them. `operators`: the same with the objects of OpenShift's operators in it.

mod faults;
mod kubelet;
mod objects;
mod operators;
mod world;

use std::path::PathBuf;
use std::sync::Arc;

use kms_harness::apiserver::parts;
use kms_harness::vault::family::Family;
use libtest_mimic::Trial;

use super::vault::{Kind, Parts as Vault};
use crate::common::tier;

/// What a cluster is made of.
#[derive(Clone)]
pub struct Parts {
    server: parts::Parts,
    vault: Vault,
}

impl Parts {
    fn find(plugin: &Arc<PathBuf>) -> Result<Self, String> {
        let server = parts::Parts::find().map_err(|error| format!("{error:#}"))?;
        let kind = Kind::Server(Family::OpenBao);
        let vault = Vault {
            kind,
            binary: kind.find()?,
            plugin: Arc::clone(plugin),
        };
        Ok(Self { server, vault })
    }
}

/// Those that take longest.
pub fn trials(plugin: &Arc<PathBuf>) -> Vec<Trial> {
    let parts = Parts::find(plugin);
    vec![
        tier::test(
            "doctor::cluster::each_fault_of_vault_and_plugin_is_named",
            parts.clone(),
            faults::of_vault_and_plugin,
        ),
        tier::test(
            "doctor::cluster::what_operators_say_is_read_and_collected",
            parts,
            operators::are_read_and_collected,
        ),
    ]
}
