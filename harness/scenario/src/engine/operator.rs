//! Faults and operations that need API servers only: their configuration and restarts, the store, storage migration,
//! backup and restore.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use kms_apiserver_api::Trouble;
use kms_history::chaos::{Event, OpEnd, OpKind};
use serde_json::Value;
use tokio::time::sleep;

use super::load::{list_all, name_of};
use super::{Run, answered, locked, object_name, target, unsuccessful};
use crate::fault::{Damage, Fault, Provider};
use crate::plan::PlannedFault;
use crate::world::encryption_configuration;

/// How often a rewrite of one object is tried, and how often the list.
const TRIES: u32 = 10;
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(2);

/// What must be put back, and the backup.
#[derive(Default)]
pub(super) struct Keeper {
    /// Values before and after a damage, by the fault's id.
    damaged: Mutex<BTreeMap<String, Damaged>>,
    /// Configurations before a change, by fault and node.
    configured: Mutex<BTreeMap<(String, u32), Vec<Provider>>>,
    /// The newest backup: every object's value.
    backup: Mutex<Option<BTreeMap<String, Option<Vec<u8>>>>>,
}

struct Damaged {
    object: String,
    before: Vec<u8>,
    after: Vec<u8>,
}

/// Makes a fault; what it touched.
pub(super) async fn make(run: &Run, keeper: &Keeper, fault: &PlannedFault) -> Result<u64, Trouble> {
    match &fault.fault {
        Fault::ApiserverRestart => {
            for node in &fault.nodes {
                run.world.apiserver(*node).restart().await?;
            }
            Ok(fault.nodes.len() as u64)
        }
        Fault::ApiserverConfig(providers) => configure(run, keeper, fault, &providers.0).await,
        Fault::StoreDamage { damage, object } => {
            damage_value(run, keeper, &fault.id, *damage, *object).await
        }
        Fault::RewriteAll => rewrite_all(run, fault.nodes.first().copied().unwrap_or(0)).await,
        Fault::Backup => backup(run, keeper).await,
        Fault::Restore => restore(run, keeper).await,
        other => Err(Trouble::new(format!(
            "{} is made by the world",
            other.kind()
        ))),
    }
}

