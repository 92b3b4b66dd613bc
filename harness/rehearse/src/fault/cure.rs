//! Carrying a remedy out.

use kms_apiserver_api::Trouble;
use kms_controlplane::cluster::Management;
use kms_controlplane::key::key_number;
use kms_controlplane::object::{COMPONENT_LABEL, MANAGED_NAMESPACE};
use kms_controlplane::plane::COMPONENTS;
use serde_json::{Value, json};

use super::{Happened, make};
use crate::world::World;
use crate::world::plugin::plugin_host;
use crate::world::vault::{HOST, KEY, MOUNT};

/// Does what the row's remedy says.
///
/// # Errors
/// It cannot be done.
pub async fn apply(world: &mut World, happened: &Happened) -> Result<(), Trouble> {
    let kept = &happened.kept;
    match happened.row.id {
        "OCP-FAULT-01" => {
            world.refuses = None;
            world.set_type("KMS");
        }
        "OCP-FAULT-03" | "OCP-FAULT-09" | "OCP-FAULT-26" | "OCP-FAULT-29" => world.deploy()?,
        "OCP-FAULT-04" | "OCP-FAULT-05" => world.start_plugin(0)?,
        "OCP-FAULT-06" | "OCP-FAULT-07" | "OCP-FAULT-08" => world.vault.write_policy(&[]),
        "OCP-FAULT-10" | "OCP-FAULT-28" => {
            if let Some(snapshot) = &kept.vault {
                world.vault.restore(snapshot);
            }
            for (component, content) in kept.stores.iter().enumerate() {
                crate::procedure::put_back(world, component, content).await?;
            }
        }
        "OCP-FAULT-11" => make::key_config(world, &json!({"min_decryption_version": 1}))?,
        "OCP-FAULT-12" => {
            let path = format!("{MOUNT}/keys/{KEY}/soft-delete-restore");
            world.vault.admin("POST", &path, &Value::Null);
        }
        "OCP-FAULT-13" => world.vault.sim.unseal(),
        "OCP-FAULT-14" => world.vault.sim.lead(),
        "OCP-FAULT-15" => {
            world
                .vault
                .admin("DELETE", "sys/quotas/rate-limit/low", &Value::Null);
        }
        "OCP-FAULT-16" => {
            if let Some(fault) = kept.requests {
                world.vault.sim.clear(fault);
            }
        }
        "OCP-FAULT-17" | "OCP-FAULT-18" | "OCP-FAULT-21" => {
            for plugin in &world.plugins {
                plugin.way.set(None);
            }
            if let Some(other) = &mut world.other {
                other.break_connections();
                world.restart(0, None);
            }
        }
        "OCP-FAULT-19" | "OCP-FAULT-20" => {
            let plugin = plugin_host(0);
            world.ground.net.open(&plugin, HOST);
            world.ground.net.open(HOST, &plugin);
        }
        "OCP-FAULT-22" => {
            if let Some((target, value)) = world.damaged.take() {
                let server = world.place(0, 0);
                world.servers[server]
                    .api()
                    .store(&target, Some(value))
                    .await?;
            }
        }
        "OCP-FAULT-23" => world.rate = 23,
        "OCP-FAULT-24" => world.start_plugin(1)?,
        "OCP-FAULT-25" => world.undo_edits(),
        trap => cure_trap(world, trap, happened)?,
    }
    Ok(())
}

fn cure_trap(world: &mut World, id: &str, happened: &Happened) -> Result<(), Trouble> {
    let cluster = &mut world.plane.cluster;
    match id {
        "OCP-TRAP-01" => "aescbc".clone_into(&mut cluster.spec.mode),
        "OCP-TRAP-04" => "KMS".clone_into(&mut cluster.spec.mode),
        "OCP-TRAP-05" => cluster.components[0].management = Management::Managed,
        "OCP-TRAP-06" => {
            for secret in &happened.kept.secrets {
                let deleted = cluster.api.delete_secret(&secret.namespace, &secret.name);
                deleted.map_err(|error| Trouble::new(error.to_string()))?;
            }
        }
        "OCP-TRAP-07" => "KMS".clone_into(&mut cluster.spec.mode),
        "OCP-TRAP-12" => {
            for operator in &mut cluster.components {
                operator.deployer.real = false;
                operator.deployer.pod = None;
            }
        }
        _ => {
            if let Some(generation) = happened.kept.generation {
                cluster.generation = generation;
            }
            if id == "OCP-TRAP-11" {
                for operator in &mut cluster.components {
                    operator.deployer.real = false;
                    operator.deployer.pod = None;
                }
                cluster.spec.kms = Some(crate::world::plugin_spec());
            }
            let namespace = MANAGED_NAMESPACE;
            for (component, newest) in happened.kept.numbers.iter().enumerate() {
                for key in later(world, component, *newest) {
                    world.take_secret(namespace, &key)?;
                }
            }
            put_back(world, happened)?;
        }
    }
    world.act();
    Ok(())
}

/// Names of a component's key secrets with a higher number, readable or not.
fn later(world: &World, component: usize, newest: u64) -> Vec<String> {
    let api = &world.plane.cluster.api;
    let secrets = api.cached_secrets(MANAGED_NAMESPACE, COMPONENT_LABEL, COMPONENTS[component].0);
    let names = secrets.map(|secret| secret.name.clone());
    names
        .filter(|name| key_number(name).is_some_and(|number| number > newest))
        .collect()
}

/// Creates secrets again that were taken away, with a number of their own; one that is there is replaced.
fn put_back(world: &mut World, happened: &Happened) -> Result<(), Trouble> {
    for secret in &happened.kept.secrets {
        let api = &mut world.plane.cluster.api;
        let there = api.cached_secret(&secret.namespace, &secret.name).is_some();
        let done = if there {
            api.update_secret(secret.clone())
        } else {
            api.create_secret(secret.clone())
        };
        done.map_err(|error| Trouble::new(error.to_string()))?;
    }
    Ok(())
}
