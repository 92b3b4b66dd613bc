//! Bringing a fault about.

use std::sync::Arc;
use std::time::Duration;

use kms_apiserver::version::Version;
use kms_apiserver_api::{StoredValue, Target, Trouble};
use kms_controlplane::cluster::target_config_name;
use kms_controlplane::encryption_config::{CONFIG_KEY, EncryptionConfiguration, Provider};
use kms_controlplane::generation::Generation;
use kms_controlplane::key_secret::{KEY_DATA, key_secret_name};
use kms_controlplane::object::{
    COMPONENT_LABEL, CONFIG_NAMESPACE, MANAGED_NAMESPACE, PREFIX, Pod, PodPhase, Secret,
};
use kms_controlplane::operand::pod_name;
use kms_controlplane::plane::COMPONENTS;
use serde_json::{Value, json};

use super::{Happened, Kept, Kind, expectation};
use crate::oc;
use crate::report::Expectation;
use crate::scenario::Row;
use crate::world::plugin::{Obstacle, plugin_host};
use crate::world::servers::everything;
use crate::world::vault::{HOST, KEY, MOUNT, Vault};
use crate::world::{Pending, World};

/// A control plane node that is gone.
pub const LOST_NODE: &str = "ip-10-0-99-99.compute.internal";

/// The host of the other Vault.
pub const OTHER: &str = "vault-b.example.com";

const KAS: &str = COMPONENTS[0].0;