/// Undoes what lasts.
pub(super) async fn undo(run: &Run, keeper: &Keeper, fault: &PlannedFault) -> Result<(), Trouble> {
    match &fault.fault {
        Fault::ApiserverConfig(_) => {
            for node in &fault.nodes {
                let before = locked(&keeper.configured).remove(&(fault.id.clone(), *node));
                if let Some(before) = before {
                    set_providers(run, *node, before).await?;
                }
            }
            Ok(())
        }
        Fault::StoreDamage { .. } => {
            let damaged = locked(&keeper.damaged).remove(&fault.id);
            let Some(damaged) = damaged else {
                return Ok(());
            };
            let server = run.world.apiserver(0);
            let target = target(&damaged.object);
            // a write in between has made it whole; the old value would undo that write
            let stored = server.stored(&target).await?;
            if stored.is_some_and(|stored| stored.bytes == damaged.after) {
                server.store(&target, Some(damaged.before)).await?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

async fn configure(
    run: &Run,
    keeper: &Keeper,
    fault: &PlannedFault,
    providers: &[Provider],
) -> Result<u64, Trouble> {
    let mut changed = 0;
    for node in &fault.nodes {
        let before = usize::try_from(*node)
            .ok()
            .and_then(|node| locked(&run.configured).get(node).cloned())
            .ok_or_else(|| Trouble::new(format!("there is no node {node}")))?;
        if before != providers {
            changed += 1;
        }
        locked(&keeper.configured).insert((fault.id.clone(), *node), before);
        set_providers(run, *node, providers.to_vec()).await?;
    }
    Ok(changed)
}

async fn set_providers(run: &Run, node: u32, providers: Vec<Provider>) -> Result<(), Trouble> {
    let text = encryption_configuration(&providers, &run.world.endpoint(node));
    run.world.apiserver(node).write_config(&text).await?;
    let names: Vec<_> = providers
        .iter()
        .map(|provider| format!("{provider:?}").to_lowercase())
        .collect();
    run.recorder
        .note(Some(node), Event::Configured(names.join(",")));
    if let Ok(place) = usize::try_from(node)
        && let Some(own) = locked(&run.configured).get_mut(place)
    {
        *own = providers;
    }
    Ok(())
}

async fn damage_value(
    run: &Run,
    keeper: &Keeper,
    id: &str,
    damage: Damage,
    number: u32,
) -> Result<u64, Trouble> {
    let object = object_name(0, number);
    let server = run.world.apiserver(0);
    let stored = server.stored(&target(&object)).await?;
    let before = stored
        .ok_or_else(|| Trouble::new(format!("{object} is not stored")))?
        .bytes;
    let after = match damage {
        Damage::Data => flipped(&before, before.len() / 2),
        Damage::WrappedKey => {
            let at = super::stored::wrapped_key(&before)
                .ok_or_else(|| Trouble::new(format!("{object} has no wrapped key")))?;
            flipped(&before, at)
        }
        Damage::Truncated => before[..before.len() / 2].to_vec(),
        Damage::Swapped => {
            let other = if number == 0 { 1 } else { number - 1 };
            let other = object_name(0, other);
            let stored = server.stored(&target(&other)).await?;
            stored
                .ok_or_else(|| Trouble::new(format!("{other} is not stored")))?
                .bytes
        }
    };
    server.store(&target(&object), Some(after.clone())).await?;
    let damaged = Damaged {
        object,
        before,
        after,
    };
    locked(&keeper.damaged).insert(id.to_owned(), damaged);
    Ok(1)
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 0x10;
    }
    bytes
}

/// Reads and writes back every object, as storage migration does: a conflict is tried again, what is gone is left out.
async fn rewrite_all(run: &Run, node: u32) -> Result<u64, Trouble> {
    let mut tries = 0;
    let list = loop {
        let answer = list_all(run, node).await;
        if let Ok(list) = &answer
            && list.ok()
        {
            break list.clone();
        }
        tries += 1;
        if tries == TRIES {
            return Err(Trouble::new(format!(
                "the list failed: {:?}",
                unsuccessful(&answer)
            )));
        }
        sleep(PAUSE).await;
    };
    let mut rewritten = 0;
    for object in list.items() {
        if rewrite(run, node, name_of(object)).await {
            rewritten += 1;
        }
    }
    Ok(rewritten)
}

async fn rewrite(run: &Run, node: u32, object: &str) -> bool {
    let server = run.world.apiserver(node);
    let target = target(object);
    let op = run.invoked(node, OpKind::Rewrite, object, None);
    let mut end = OpEnd::Failed {
        code: 0,
        message: "not tried".to_owned(),
    };
    for attempt in 0..TRIES {
        if attempt > 0 {
            sleep(PAUSE).await;
        }
        let read = answered(server.get(&target)).await;
        let body: Value = match &read {
            Ok(answer) if answer.ok() => answer.json().clone(),
            Ok(answer) if answer.code == 404 => {
                end = unsuccessful(&read);
                break;
            }
            _ => {
                end = unsuccessful(&read);
                continue;
            }
        };
        let written = answered(server.update(&target, body)).await;
        if written.as_ref().is_ok_and(kms_apiserver_api::Answer::ok) {
            end = OpEnd::Ok {
                value: None,
                items: None,
            };
            break;
        }
        end = unsuccessful(&written);
    }
    let done = matches!(end, OpEnd::Ok { .. });
    run.ended(node, op, end);
    done
}

async fn backup(run: &Run, keeper: &Keeper) -> Result<u64, Trouble> {
    let objects: Vec<String> = locked(&run.written).iter().cloned().collect();
    let server = run.world.apiserver(0);
    let mut values = BTreeMap::new();
    for object in objects {
        let stored = server.stored(&target(&object)).await?;
        values.insert(object, stored.map(|stored| stored.bytes));
    }
    let count = values.values().flatten().count() as u64;
    *locked(&keeper.backup) = Some(values);
    Ok(count)
}

async fn restore(run: &Run, keeper: &Keeper) -> Result<u64, Trouble> {
    let backup = locked(&keeper.backup).clone();
    let backup = backup.ok_or_else(|| Trouble::new("there is no backup"))?;
    let objects: Vec<String> = locked(&run.written).iter().cloned().collect();
    let server = run.world.apiserver(0);
    let mut count = 0;
    for object in objects {
        let value = backup.get(&object).cloned().flatten();
        count += u64::from(value.is_some());
        server.store(&target(&object), value).await?;
    }
    Ok(count)
}
