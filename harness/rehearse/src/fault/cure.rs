//! Carrying a remedy out.

use kms_apiserver_api::Trouble;
use kms_controlplane::cluster::Management;
use kms_controlplane::key::key_number;
use kms_controlplane::object::{COMPONENT_LABEL, MANAGED_NAMESPACE};
use kms_controlplane::operand::pod_name;
use kms_controlplane::plane::COMPONENTS;
use serde_json::{Value, json};

use super::{Happened, Kind, make};
use crate::world::World;
use crate::world::plugin::plugin_host;
use crate::world::vault::{HOST, KEY, MOUNT};

/// Does what the row's remedy says.
///
/// # Errors
/// It cannot be done.
pub async fn apply(world: &mut World, happened: &Happened) -> Result<(), Trouble> {
    let kept = &happened.kept;
    match happened.row.fault() {
        Kind::SpecRefused => {
            world.refuses = None;
            world.set_type("KMS");
        }
        Kind::TransitKeyMisspelt
        | Kind::PasswordChanged
        | Kind::PluginRemoved
        | Kind::PluginKilled => world.deploy()?,
        Kind::PluginMissing | Kind::PluginCrashLoop => world.start_plugin(0)?,
        Kind::EncryptDenied | Kind::DecryptDenied | Kind::KeyReadDenied => {
            world.vault.write_policy(&[])
        }
        Kind::KeyDeleted | Kind::TransitKeyReplaced => {
            if let Some(snapshot) = &kept.vault {
                world.vault.restore(snapshot);
            }
            for (component, content) in kept.stores.iter().enumerate() {
                crate::procedure::put_back(world, component, content).await?;
            }
        }
        Kind::MinDecryptionVersionRaised => {
            make::key_config(world, &json!({"min_decryption_version": 1}))?
        }
        Kind::KeySoftDeleted => {
            let path = format!("{MOUNT}/keys/{KEY}/soft-delete-restore");
            world.vault.admin("POST", &path, &Value::Null);
        }
        Kind::VaultSealed => world.vault.sim.unseal(),
        Kind::VaultWithoutLeader => world.vault.sim.lead(),
        Kind::RateLimited => {
            world
                .vault
                .admin("DELETE", "sys/quotas/rate-limit/low", &Value::Null);
        }
        Kind::VaultSlow => {
            if let Some(fault) = kept.requests {
                world.vault.sim.clear(fault);
            }
        }
        Kind::DnsFailure | Kind::CertificateExpired | Kind::AnotherVault => {
            for plugin in &world.plugins {
                plugin.way.set(None);
            }
            if let Some(other) = &mut world.other {
                other.break_connections();
                world.restart(0, None);
            }
        }
        Kind::NodeParted | Kind::RotationUnseen => {
            let plugin = plugin_host(0);
            world.ground.net.open(&plugin, HOST);
            world.ground.net.open(HOST, &plugin);
        }
        Kind::ObjectDamaged => {
            if let Some((target, value)) = world.damaged.take() {
                let server = world.place(0, 0);
                world.servers[server]
                    .api()
                    .store(&target, Some(value))
                    .await?;
            }
        }
        Kind::MigrationSlow => world.rate = 23,
        Kind::WriterPluginKilled => world.start_plugin(1)?,
        Kind::ConfigEditedByHand => world.undo_edits(),
        // nothing has to be done
        Kind::PowerLost | Kind::SameConfigRolledAgain | Kind::TypeWrittenAgain => {}
        by_operators => with_operators(world, by_operators, happened)?,
    }
    Ok(())
}

fn with_operators(world: &mut World, kind: Kind, happened: &Happened) -> Result<(), Trouble> {
    let cluster = &mut world.plane.cluster;
    match kind {
        Kind::RunningConfigLost => "aescbc".clone_into(&mut cluster.spec.mode),
        Kind::UnknownType => "KMS".clone_into(&mut cluster.spec.mode),
        Kind::OperatorUnmanaged => cluster.components[0].management = Management::Managed,
        Kind::ForeignKeySecret => {
            for secret in &happened.kept.secrets {
                let deleted = cluster.api.delete_secret(&secret.namespace, &secret.name);
                deleted.map_err(|error| Trouble::new(error.to_string()))?;
            }
        }
        Kind::KeysAndConfigLost => "KMS".clone_into(&mut cluster.spec.mode),
        Kind::DeadPodLeft => {
            cluster
                .api
                .remove_pod(COMPONENTS[0].0, &pod_name(make::LOST_NODE));
        }
        Kind::SpecChangedAfterPreflight => {
            for operator in &mut cluster.components {
                operator.deployer.real = false;
            }
            cluster.spec.kms = Some(crate::world::plugin_spec());
        }
        Kind::PreflightPodCrashed => {
            for operator in &mut cluster.components {
                operator.deployer.real = false;
                operator.deployer.pod = None;
            }
        }
        _ => {
            if let Some(generation) = happened.kept.generation {
                cluster.generation = generation;
            }
            if kind == Kind::KeySecretLostBeforePreflight {
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
