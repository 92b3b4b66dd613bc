//! Each kind of fault, as this arm makes it: what is done, what undoes it, and what counts as a hit.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::Method;
use kms_conformance::BoxFuture;
use kms_history::chaos::Event;
use kms_proxy::{Action, Direction, End, Rule, Rules};
use kms_scenario::fault::{self, Edge, Fault, Requests, Rpc};
use kms_scenario::world::Order;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sim_vault::{Action as Deed, Fault as ModelFault, FaultId};

use super::world::Inner;
use crate::secret_file;

/// What undoes a fault.
pub type Undo = Box<dyn FnOnce() -> BoxFuture<'static, Result<()>> + Send>;
/// What it touched so far.
pub type Hits = Box<dyn Fn() -> u64 + Send + Sync>;

/// A fault that is there.
pub struct Active {
    /// Undoes it; nothing for what happens once.
    pub undo: Option<Undo>,
    /// Counts.
    pub hits: Hits,
}

impl Active {
    /// What happened once, and changed so much.
    fn once(changed: u64) -> Self {
        Self {
            undo: None,
            hits: Box::new(move || changed),
        }
    }

    fn lasting<F>(hits: Hits, undo: impl FnOnce() -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        Self {
            undo: Some(Box::new(move || Box::pin(undo()))),
            hits,
        }
    }
}

/// Makes a fault happen.
pub async fn inject(world: &Arc<Inner>, order: &Order) -> Result<Active> {
    match &order.fault {
        Fault::NetPartition(edge) | Fault::NetHold(edge) => held(world, order, *edge),
        Fault::NetPartitionOneWay(..)
        | Fault::NetReset(_)
        | Fault::NetHalfClose(..)
        | Fault::NetLatency { .. }
        | Fault::NetBandwidth(..)
        | Fault::NetSlowReader(..) => network(world, order),
        Fault::RpcDelay { .. } | Fault::RpcHold(_) | Fault::RpcStatus { .. } | Fault::RpcCut(_) => {
            calls(world, order)
        }
        Fault::PluginKill
        | Fault::PluginRestart
        | Fault::PluginStop
        | Fault::PluginFreeze
        | Fault::PluginStaleSocket => process(world, order).await,
        Fault::CredentialsChanged | Fault::CredentialsRemoved | Fault::CredentialsDamaged => {
            credentials(world, order).await
        }
        Fault::VaultRotate(_)
        | Fault::VaultDeleteKey
        | Fault::VaultRecreateKey
        | Fault::VaultSoftDelete
        | Fault::VaultMinDecryptionVersion(_)
        | Fault::VaultMinEncryptionVersion(_)
        | Fault::VaultTrim(_) => key(world, order).await,
        _ => vault(world, order).await,
    }
}

/// What each plugin asks Vault while a fault is there that concerns all of it.
fn asked(world: &Arc<Inner>) -> Hits {
    let before = world.asked();
    let world = Arc::clone(world);
    Box::new(move || world.asked() - before)
}

fn held(world: &Arc<Inner>, order: &Order, edge: Edge) -> Result<Active> {
    match edge {
        Edge::Vault => links(world, order, Rules::PARTITION),
        Edge::Socket => rules(world, order, None, Action::Hold),
    }
}

fn network(world: &Arc<Inner>, order: &Order) -> Result<Active> {
    let one = |direction: fault::Direction, what: Direction| match direction {
        fault::Direction::Requests => Rules {
            to_server: what,
            ..Rules::default()
        },
        fault::Direction::Answers => Rules {
            to_client: what,
            ..Rules::default()
        },
    };
    let rate = |bytes: u64| Direction {
        bandwidth: NonZeroU64::new(bytes),
        ..Direction::default()
    };
    let wanted = match &order.fault {
        Fault::NetPartitionOneWay(Edge::Vault, direction) => one(*direction, Direction::HELD),
        Fault::NetHalfClose(Edge::Vault, direction) => {
            let towards = match direction {
                fault::Direction::Requests => End::Server,
                fault::Direction::Answers => End::Client,
            };
            for &node in &order.nodes {
                world.node(node)?.link.half_close(towards);
            }
            return Ok(Active::once(1));
        }
        Fault::NetLatency {
            edge: Edge::Vault,
            min,
            max,
        } => {
            let late = Direction {
                latency: Some((*min, *max)),
                ..Direction::default()
            };
            Rules {
                to_server: late,
                to_client: late,
                ..Rules::default()
            }
        }
        Fault::NetLatency {
            edge: Edge::Socket,
            min,
            max,
        } => return rules(world, order, None, Action::Delay(middle(*min, *max) * 2)),
        Fault::NetBandwidth(Edge::Vault, bytes) => Rules {
            to_server: rate(*bytes),
            to_client: rate(*bytes),
            ..Rules::default()
        },
        Fault::NetSlowReader(Edge::Vault, bytes) => Rules {
            to_server: rate(*bytes),
            ..Rules::default()
        },
        Fault::NetReset(edge) => {
            for &node in &order.nodes {
                let node = world.node(node)?;
                match edge {
                    Edge::Vault => node.link.reset(),
                    Edge::Socket => node.socket.reset(),
                }
            }
            return Ok(Active::once(1));
        }
        other => bail!("{} cannot be made on this edge", other.kind()),
    };
    links(world, order, wanted)
}