/// Makes a fault happen now, before the step.
///
/// # Errors
/// The cluster is not in the state that it needs.
pub async fn inject(
    world: &mut World,
    row: Arc<Row>,
    at: &'static str,
) -> Result<Happened, Trouble> {
    let mut kept = Kept {
        keys: (0..COMPONENTS.len())
            .map(|it| world.keys(it).len())
            .collect(),
        condition: Some(oc::encrypted(world)),
        ..Kept::default()
    };
    match row.fault() {
        Kind::SpecRefused => {
            world.refuses = Some("error: apiservers.config.openshift.io \"cluster\" is invalid: spec.encryption.type: Unsupported value: \"kms\": supported values: \"\", \"identity\", \"aescbc\", \"aesgcm\", \"KMS\"".to_owned());
        }
        Kind::ReferencedSecretMissing => {
            kept.secrets
                .push(world.take_secret(CONFIG_NAMESPACE, "vault-approle")?);
            world.act();
        }
        Kind::TransitKeyMisspelt => {
            let mut flags = world.vault.flags();
            "kms-kye".clone_into(&mut flags.key);
            for plugin in &mut world.plugins {
                plugin.start(&flags)?;
            }
        }
        Kind::PluginMissing => world.plugins[0].remove(),
        Kind::PluginCrashLoop => {
            world.plugins[0].kill();
            world.plugins[0].crashes = Some(5);
        }
        Kind::EncryptDenied => {
            world.vault.write_policy(&["transit/encrypt"]);
            world.restart(0, Some(0));
        }
        Kind::DecryptDenied => {
            world.vault.write_policy(&["transit/decrypt"]);
            world.restart(0, Some(0));
        }
        Kind::KeyReadDenied => world.vault.write_policy(&["transit/keys"]),
        Kind::PasswordChanged => world.vault.change_password(),
        Kind::KeyDeleted => {
            kept.vault = Some(world.vault.snapshot());
            world.vault.sim.delete_key(MOUNT, KEY);
        }
        Kind::MinDecryptionVersionRaised => {
            key_config(world, &json!({"min_decryption_version": 2}))?;
            world.restart(0, Some(0));
        }
        Kind::KeySoftDeleted => {
            admin(
                world,
                "DELETE",
                &format!("{MOUNT}/keys/{KEY}/soft-delete"),
                &Value::Null,
            )?;
        }
        Kind::VaultSealed => world.vault.sim.seal(),
        Kind::VaultWithoutLeader => world.vault.sim.step_down(),
        Kind::RateLimited => {
            let quota = json!({"path": format!("{MOUNT}/"), "rate": 1, "interval": "60s"});
            admin(world, "POST", "sys/quotas/rate-limit/low", &quota)?;
            world.restart(0, None);
        }
        Kind::VaultSlow => {
            kept.requests = Some(world.vault.slow(Duration::from_secs(15)));
            world.restart(0, Some(0));
        }
        Kind::DnsFailure => block(world, &Obstacle::NoSuchHost),
        Kind::CertificateExpired => {
            let text = "invalid peer certificate: Expired".to_owned();
            block(world, &Obstacle::Certificate(text));
        }
        Kind::NodeParted => cut(world),
        Kind::RotationUnseen => {
            cut(world);
            world.pass(Duration::from_secs(100)).await;
            kept.evidence = Some(uneven(world).await?);
        }
        Kind::AnotherVault => {
            let other = Vault::copy(&world.vault, OTHER);
            world.other = Some(other);
            block(world, &Obstacle::Elsewhere(OTHER.to_owned()));
            world.restart(0, Some(0));
        }
        Kind::ObjectDamaged => world.pending = Some(Pending::Damage),
        Kind::MigrationSlow => world.rate = 1,
        Kind::WriterPluginKilled => world.pending = Some(Pending::KillWriter(1)),
        Kind::ConfigEditedByHand => {
            let config = without_kms(world)?;
            world.edit(0, Some(0), Some(&config));
        }
        Kind::PluginRemoved => world.plugins.iter_mut().for_each(|plugin| plugin.remove()),
        Kind::KeySecretLost => {
            let name = newest_key(world)?;
            kept.secrets
                .push(world.take_secret(MANAGED_NAMESPACE, &name)?);
            world.act();
        }
        Kind::TransitKeyReplaced => {
            kept.vault = Some(world.vault.snapshot());
            for store in &world.ground.stores {
                kept.stores.push(everything(store).await?);
            }
            world.vault.sim.delete_key(MOUNT, KEY);
            world.vault.sim.create_key(MOUNT, KEY, "aes256-gcm96");
            for component in 0..COMPONENTS.len() {
                world.restart(component, None);
            }
        }
        Kind::PluginKilled => world.plugins[0].kill(),
        Kind::PowerLost => kept.evidence = Some(lose_power(world).await?),
        by_operators => with_operators(world, by_operators, &mut kept)?,
    }
    Ok(Happened { row, at, kept })
}

