//! The plugin binary, built alone, on every kind of Vault with the same tests: every way to
//! authenticate, the policy of the operators' procedure, outages, and the suite itself.
//!
//! Names begin with the kind: `cargo test -p kms-harness --test tiers vaults::vault::` runs one of them.

#[cfg(feature = "container")]
mod container;
mod kind;
mod life;
mod logins;
mod outage;
mod server;
mod suite;
mod ways;
mod world;

use std::path::PathBuf;
use std::sync::Arc;

use kind::{KINDS, Kind, Place};
use kms_harness::subject::own::Vocabulary;
use libtest_mimic::Trial;
use world::{Parts, World};

use crate::common::share::{share, whole};
use crate::common::tier::{self, Tier};

/// All of them.
pub fn tier(plugin: &Arc<PathBuf>) -> Tier {
    let mut trials = Vec::new();
    for kind in KINDS {
        let parts = kind.find().map(|place| Parts {
            place,
            plugin: Arc::clone(plugin),
        });
        Tests { kind, parts }.collect_in(&mut trials);
    }
    (trials, 12)
}

/// The tests of one kind of Vault.
struct Tests {
    kind: Kind,
    parts: Result<Parts, String>,
}

impl Tests {
    fn collect_in(&self, trials: &mut Vec<Trial>) {
        // The longest first, so that none of them runs alone at the end.
        // A simulated Vault takes part in the main job of `ci/test`, and in so much else that a share is played here.
        let simulated = self
            .parts
            .as_ref()
            .is_ok_and(|parts| matches!(parts.place, Place::Here(..)));
        if let Some(word) = self.kind.word().filter(|_| whole() || !simulated) {
            let kind = self.kind;
            trials.push(self.test("suite::main_job", move |parts| {
                suite::main_job(parts, word, kind)
            }));
        }
        #[cfg(feature = "container")]
        if self.kind == Kind::Container {
            trials.push(self.test(
                "interrupted_run_leaves_no_container",
                container::interrupted_run_leaves_no_container,
            ));
        }
        let kind = self.kind;
        if whole() || !simulated || kind == KINDS[0] {
            trials.push(
                self.test("suite::somebody_elses_vault_is_given_back", move |parts| {
                    suite::somebody_elses_vault_is_given_back(parts, kind)
                }),
            );
        }
        let mut lives = Vec::new();
        for &setup in self.kind.setups() {
            trials.push(self.test(
                &format!("server::credentials_have_exactly_the_policy::{setup}"),
                move |parts| server::credentials_have_exactly_the_policy(parts, setup),
            ));
            for vocabulary in [
                Vocabulary::StaticPod,
                Vocabulary::StaticToken,
                Vocabulary::Sidecar,
            ] {
                lives.extend([true, false].map(|lookup_self| (setup, vocabulary, lookup_self)));
            }
        }
        if simulated {
            // of each kind others
            let at = KINDS.iter().position(|other| *other == kind);
            lives.rotate_left(at.unwrap_or_default());
            lives = share(lives, 3);
        }
        for (setup, vocabulary, lookup_self) in lives {
            let name = format!("whole_life::{setup}::{vocabulary:?}::lookup_self_{lookup_self}");
            trials.push(self.test(&name, move |parts| async move {
                let world = World::start(&parts, setup, vocabulary, lookup_self).await?;
                life::whole_life(world).await
            }));
        }
        trials.push(self.test("logins::jwt", logins::jwt));
        trials.push(self.test("logins::taking_over", logins::taking_over));
        trials.push(self.test(
            "ways::a_password_that_is_changed_is_taken_up",
            ways::a_password_that_is_changed_is_taken_up,
        ));
        if matches!(self.kind, Kind::Server(_)) {
            // TLS, which the simulation has elsewhere.
            trials.push(self.test("logins::certificate", logins::certificate));
            trials.push(self.test("ways::through_a_proxy", ways::through_a_proxy));
            trials.push(self.test(
                "ways::an_authority_that_is_replaced_is_taken_up",
                ways::an_authority_that_is_replaced_is_taken_up,
            ));
        }
        trials.push(self.test("outage::sealed_and_unsealed", outage::sealed_and_unsealed));
        trials.push(self.test("outage::server_restarted", outage::server_restarted));
        trials.push(self.test("outage::server_frozen", outage::server_frozen));
        if self.kind.has_clusters() {
            trials.push(self.test("server::cluster_states", server::cluster_states));
            trials.push(self.test(
                "outage::one_of_three_nodes_lost",
                outage::one_of_three_nodes_lost,
            ));
        }
    }

    fn test<F, R>(&self, name: &str, body: F) -> Trial
    where
        F: FnOnce(Parts) -> R + Send + 'static,
        R: Future<Output = anyhow::Result<()>>,
    {
        tier::test(
            &format!("vaults::{}::{name}", self.kind),
            self.parts.clone(),
            body,
        )
    }
}