/// Rules on the links to Vault.
fn links(world: &Arc<Inner>, order: &Order, wanted: Rules) -> Result<Active> {
    let mut before = Vec::new();
    for &number in &order.nodes {
        let link = &world.node(number)?.link;
        before.push((number, link.touched().hits()));
        link.set(wanted);
    }
    let (counting, undoing) = (Arc::clone(world), Arc::clone(world));
    let nodes = order.nodes.clone();
    let hits = Box::new(move || {
        let now = before
            .iter()
            .filter_map(|(number, before)| Some((counting.node(*number).ok()?, before)));
        now.map(|(node, before)| node.link.touched().hits() - before)
            .sum()
    });
    Ok(Active::lasting(hits, move || async move {
        for number in nodes {
            undoing.node(number)?.link.set(Rules::default());
        }
        Ok(())
    }))
}

fn calls(world: &Arc<Inner>, order: &Order) -> Result<Active> {
    let (method, action) = match &order.fault {
        Fault::RpcDelay { method, min, max } => (method, Action::Delay(middle(*min, *max))),
        Fault::RpcHold(method) => (method, Action::Hold),
        Fault::RpcStatus {
            method,
            code,
            message,
        } => {
            let (code, message) = (*code, message.clone());
            (method, Action::Status { code, message })
        }
        // Inside the answer's first frame.
        Fault::RpcCut(method) => (method, Action::Cut(20)),
        other => bail!("{} is nothing that happens to calls", other.kind()),
    };
    rules(world, order, *method, action)
}

/// Rules on the sockets.
fn rules(world: &Arc<Inner>, order: &Order, method: Option<Rpc>, action: Action) -> Result<Active> {
    let method = method.map(|method| format!("{method:?}"));
    let rule = Rule {
        method,
        action,
        times: None,
    };
    let mut added = Vec::new();
    for &number in &order.nodes {
        added.push((number, world.node(number)?.socket.add(rule.clone())));
    }
    let (counting, undoing) = (Arc::clone(world), Arc::clone(world));
    let count = added.clone();
    let hits = Box::new(move || {
        let rules = count
            .iter()
            .filter_map(|(number, id)| Some((counting.node(*number).ok()?, id)));
        rules.map(|(node, id)| node.socket.hits(*id)).sum()
    });
    Ok(Active::lasting(hits, move || async move {
        for (number, id) in added {
            undoing.node(number)?.socket.remove(id);
        }
        Ok(())
    }))
}