/// What goes wrong among the operators and their objects.
fn with_operators(world: &mut World, kind: Kind, kept: &mut Kept) -> Result<(), Trouble> {
    match kind {
        Kind::RunningConfigLost => {
            let revision = world.plane.operands[0].latest;
            kept.secrets
                .push(world.take_secret(KAS, &format!("{CONFIG_KEY}-{revision}"))?);
        }
        Kind::TargetConfigLostWhileRolling => world.pending = Some(Pending::LoseTarget),
        Kind::OperatorsWithoutKms => under(world, Generation::Generic, kept),
        Kind::UnknownType => "secretbox".clone_into(&mut world.plane.cluster.spec.mode),
        Kind::OperatorUnmanaged => {
            world.plane.cluster.components[0].management =
                kms_controlplane::cluster::Management::Unmanaged;
        }
        Kind::ForeignKeySecret => {
            let next = world
                .keys(0)
                .last()
                .and_then(|key| key.number())
                .unwrap_or(0)
                + 1;
            let mut secret =
                Secret::new(MANAGED_NAMESPACE, &key_secret_name(KAS, &next.to_string()));
            secret.set_note("mode", "bogus");
            secret
                .labels
                .insert(COMPONENT_LABEL.to_owned(), KAS.to_owned());
            secret.data.insert(KEY_DATA.to_owned(), vec![b'k'; 32]);
            kept.secrets.push(secret.clone());
            refused(world.plane.cluster.api.create_secret(secret))?;
        }
        Kind::KeysAndConfigLost => {
            let revision = world.plane.operands[0].latest;
            for key in world.keys(0) {
                world.take_secret(MANAGED_NAMESPACE, &key_secret_name(KAS, &key.name))?;
                world.act();
            }
            world.take_secret(MANAGED_NAMESPACE, &target_config_name(KAS))?;
            world.act();
            world.take_secret(KAS, &format!("{CONFIG_KEY}-{revision}"))?;
        }
        Kind::AnnotationRemoved => {
            let name = newest_key(world)?;
            let mut secret = refused(world.plane.cluster.api.secret(MANAGED_NAMESPACE, &name))?;
            kept.secrets.push(secret.clone());
            secret.annotations.remove(&format!("{PREFIX}kms-config"));
            refused(world.plane.cluster.api.update_secret(secret))?;
        }
        Kind::OperatorsOfNextGeneration => under(world, Generation::V2, kept),
        Kind::OperatorsOfFormerGeneration => under(world, Generation::V1, kept),
        Kind::KeySecretLostBeforePreflight => {
            for operator in &mut world.plane.cluster.components {
                operator.deployer.real = true;
            }
            if let Some(kms) = &mut world.plane.cluster.spec.kms {
                "https://other.example.com:8200".clone_into(&mut kms.vault.vault_address);
            }
            let name = newest_key(world)?;
            kept.secrets
                .push(world.take_secret(MANAGED_NAMESPACE, &name)?);
        }
        Kind::PreflightPodCrashed => {
            for operator in &mut world.plane.cluster.components {
                operator.deployer.real = true;
            }
            world.pending = Some(Pending::CrashPreflight);
        }
        Kind::SpecChangedAfterPreflight => {
            for operator in &mut world.plane.cluster.components {
                operator.deployer.real = true;
            }
            world.pending = Some(Pending::PassPreflight);
        }
        Kind::DeadPodLeft => {
            let newest = world.plane.operands[0].latest;
            let pod = Pod {
                name: pod_name(LOST_NODE),
                node: LOST_NODE.to_owned(),
                revision: newest.to_string(),
                phase: PodPhase::Failed,
                ready: false,
            };
            world.plane.cluster.api.set_pod(KAS, pod);
        }
        Kind::SameConfigRolledAgain => {
            let operand = &mut world.plane.operands[0];
            let api = &mut world.plane.cluster.api;
            let running = refused(api.secret(KAS, &format!("{CONFIG_KEY}-{}", operand.latest)))?;
            operand.latest += 1;
            let mut next = Secret::new(KAS, &format!("{CONFIG_KEY}-{}", operand.latest));
            next.data = running.data;
            refused(api.create_secret(next))?;
        }
        Kind::TypeWrittenAgain => {
            let mode = world.plane.cluster.spec.mode.clone();
            world.set_type(&mode);
        }
        other => return Err(Trouble::new(format!("{other:?} is not among them"))),
    }
    world.act();
    Ok(())
}

/// All nodes start at once, the plugins half a minute after the API servers: kubelets start static pods in no order.
async fn lose_power(world: &mut World) -> Result<Expectation, Trouble> {
    for plugin in &mut world.plugins {
        plugin.kill();
    }
    for component in 0..COMPONENTS.len() {
        world.restart(component, None);
    }
    world.pass(Duration::from_secs(30)).await;
    let ready = world.ready(0);
    world.deploy()?;
    Ok(expectation(
        "no kube-apiserver is ready before its plugin",
        ready == 0,
        format!("{ready} ready"),
    ))
}

