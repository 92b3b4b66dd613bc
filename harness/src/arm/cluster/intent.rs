//! Each kind of fault, as this arm makes it: what would undo it, and what is done. Nothing happens here before the undo is
//! on the disk; [`super::world`] sees to that.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use http::Method;
use kms_conformance::BoxFuture;
use kms_scenario::fault::{Direction, Edge, Fault, Requests, Rpc};
use kms_scenario::world::Order;
use serde_json::{Value, json};

use super::staging::{Policy, Staging};
use super::undo::{Undo, moved};
use super::{Parts, pods};
use crate::arm::cluster::api::Api;
use crate::relay::client::Relay;
use crate::relay::{Calls, Deed, Harm, LONGEST, Ordered, Way};

/// A fault that could be made now.
pub struct Intent {
    /// What undoes it, should the harness not come to it.
    pub undo: Vec<Undo>,
    /// Makes it; what it changed at once.
    pub deed: BoxFuture<'static, Result<u64>>,
    /// How it is undone where the run goes on.
    pub mend: Mend,
    /// What counts as a hit.
    pub count: Count,
}

/// How a fault is undone while the run goes on.
pub enum Mend {
    /// By what lies on the disk.
    Undo,
    /// By ending it alone at these relays: others may go on there.
    Relays(Vec<Relay>),
}

/// What counts as a hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// What was changed at once.
    Changed,
    /// What relays say of links.
    Links,
    /// What relays say of calls.
    Calls,
    /// Requests to Vault meanwhile, or calls of the API server to its plugin where those are not seen.
    Asked,
}

impl Intent {
    fn new(undo: Vec<Undo>, count: Count, deed: BoxFuture<'static, Result<u64>>) -> Self {
        Self {
            undo,
            deed,
            mend: Mend::Undo,
            count,
        }
    }
}

/// What would be done for an order. The mark on the key is looked for once more: what does not happen to Vault is done as
/// long as nobody has taken the mark away, be Vault sealed or not.
pub async fn of(order: &Order, parts: &Parts, api: &Api) -> Result<Intent> {
    if let Some(vault) = &parts.vault {
        vault.mark_stays().await?;
    }
    match &order.fault {
        Fault::VaultHold(Requests::All) => links(order, parts, both(HELD)),
        Fault::VaultSlow {
            requests: Requests::All,
            min,
            max,
        } => links(order, parts, (Way::default(), late(*min, *max))),
        Fault::NetPartition(Edge::Vault) | Fault::NetHold(Edge::Vault)
            if parts.on_links().next().is_none() =>
        {
            pods::partition(order, parts, api)
        }
        Fault::NetPartition(Edge::Vault) | Fault::NetHold(Edge::Vault) => {
            links(order, parts, both(HELD))
        }
        Fault::NetPartitionOneWay(Edge::Vault, Direction::Requests) => {
            links(order, parts, (HELD, Way::default()))
        }
        Fault::NetPartitionOneWay(Edge::Vault, Direction::Answers) => {
            links(order, parts, (Way::default(), HELD))
        }
        Fault::NetLatency {
            edge: Edge::Vault,
            min,
            max,
        } => links(order, parts, both(late(*min, *max))),
        Fault::NetBandwidth(Edge::Vault, bytes) => links(order, parts, both(slow(*bytes))),
        Fault::NetSlowReader(Edge::Vault, bytes) => {
            links(order, parts, (slow(*bytes), Way::default()))
        }
        Fault::NetHalfClose(Edge::Vault, direction) => {
            let requests = *direction == Direction::Requests;
            Ok(at_relays(
                order,
                parts.on_links(),
                Deed::HalfClose { requests },
                Count::Changed,
            ))
        }
        Fault::NetReset(Edge::Vault) => Ok(at_relays(
            order,
            parts.on_links(),
            Deed::ResetLinks,
            Count::Changed,
        )),
        Fault::NetReset(Edge::Socket) => Ok(at_relays(
            order,
            parts.on_sockets(),
            Deed::ResetCalls,
            Count::Changed,
        )),
        Fault::NetPartition(Edge::Socket) | Fault::NetHold(Edge::Socket) => {
            Ok(calls(order, parts, None, Calls::Hold))
        }
        Fault::NetLatency {
            edge: Edge::Socket,
            min,
            max,
        } => Ok(calls(order, parts, None, Calls::Delay(millis(*min + *max)))),
        Fault::RpcDelay { method, min, max } => Ok(calls(
            order,
            parts,
            *method,
            Calls::Delay(millis((*min + *max) / 2)),
        )),
        Fault::RpcHold(method) => Ok(calls(order, parts, *method, Calls::Hold)),
        Fault::RpcStatus {
            method,
            code,
            message,
        } => {
            let (code, message) = (*code, message.clone());
            Ok(calls(
                order,
                parts,
                *method,
                Calls::Status { code, message },
            ))
        }
        Fault::RpcCut(method) => Ok(calls(order, parts, *method, Calls::Cut)),
        Fault::RpcSick => Ok(calls(order, parts, Some(Rpc::Status), Calls::Sick)),
        Fault::RpcWrongKey => Ok(calls(order, parts, Some(Rpc::Decrypt), Calls::WrongKey)),
        Fault::PluginRestart | Fault::PluginStop if parts.pods.is_some() => {
            pods::end(order, parts, api)
        }
        // A killed process leaves its socket's file, and whoever keeps it starts it again.
        Fault::PluginRestart | Fault::PluginStaleSocket => on_nodes(order, parts, Harm::Kill),
        Fault::PluginFreeze => on_nodes(order, parts, Harm::Freeze),
        Fault::PluginKill => on_nodes(order, parts, Harm::KeepKilled),
        Fault::PluginStop => on_nodes(order, parts, Harm::KeepEnded),
        _ => {
            let vault = parts.vault.as_ref();
            let vault = vault.context("nobody said where the plugin's Vault is")?;
            vault.marked().await?;
            in_vault(order, vault.clone()).await
        }
    }
}

