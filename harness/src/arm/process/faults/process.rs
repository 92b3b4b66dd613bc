//! What happens to plugins: their processes and their credentials.

use std::sync::Arc;

use anyhow::{Context, Result};
use kms_history::chaos::Event;
use kms_scenario::fault::Fault;
use kms_scenario::world::Order;
use nix::sys::signal::Signal;

use super::Active;
use crate::arm::process::world::Inner;
use crate::secret_file;

pub async fn process(world: &Arc<Inner>, order: &Order) -> Result<Active> {
    let mut changed = 0;
    for &number in &order.nodes {
        let node = world.node(number)?;
        let mut plugin = node.plugin.lock().await;
        let stopped = |how: &str| {
            world
                .recorder
                .note(Some(number), Event::PluginStopped(how.to_owned()));
        };
        match &order.fault {
            Fault::PluginFreeze => {
                plugin.signal(Signal::SIGSTOP)?;
                changed += 1;
            }
            Fault::PluginStop => {
                if let Some(how) = plugin.stop().await? {
                    stopped(&how);
                    changed += 1;
                }
            }
            // A killed process leaves its socket's file in any case.
            kill => {
                if plugin.kill() {
                    stopped("killed");
                    changed += 1;
                }
                if *kill != Fault::PluginKill {
                    plugin.start()?;
                    world.recorder.note(Some(number), Event::PluginStarted);
                }
            }
        }
    }
    if !order.fault.lasts() {
        return Ok(Active::once(changed));
    }
    let world = Arc::clone(world);
    let (nodes, freeze) = (order.nodes.clone(), order.fault == Fault::PluginFreeze);
    Ok(Active::lasting(
        Box::new(move || changed),
        move || async move {
            for number in nodes {
                let mut plugin = world.node(number)?.plugin.lock().await;
                if freeze {
                    plugin.signal(Signal::SIGCONT)?;
                } else {
                    plugin.start()?;
                    world.recorder.note(Some(number), Event::PluginStarted);
                }
            }
            Ok(())
        },
    ))
}

pub async fn credentials(world: &Arc<Inner>, order: &Order) -> Result<Active> {
    let mut old = Vec::new();
    for &number in &order.nodes {
        for file in &world.node(number)?.credentials {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("read {}", file.display()))?;
            old.push((file.clone(), zeroize::Zeroizing::new(text)));
        }
    }
    let changed = old.len() as u64;
    match &order.fault {
        Fault::CredentialsChanged => {
            for &number in &order.nodes {
                let folder = world.folder_of(number);
                world.vault()?.credentials(&folder).await?;
            }
            return Ok(Active::once(changed));
        }
        Fault::CredentialsRemoved => {
            for (file, _) in &old {
                std::fs::remove_file(file).with_context(|| format!("remove {}", file.display()))?;
            }
        }
        _ => {
            for (file, _) in &old {
                secret_file::replace(file, "rubbish\u{1}")?;
            }
        }
    }
    Ok(Active::lasting(
        Box::new(move || changed),
        move || async move {
            for (file, text) in old {
                secret_file::replace(&file, &text)?;
            }
            Ok(())
        },
    ))
}