/// Operators of another generation take over. Kept are the configurations and key numbers of before.
fn under(world: &mut World, generation: Generation, kept: &mut Kept) {
    kept.generation = Some(world.plane.cluster.generation);
    for (component, (name, ..)) in COMPONENTS.iter().enumerate() {
        let api = &world.plane.cluster.api;
        let target = api.cached_secret(MANAGED_NAMESPACE, &target_config_name(name));
        kept.secrets.extend(target.cloned());
        kept.secrets
            .extend(api.cached_secret(name, CONFIG_KEY).cloned());
        let newest = world.keys(component).last().and_then(|key| key.number());
        kept.numbers.push(newest.unwrap_or(0));
    }
    if generation == Generation::V2 {
        world.plane.cluster.spec.kms = None;
    }
    world.plane.cluster.generation = generation;
}

fn refused<T>(result: Result<T, kms_controlplane::api::ApiError>) -> Result<T, Trouble> {
    result.map_err(|error| Trouble::new(error.to_string()))
}

fn newest_key(world: &World) -> Result<String, Trouble> {
    let keys = world.keys(0);
    let newest = keys.last().ok_or_else(|| Trouble::new("there is no key"))?;
    Ok(key_secret_name(KAS, &newest.name))
}

fn admin(world: &World, method: &str, path: &str, body: &Value) -> Result<(), Trouble> {
    let (status, answer) = world.vault.admin(method, path, body);
    if (200..300).contains(&status) {
        return Ok(());
    }
    let why = &answer["errors"];
    Err(Trouble::new(format!(
        "Vault answers {method} {path} with {status}: {why}"
    )))
}

/// Changes settings of the key.
pub fn key_config(world: &World, settings: &Value) -> Result<(), Trouble> {
    admin(
        world,
        "POST",
        &format!("{MOUNT}/keys/{KEY}/config"),
        settings,
    )
}

fn block(world: &mut World, obstacle: &Obstacle) {
    for plugin in &world.plugins {
        plugin.way.set(Some(obstacle.clone()));
    }
    world.vault.break_connections();
}

fn cut(world: &World) {
    let plugin = plugin_host(0);
    world.ground.net.cut(&plugin, HOST);
    world.ground.net.cut(HOST, &plugin);
}

/// The target configuration without its kms providers.
fn without_kms(world: &World) -> Result<EncryptionConfiguration, Trouble> {
    let config = world
        .target(0)
        .ok_or_else(|| Trouble::new("nothing is encrypted yet"))?;
    Ok(no_kms(config))
}

/// A configuration without its kms providers.
pub fn no_kms(mut config: EncryptionConfiguration) -> EncryptionConfiguration {
    for entry in &mut config.resources {
        entry
            .providers
            .retain(|provider| !matches!(provider, Provider::Kms(_)));
        if entry.providers.is_empty() {
            entry.providers.push(Provider::identity());
        }
    }
    config
}

/// Whether the nodes' newest values have different key_ids.
async fn uneven(world: &mut World) -> Result<Expectation, Trouble> {
    let mut ids = Vec::new();
    for node in 0..world.plan.nodes {
        let target = Target::secret("default", &format!("written-on-{node}"));
        if let Err(refusal) = world.write_on(0, node, &target).await {
            let text = "every node still writes, with the key that it knows";
            return Ok(expectation(text, false, refusal));
        }
        let stored = world.stored(0, &target).await?;
        ids.extend(stored.as_ref().and_then(key_id));
    }
    let mut distinct = ids.clone();
    distinct.sort();
    distinct.dedup();
    Ok(expectation(
        "100 s after the rotation nodes write under different key_ids, and all of them write",
        distinct.len() > 1 && ids.len() == world.plan.nodes,
        format!("{} key_ids on {} nodes", distinct.len(), ids.len()),
    ))
}

/// The key_id in a stored value.
pub fn key_id(value: &StoredValue) -> Option<String> {
    let bytes = value.bytes.get(value.prefix().len()..)?;
    let object = kms_apiserver::object::EncryptedObject::decode(bytes, Version::NEWEST).ok()?;
    Some(object.key_id)
}