async fn in_vault(order: &Order, vault: Staging) -> Result<Intent> {
    let (path, address) = (vault.path(), vault.address.clone());
    let config = format!("{path}/config");
    let of_policy = || vault.policy.clone().map_err(|why| anyhow!(why));
    Ok(match &order.fault {
        Fault::VaultRotate(times) => {
            let times = *times;
            let deed = async move {
                for _ in 0..times {
                    let rotate = format!("{}/rotate", vault.path());
                    vault.admin.write(&rotate, Value::Null).await?;
                }
                Ok(u64::from(times))
            };
            Intent::new(Vec::new(), Count::Changed, Box::pin(deed))
        }
        Fault::VaultDeleteKey | Fault::VaultRecreateKey => {
            let again = order.fault == Fault::VaultRecreateKey;
            let kind = vault.read_key().await?["type"].clone();
            let deed = async move {
                let allowed = json!({"deletion_allowed": true});
                vault.admin.write(&config, allowed).await?;
                vault.admin.delete(&path).await?;
                if again {
                    vault.admin.write(&path, json!({"type": kind})).await?;
                }
                Ok(1)
            };
            Intent::new(Vec::new(), Count::Changed, Box::pin(deed))
        }
        Fault::VaultTrim(version) => {
            let version = at_or_latest(&vault, *version).await?;
            let deed = async move {
                let floors =
                    json!({"min_decryption_version": version, "min_encryption_version": version});
                vault.admin.write(&config, floors).await?;
                let trim = json!({"min_available_version": version});
                vault.admin.write(&format!("{path}/trim"), trim).await?;
                Ok(1)
            };
            Intent::new(Vec::new(), Count::Changed, Box::pin(deed))
        }
        Fault::VaultSoftDelete => {
            let undo = Undo::SoftDeleted {
                address,
                path: path.clone(),
            };
            let deed = async move {
                vault.admin.delete(&format!("{path}/soft-delete")).await?;
                Ok(1)
            };
            Intent::new(vec![undo], Count::Asked, Box::pin(deed))
        }
        Fault::VaultMinDecryptionVersion(version) => {
            let version = at_or_latest(&vault, *version).await?;
            floors(vault, "min_decryption_version", version).await?
        }
        Fault::VaultMinEncryptionVersion(version) => {
            floors(vault, "min_encryption_version", u64::from(*version)).await?
        }
        Fault::VaultQuota(rate) => {
            vault.mount_alone.clone().map_err(|why| anyhow!(why))?;
            let name = format!("kms-harness-{}", vault.key);
            let limit = json!({"rate": rate, "path": format!("{}/", vault.mount)});
            let undo = Undo::Quota {
                address,
                name: name.clone(),
            };
            let deed = async move {
                let path = format!("sys/quotas/rate-limit/{name}");
                vault.admin.write(&path, limit).await?;
                Ok(1)
            };
            Intent::new(vec![undo], Count::Asked, Box::pin(deed))
        }
        Fault::VaultRevokeTokens => {
            let policy = of_policy()?;
            let deed = async move { revoke(&vault, &policy).await };
            Intent::new(Vec::new(), Count::Changed, Box::pin(deed))
        }
        Fault::VaultPolicyRemoved(rights) => {
            let policy = of_policy()?;
            let left = json!({"policy": vault.without(&policy, rights)});
            let place = format!("sys/policies/acl/{}", policy.name);
            let undo = Undo::Policy {
                address,
                name: policy.name,
                text: policy.text,
            };
            let deed = async move {
                vault.admin.write(&place, left).await?;
                Ok(1)
            };
            Intent::new(vec![undo], Count::Asked, Box::pin(deed))
        }
        Fault::LoginRefused => {
            let role = vault.role.clone().map_err(|why| anyhow!(why))?;
            let place = format!("{}/role-id", role.path);
            let now = vault.admin.read(&place).await?.ok()?;
            let id = now.pointer("/data/role_id").and_then(Value::as_str);
            let undo = Undo::RoleId {
                address,
                path: role.path,
                id: id.context("the role shows no role_id")?.to_owned(),
            };
            let other = format!("kms-harness-{}", uuid::Uuid::new_v4());
            let deed = async move {
                vault.admin.write(&place, json!({"role_id": other})).await?;
                Ok(1)
            };
            Intent::new(vec![undo], Count::Asked, Box::pin(deed))
        }
        Fault::VaultDisableAuth => {
            let role = vault.role.clone().map_err(|why| anyhow!(why))?;
            let away = format!("{}-kms-harness-away", role.mount);
            let undo = Undo::Mount {
                address,
                from: away.clone(),
                to: role.mount.clone(),
            };
            let deed = async move {
                moved(&vault.admin, &role.mount, &away).await?;
                Ok(1)
            };
            Intent::new(vec![undo], Count::Asked, Box::pin(deed))
        }
        Fault::VaultSeal => {
            let key = vault.unseal_key.clone();
            let undo = Undo::Unseal {
                address,
                key: key.context("nobody said which key unseals it")?,
            };
            let deed = async move {
                let sealed = vault.admin.call(Method::PUT, "sys/seal", Value::Null);
                sealed.await?.ok()?;
                Ok(1)
            };
            Intent::new(vec![undo], Count::Asked, Box::pin(deed))
        }
        other => bail!("{} cannot be made by the cluster arm", other.kind()),
    })
}

