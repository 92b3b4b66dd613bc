//! What can go wrong, made: the rows of the fault table (`OCP-FAULT-01` to `-29`), the traps (`OCP-TRAP-01` to `-12`),
//! and public bugs of operators.
//!
//! What each is, how it shows, how the procedure's own means find it and what helps is in its file
//! ([`crate::scenario`]). [`make`] brings it about, [`show`] looks for what the file names, [`cure`] carries the remedy
//! out, and [`recovered`] judges what came of it.

pub mod cure;
mod kind;
pub mod make;
pub mod show;

use std::sync::Arc;
use std::time::Duration;

use kms_controlplane::generation::Generation;
use kms_controlplane::object::Secret;
use kms_controlplane::plane::COMPONENTS;
use sim_vault::Core;

use crate::report::Expectation;
use crate::scenario::Row;
use crate::world::World;

pub use cure::apply as remedy;
pub use kind::Kind;
pub use make::inject;
pub use show::ask as detected;
pub use show::look as seen;

/// A fault that has happened, with what its remedy needs.
pub struct Happened {
    /// Which.
    pub row: Arc<Row>,
    /// The step before which it happened.
    pub at: &'static str,
    /// What was kept of before.
    pub kept: Kept,
}

/// What was there before a fault.
#[derive(Default)]
pub struct Kept {
    /// Secrets of the control plane.
    pub secrets: Vec<Secret>,
    /// Everything in Vault.
    pub vault: Option<Core>,
    /// A fault on Vault's requests.
    pub requests: Option<sim_vault::FaultId>,
    /// The operators' generation.
    pub generation: Option<Generation>,
    /// The newest key number of each component.
    pub numbers: Vec<u64>,
    /// What was seen at once.
    pub evidence: Option<Expectation>,
    /// How many keys each component had.
    pub keys: Vec<usize>,
    /// What the condition `Encrypted` of kube-apiserver said.
    pub condition: Option<String>,
    /// Whole stores.
    pub stores: Vec<Vec<(String, Vec<u8>)>>,
}

fn expectation(text: impl Into<String>, held: bool, found: impl Into<String>) -> Expectation {
    Expectation {
        text: text.into(),
        held,
        found: found.into(),
    }
}

/// Whether the cluster came back: every server ready, nothing stuck, everything readable.
pub async fn recovered(world: &mut World) -> Vec<Expectation> {
    let limit = Duration::from_secs(6 * 3600);
    let wants_key = !matches!(world.plane.cluster.spec.mode.as_str(), "");
    let nodes = world.plan.nodes;
    let back = world
        .until(limit, |world| {
            let ready = (0..COMPONENTS.len()).all(|component| world.ready(component) == nodes);
            ready && (!wants_key || world.all_done())
        })
        .await;
    world.pass(Duration::from_secs(60)).await;
    let ready: Vec<String> = (0..COMPONENTS.len())
        .map(|it| world.ready(it).to_string())
        .collect();
    let mut all = vec![expectation(
        "every API server is ready again, and everything is migrated to the newest key",
        back,
        format!("{} of {nodes} ready by component", ready.join("/")),
    )];
    let lost = world.audit().await;
    all.push(expectation(
        "everything that was ever acknowledged can be read on every node",
        lost == 0,
        format!("{lost} reads failed"),
    ));
    let degraded = world.degraded();
    let texts: Vec<&str> = degraded.iter().map(|(_, kind, _)| kind.as_str()).collect();
    all.push(expectation(
        "no operator is Degraded",
        degraded.is_empty(),
        texts.join(", "),
    ));
    all
}