async fn process(world: &Arc<Inner>, order: &Order) -> Result<Active> {
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

async fn credentials(world: &Arc<Inner>, order: &Order) -> Result<Active> {
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
                world.vault.credentials(&world.folder_of(number)).await?;
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

/// What happens to the Transit key.
async fn key(world: &Arc<Inner>, order: &Order) -> Result<Active> {
    let vault = &world.vault;
    let path = vault.key();
    let config = format!("{path}/config");
    let undone = |body: Value| {
        let (world, config) = (Arc::clone(world), config.clone());
        move || async move { world.vault.write(&config, body).await.map(drop) }
    };
    match &order.fault {
        Fault::VaultRotate(times) => {
            for _ in 0..*times {
                vault.write(&format!("{path}/rotate"), Value::Null).await?;
            }
            Ok(Active::once(u64::from(*times)))
        }
        Fault::VaultDeleteKey => {
            vault.delete_key().await?;
            Ok(Active::once(1))
        }
        Fault::VaultRecreateKey => {
            vault.delete_key().await?;
            vault.make_key().await?;
            Ok(Active::once(1))
        }
        Fault::VaultSoftDelete => {
            let soft = format!("{path}/soft-delete");
            vault.call(Method::DELETE, &soft, Value::Null).await?;
            let restore = format!("{soft}-restore");
            let again = Arc::clone(world);
            Ok(Active::lasting(asked(world), move || async move {
                again.vault.write(&restore, Value::Null).await.map(drop)
            }))
        }
        Fault::VaultMinDecryptionVersion(version) => {
            let version = match version {
                Some(version) => u64::from(*version),
                None => vault.latest_version().await?,
            };
            let raised = json!({"min_decryption_version": version});
            vault.write(&config, raised).await?;
            let undo = undone(json!({"min_decryption_version": 1}));
            Ok(Active::lasting(asked(world), undo))
        }
        Fault::VaultMinEncryptionVersion(version) => {
            let set = json!({"min_encryption_version": version});
            vault.write(&config, set).await?;
            let undo = undone(json!({"min_encryption_version": 0}));
            Ok(Active::lasting(asked(world), undo))
        }
        Fault::VaultTrim(version) => {
            let version = match version {
                Some(version) => u64::from(*version),
                None => vault.latest_version().await?,
            };
            let floors =
                json!({"min_decryption_version": version, "min_encryption_version": version});
            vault.write(&config, floors).await?;
            let trim = json!({"min_available_version": version});
            vault.write(&format!("{path}/trim"), trim).await?;
            Ok(Active::once(1))
        }
        other => bail!("{} is nothing that happens to a key", other.kind()),
    }
}

async fn vault(world: &Arc<Inner>, order: &Order) -> Result<Active> {
    let vault = &world.vault;
    let again = Arc::clone(world);
    match &order.fault {
        Fault::VaultSeal => {
            vault.server.lock().await.seal().await?;
            Ok(Active::lasting(asked(world), move || async move {
                again.vault.server.lock().await.unseal().await
            }))
        }
        Fault::VaultStop => {
            vault.server.lock().await.stop().await?;
            let before = world.connections();
            let counting = Arc::clone(world);
            let hits = Box::new(move || counting.connections() - before);
            Ok(Active::lasting(hits, move || async move {
                again.vault.server.lock().await.start().await
            }))
        }
        Fault::VaultRestart => {
            let mut server = vault.server.lock().await;
            server.stop().await?;
            server.start().await?;
            Ok(Active::once(1))
        }
        Fault::VaultHold(Requests::All) if vault.models.is_empty() => {
            vault.server.lock().await.freeze().await?;
            Ok(Active::lasting(asked(world), move || async move {
                again.vault.server.lock().await.thaw().await
            }))
        }
        Fault::VaultSlow {
            requests: Requests::All,
            min,
            max,
        } if vault.models.is_empty() => {
            let order = Order {
                nodes: world.numbers(),
                ..order.clone()
            };
            let late = Direction {
                latency: Some((*min, *max)),
                ..Direction::default()
            };
            let rules = Rules {
                to_client: late,
                ..Rules::default()
            };
            links(world, &order, rules)
        }
        Fault::VaultHold(requests) => on_requests(world, *requests, None, || Deed::Hold),
        Fault::VaultSlow { requests, min, max } => {
            on_requests(world, *requests, None, || Deed::Delay(middle(*min, *max)))
        }
        Fault::VaultError {
            requests,
            status,
            retry_after,
            count,
        } => on_requests(world, *requests, *count, || Deed::Status {
            code: *status,
            body: Bytes::from_static(br#"{"errors":["made by the scenario"]}"#),
            headers: retry_after
                .map(|seconds| ("Retry-After".to_owned(), seconds.to_string()))
                .into_iter()
                .collect(),
        }),
        Fault::VaultGarbage(requests) => on_requests(world, *requests, None, || {
            Deed::Garbage(Bytes::from_static(b"<html>200 OK</html>"))
        }),
        Fault::VaultCutBody(requests) => on_requests(world, *requests, None, || Deed::CutBody(7)),
        Fault::VaultReset(requests) => on_requests(world, *requests, None, || Deed::CloseBefore),
        Fault::VaultRevokeTokens => Ok(Active::once(vault.revoke_tokens().await?)),
        Fault::VaultExpireTokens | Fault::ClockAdvance(_) => {
            let by = match &order.fault {
                Fault::ClockAdvance(by) => *by,
                _ => world.spec.vault.token_max_ttl + Duration::from_secs(1),
            };
            let model = vault.models.first().context("no simulated Vault")?;
            model.advance(by);
            Ok(Active::once(1))
        }
        Fault::LoginRefused => {
            vault.refuse_logins(true).await?;
            Ok(Active::lasting(asked(world), move || async move {
                again.vault.refuse_logins(false).await
            }))
        }
        Fault::VaultDisableAuth => {
            vault.disable_auth().await?;
            Ok(Active::lasting(asked(world), move || async move {
                let files = again.nodes.iter().flat_map(|node| &node.credentials);
                let files: Vec<_> = files.cloned().collect();
                again.vault.enable_auth(&files).await
            }))
        }
        Fault::VaultPolicyRemoved(rights) => {
            let all = [
                fault::Right::Encrypt,
                fault::Right::Decrypt,
                fault::Right::KeyRead,
                fault::Right::Lookup,
                fault::Right::Renew,
            ];
            let without = if rights.is_empty() { &all[..] } else { rights };
            vault.set_policy(without).await?;
            Ok(Active::lasting(asked(world), move || async move {
                again.vault.set_policy(&[]).await
            }))
        }
        Fault::VaultQuota(rate) => {
            let path = "sys/quotas/rate-limit/kms-harness";
            let limit = json!({"rate": rate, "path": format!("{}/", vault.access.mount)});
            vault.write(path, limit).await?;
            Ok(Active::lasting(asked(world), move || async move {
                let deleted = again.vault.call(Method::DELETE, path, Value::Null).await;
                deleted.map(drop)
            }))
        }
        // Whatever wants a token waits for its audit entry; health does not.
        Fault::VaultAuditBlocked => {
            let paths = ["auth/".to_owned(), format!("{}/", vault.access.mount)];
            on_paths(world, &paths, None, || Deed::Hold)
        }
        // Of what a plugin asks, only a login writes to the storage.
        Fault::VaultStorageFailed => on_requests(world, Requests::Login, None, || Deed::Status {
            code: 500,
            body: Bytes::from_static(br#"{"errors":["internal error"]}"#),
            headers: Vec::new(),
        }),
        other => bail!("{} cannot be made by the process arm", other.kind()),
    }
}

/// One delay stands for a range: calls and the simulated Vault know no other.
fn middle(min: Duration, max: Duration) -> Duration {
    (min + max) / 2
}

/// A fault on requests to the simulated Vault.
fn on_requests(
    world: &Arc<Inner>,
    requests: Requests,
    count: Option<u64>,
    deed: impl Fn() -> Deed,
) -> Result<Active> {
    let mount = &world.vault.access.mount;
    let path = match requests {
        Requests::All => String::new(),
        Requests::Login => format!("{}/login", world.vault.auth_mount()),
        Requests::Renew => "auth/token/renew-self".to_owned(),
        Requests::Lookup => "auth/token/lookup-self".to_owned(),
        Requests::Transit => format!("{mount}/"),
        Requests::Encrypt => format!("{mount}/encrypt/"),
        Requests::Decrypt => format!("{mount}/decrypt/"),
        Requests::KeyRead => format!("{mount}/keys/"),
    };
    on_paths(world, &[path], count, deed)
}

/// A fault on requests whose path begins so.
fn on_paths(
    world: &Arc<Inner>,
    paths: &[String],
    count: Option<u64>,
    deed: impl Fn() -> Deed,
) -> Result<Active> {
    let models = &world.vault.models;
    ensure!(
        !models.is_empty(),
        "only the simulated Vault can be made to do that"
    );
    let all = models
        .iter()
        .enumerate()
        .flat_map(|(model, _)| paths.iter().map(move |path| (model, path)));
    let installed: Vec<(usize, FaultId)> = all
        .map(|(model, path)| {
            let fault = ModelFault::on(&format!("/v1/{path}"), deed());
            let fault = match count {
                Some(count) => fault.times(count),
                None => fault,
            };
            (model, models[model].fault(fault))
        })
        .collect();
    let (counting, undoing) = (Arc::clone(world), Arc::clone(world));
    let count = installed.clone();
    let hits = Box::new(move || {
        let models = &counting.vault.models;
        count
            .iter()
            .map(|(model, id)| models[*model].hits(*id))
            .sum()
    });
    Ok(Active::lasting(hits, move || async move {
        for (model, id) in installed {
            undoing.vault.models[model].clear(id);
        }
        Ok(())
    }))
}