async fn at_or_latest(vault: &Staging, version: Option<u32>) -> Result<u64> {
    match version {
        Some(version) => Ok(u64::from(version)),
        None => vault.read_key().await?["latest_version"]
            .as_u64()
            .context("the staging key has no latest_version"),
    }
}

async fn floors(vault: Staging, field: &'static str, version: u64) -> Result<Intent> {
    let before = vault.read_key().await?[field].as_u64();
    let before = Some(before.unwrap_or_default());
    let decryption = field == "min_decryption_version";
    let undo = Undo::Floors {
        address: vault.address.clone(),
        path: vault.path(),
        decryption: before.filter(|_| decryption),
        encryption: before.filter(|_| !decryption),
    };
    let deed = async move {
        let config = format!("{}/config", vault.path());
        vault.admin.write(&config, json!({field: version})).await?;
        Ok(1)
    };
    Ok(Intent::new(vec![undo], Count::Asked, Box::pin(deed)))
}

/// Revokes tokens that have the plugin's policy and no other but `default`.
async fn revoke(vault: &Staging, policy: &Policy) -> Result<u64> {
    let list = Method::from_bytes(b"LIST").expect("a method");
    let all = vault.admin.call(list, "auth/token/accessors", Value::Null);
    let all = all.await?.ok()?;
    let accessors = all.pointer("/data/keys").and_then(Value::as_array);
    let mut revoked = 0;
    for accessor in accessors.into_iter().flatten() {
        let body = json!({"accessor": accessor});
        // One that ends just now is unknown.
        let found = vault
            .admin
            .write("auth/token/lookup-accessor", body.clone());
        let Ok(token) = found.await else { continue };
        let policies = token.pointer("/data/policies").and_then(Value::as_array);
        let policies: Vec<&str> = policies
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let only = |name: &&str| **name == *policy.name || **name == *"default";
        // By its entity it may have rights that are somebody else's.
        let more = token.pointer("/data/identity_policies");
        let more = more
            .and_then(Value::as_array)
            .is_some_and(|more| !more.is_empty());
        if policies.contains(&policy.name.as_str()) && policies.iter().all(only) && !more {
            vault
                .admin
                .write("auth/token/revoke-accessor", body)
                .await?;
            revoked += 1;
        }
    }
    Ok(revoked)
}

