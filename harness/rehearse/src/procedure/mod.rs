//! The procedures. The commands in them are the procedure's own, word for word, with the placeholders filled in.

mod backup;
mod change;
mod enable;
mod look;
mod restore;
mod rollout;
mod rotate;
mod verify;

use kms_apiserver_api::Trouble;
use sim_vault::Flavour;

use crate::options::{Options, Procedure};
use crate::report::{Part, Rehearsal};
use crate::scenario::Row;
use crate::stage::Stage;
use crate::world::{Plan, World};

pub use change::PROVIDER_NAMES;
pub use rollout::REVISIONS;

/// Plays what is asked for.
///
/// # Errors
/// The rehearsal itself could not go on.
pub async fn play(options: &Options) -> Result<Rehearsal, Trouble> {
    let parts = match options.procedure {
        Procedure::Enable => vec![enable::play(stage(options, "").await?).await?],
        Procedure::Verify => vec![verify::alone(stage(options, "KMS").await?).await?],
        Procedure::Rotate => vec![rotate::play(stage(options, "KMS").await?).await?],
        Procedure::MigrateFromLocal => {
            vec![change::play(stage(options, "aescbc").await?, change::TO_KMS).await?]
        }
        Procedure::BackToLocal => {
            vec![change::play(stage(options, "KMS").await?, change::TO_LOCAL).await?]
        }
        Procedure::Disable => {
            vec![change::play(stage(options, "KMS").await?, change::TO_NOTHING).await?]
        }
        Procedure::Backup => vec![backup::play(stage(options, "KMS").await?).await?],
        Procedure::Restore => restore::play(options).await?,
        Procedure::Monitor => vec![look::monitor(stage(options, "KMS").await?).await?],
        Procedure::Troubleshoot => look::troubleshoot(options).await?,
        Procedure::Collect => vec![look::collect(stage(options, "KMS").await?).await?],
    };
    Ok(rehearsal(options, parts))
}

fn rehearsal(options: &Options, parts: Vec<Part>) -> Rehearsal {
    let word = options.procedure.word();
    Rehearsal {
        procedure: match options.category {
            Some(category) => format!("{word} {}", category.word()),
            None => word.to_owned(),
        },
        mode: options.mode,
        nodes: options.nodes,
        objects: options.objects,
        seed: options.seed,
        held: parts.iter().all(Part::held),
        parts,
    }
}

/// A cluster that stands as the procedure finds it: never encrypted, or encrypted in one way.
async fn stage(options: &Options, before: &str) -> Result<Stage, Trouble> {
    let fault = options.fault.clone();
    let plan = plan(options, fault.as_ref().map(|(row, _)| &**row));
    let mut world = World::start(plan).await?;
    if !before.is_empty() {
        world.settled_in(before).await?;
    }
    Ok(Stage::new(world, fault))
}

fn plan(options: &Options, row: Option<&Row>) -> Plan {
    Plan {
        mode: options.mode,
        nodes: options.nodes,
        objects: options.objects,
        seed: options.seed,
        flavour: row.map_or(Flavour::Vault, Row::flavour),
    }
}

/// Puts what a store held back into it, and takes away what it did not hold.
///
/// # Errors
/// The store does not answer.
pub(crate) async fn put_back(
    world: &mut World,
    component: usize,
    content: &[(String, Vec<u8>)],
) -> Result<(), Trouble> {
    use kms_apiserver_node::store::{Expect, Store as _};
    let store = &world.ground.stores[component];
    let there = crate::world::servers::everything(store).await?;
    let refused = |error: kms_apiserver_node::store::StoreError| Trouble::new(error.to_string());
    for (key, value) in content {
        let value = bytes::Bytes::from(value.clone());
        store.put(key, value, Expect::Any).await.map_err(refused)?;
    }
    for (key, _) in there {
        if !content.iter().any(|(known, _)| *known == key) {
            store.delete(&key, Expect::Any).await.map_err(refused)?;
        }
    }
    Ok(())
}
