//! The plugin binary, built alone, against a real OpenBao: every way to authenticate, the policy of
//! the operators' procedure, faults of the server, and the suite itself.

#[path = "../common/mod.rs"]
mod common;
mod life;
mod outage;
mod server;
mod suite;
mod world;

use common::tier;
use kms_harness::subject::own::Vocabulary;
use world::{Parts, Server, World};

fn main() {
    let parts = Parts::find();
    let mut trials = Vec::new();
    let policy = server::credentials_have_exactly_the_policy;
    trials.push(tier::test(
        "server::credentials_have_exactly_the_policy",
        parts.clone(),
        policy,
    ));
    trials.push(tier::test(
        "server::cluster_states",
        parts.clone(),
        server::cluster_states,
    ));
    for server in [Server::Dev, Server::Raft(1)] {
        for vocabulary in [
            Vocabulary::StaticPod,
            Vocabulary::StaticToken,
            Vocabulary::Sidecar,
        ] {
            for lookup_self in [true, false] {
                let name =
                    format!("whole_life::{server}::{vocabulary:?}::lookup_self_{lookup_self}");
                trials.push(tier::test(
                    &name,
                    parts.clone(),
                    move |parts: Parts| async move {
                        life::whole_life(
                            World::start(&parts, server, vocabulary, lookup_self).await?,
                        )
                        .await
                    },
                ));
            }
        }
    }
    trials.push(tier::test(
        "outage::sealed_and_unsealed",
        parts.clone(),
        outage::sealed_and_unsealed,
    ));
    trials.push(tier::test(
        "outage::server_restarted",
        parts.clone(),
        outage::server_restarted,
    ));
    trials.push(tier::test(
        "outage::one_of_three_nodes_lost",
        parts.clone(),
        outage::one_of_three_nodes_lost,
    ));
    trials.push(tier::test(
        "suite::main_job",
        parts.clone(),
        suite::main_job,
    ));
    let address = suite::somebody_elses_vault_is_given_back;
    trials.push(tier::test(
        "suite::somebody_elses_vault_is_given_back",
        parts,
        address,
    ));
    tier::run(trials)
}