/// Nothing passes.
const HELD: Way = Way {
    held: true,
    latency: None,
    bandwidth: None,
};

fn both(way: Way) -> (Way, Way) {
    (way, way)
}

fn late(min: Duration, max: Duration) -> Way {
    Way {
        latency: Some((millis(min), millis(max))),
        ..Way::default()
    }
}

fn slow(bytes: u64) -> Way {
    Way {
        bandwidth: Some(bytes),
        ..Way::default()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn links(order: &Order, parts: &Parts, (requests, answers): (Way, Way)) -> Result<Intent> {
    let deed = Deed::Link { requests, answers };
    Ok(at_relays(order, parts.on_links(), deed, Count::Links))
}

fn calls(order: &Order, parts: &Parts, method: Option<Rpc>, action: Calls) -> Intent {
    let method = method.map(|method| format!("{method:?}"));
    let deed = Deed::Calls { method, action };
    at_relays(order, parts.on_sockets(), deed, Count::Calls)
}

fn on_nodes(order: &Order, parts: &Parts, harm: Harm) -> Result<Intent> {
    ensure!(
        parts.node_faults,
        "it happens to the plugin's process on its node; --allow-node-faults allows it"
    );
    let relays = parts.on_nodes();
    Ok(at_relays(
        order,
        relays,
        Deed::Process(harm),
        Count::Changed,
    ))
}

fn at_relays<'a>(
    order: &Order,
    relays: impl Iterator<Item = &'a Relay>,
    deed: Deed,
    count: Count,
) -> Intent {
    let relays: Vec<Relay> = relays.cloned().collect();
    let undo = relays.iter().map(|relay| Undo::Relay {
        control: relay.control.clone(),
        token: relay.token_file.clone(),
    });
    let undo = if order.fault.lasts() {
        undo.collect()
    } else {
        Vec::new()
    };
    let wanted = Ordered {
        deed,
        millis: millis(order.deadline).clamp(1, LONGEST),
    };
    let (id, told) = (order.id.clone(), relays.clone());
    let deed = async move {
        for relay in &told {
            relay.make(&id, &wanted).await?;
        }
        Ok(told.len() as u64)
    };
    Intent {
        undo,
        deed: Box::pin(deed),
        mend: Mend::Relays(relays),
        count,
    }
}
