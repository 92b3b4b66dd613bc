//! All of it together, as a [`World`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use kms_apiserver_api::{ApiServer, Pending, Trouble};
use kms_history::chaos::Event;
use kms_history::search::holds;
use kms_scenario::seed::Seed;
use kms_scenario::world::{Order, Probe, Recorder, World, WorldSpec, encryption_configuration};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::apiserver::Servers;
use super::faults::{self, Active};
use super::node::{Common, Node};
use super::subject::Subject;
use super::vault::Vault;
use super::{Parts, probe};
use crate::socket;

/// Limit for plugins to serve at the start.
const SERVES: Duration = Duration::from_secs(30);
/// How often a plugin that should run is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Limit for the end of everything.
const ENDS: Duration = Duration::from_secs(30);

/// The world of one run.
pub struct ProcessWorld(Arc<Inner>);

pub(super) struct Inner {
    // Fields are dropped in this order: the processes before what they lean on.
    watching: Mutex<JoinSet<()>>,
    active: Mutex<BTreeMap<String, Active>>,
    deadlines: Mutex<JoinSet<()>>,
    done: Mutex<BTreeMap<String, u64>>,
    pub nodes: Vec<Node>,
    servers: Servers,
    vault: Option<Vault>,
    pub spec: WorldSpec,
    pub recorder: Recorder,
    folder: TempDir,
}

impl ProcessWorld {
    /// Starts Vault, plugins and API servers, and waits until all serve. With `stored` Vault keeps what it knows over a
    /// restart of its own.
    ///
    /// # Errors
    /// A part does not start.
    pub async fn start(
        spec: &WorldSpec,
        parts: &Parts,
        stored: bool,
        recorder: Recorder,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("kms-").tempdir()?;
        let seed = Seed::root(spec.seed);
        let vault = match &parts.subject {
            Subject::Socket(_) => None,
            Subject::Own(_) | Subject::Described(_) => {
                let seed = seed.label("vault").u64();
                let vault = Vault::start(&parts.vault, &spec.vault, stored, seed, folder.path());
                Some(vault.await.context("start Vault")?)
            }
        };
        let servers =
            Servers::begin(&parts.apiserver, spec, folder.path(), recorder.clone()).await?;
        let common = Common {
            subject: &parts.subject,
            vault: vault.as_ref(),
            spec,
            seed: seed.label("delays").u64(),
        };
        let mut nodes = Vec::new();
        for number in 0..spec.nodes {
            nodes.push(Node::new(&common, &folder_of(folder.path(), number)).await?);
        }
        let inner = Arc::new(Inner {
            watching: Mutex::default(),
            active: Mutex::default(),
            deadlines: Mutex::default(),
            done: Mutex::default(),
            nodes,
            servers,
            vault,
            spec: spec.clone(),
            recorder,
            folder,
        });
        let begun = inner.begin().await;
        if begun.is_err() {
            // The first error is the one to tell.
            let _ = inner.leave().await;
        }
        begun.map(|()| Self(inner))
    }
}

impl Inner {
    async fn begin(self: &Arc<Self>) -> Result<()> {
        for (number, node) in self.numbered() {
            node.plugin.lock().await.start()?;
            self.recorder.note(Some(number), Event::PluginStarted);
        }
        for (number, node) in self.numbered() {
            let log = node.plugin.lock().await.log();
            socket::wait_ready(&node.at, SERVES, || None)
                .await
                .with_context(|| {
                    let tail = log.map(|log| kms_process::child::log_tail(&log, 8));
                    let tail = tail.map(|tail| format!("; its log ends:\n{tail}\n"));
                    let tail = tail.unwrap_or_default();
                    format!("start the plugin of node {number}{tail}")
                })?;
            let text = encryption_configuration(&self.spec.providers, &node.endpoint);
            let server = self.servers.start(number, &text).await?;
            node.apiserver.get_or_init(|| server);
            self.recorder.note(Some(number), Event::ApiServerStarted);
        }
        let mut watching = locked(&self.watching);
        for number in self.numbers() {
            watching.spawn(watch(Arc::downgrade(self), number));
        }
        Ok(())
    }

    /// The Vault of the plugins.
    pub fn vault(&self) -> Result<&Vault> {
        let vault = self.vault.as_ref();
        vault.context("nobody said where the plugin's Vault is")
    }

    /// Gives somebody else's Vault back.
    async fn leave(&self) -> Result<()> {
        match &self.vault {
            Some(vault) => vault.leave().await,
            None => Ok(()),
        }
    }

    pub fn numbers(&self) -> Vec<u32> {
        (0..self.spec.nodes).collect()
    }

    fn numbered(&self) -> impl Iterator<Item = (u32, &Node)> {
        (0..).zip(&self.nodes)
    }

    pub fn node(&self, number: u32) -> Result<&Node> {
        let node = usize::try_from(number)
            .ok()
            .and_then(|it| self.nodes.get(it));
        node.with_context(|| format!("there is no node {number}"))
    }

    pub fn folder_of(&self, node: u32) -> PathBuf {
        folder_of(self.folder.path(), node)
    }

    /// Calls of all plugins that were seen on the way to Vault.
    pub fn asked(&self) -> u64 {
        self.nodes.iter().map(|node| node.wire.total()).sum()
    }

    /// Connections of all plugins towards Vault.
    pub fn connections(&self) -> u64 {
        let links = self.nodes.iter().flat_map(|node| &node.links);
        links.map(|link| link.touched().connections).sum()
    }

    async fn recover(&self, id: &str) -> Result<()> {
        let Some(mut active) = locked(&self.active).remove(id) else {
            return Ok(());
        };
        let undone = match active.undo.take() {
            Some(undo) => undo().await,
            None => Ok(()),
        };
        locked(&self.done).insert(id.to_owned(), (active.hits)());
        undone.with_context(|| format!("undo the fault {id}"))
    }
}

/// Notes a plugin that ends by itself.
async fn watch(world: std::sync::Weak<Inner>, number: u32) {
    loop {
        sleep(LOOK_EVERY).await;
        let Some(world) = world.upgrade() else { return };
        let Ok(node) = world.node(number) else { return };
        let ended = node.plugin.lock().await.ended();
        if let Some(how) = ended {
            world.recorder.note(Some(number), Event::PluginStopped(how));
        }
    }
}

impl World for ProcessWorld {
    fn apiserver(&self, node: u32) -> Arc<dyn ApiServer> {
        let node = self.0.node(node).and_then(Node::server);
        node.expect("the engine asks for nodes of its own plan, and all have begun")
            .api()
    }

    fn fresh_apiserver(&self, node: u32) -> Pending<'_, Arc<dyn ApiServer>> {
        Box::pin(async move {
            let server = self.0.node(node).and_then(Node::server).map_err(trouble)?;
            let fresh = self.0.servers.another(server).await;
            Ok(fresh.map_err(trouble)?.api())
        })
    }

    fn endpoint(&self, node: u32) -> String {
        let node = self.0.node(node);
        node.map(|node| node.endpoint.clone()).unwrap_or_default()
    }

    fn status(&self, node: u32, limit: Duration) -> Pending<'_, Probe> {
        Box::pin(async move {
            let node = self.0.node(node).map_err(trouble)?;
            Ok(probe::status(&node.at, limit).await)
        })
    }

    fn encrypt<'a>(
        &'a self,
        node: u32,
        plaintext: &'a [u8],
        limit: Duration,
    ) -> Pending<'a, Probe> {
        Box::pin(async move {
            let node = self.0.node(node).map_err(trouble)?;
            Ok(probe::encrypt(&node.at, plaintext, limit).await)
        })
    }

    fn inject<'a>(&'a self, order: &'a Order) -> Pending<'a, ()> {
        Box::pin(async move {
            let active = faults::inject(&self.0, order).await.map_err(trouble)?;
            let lasts = active.undo.is_some();
            locked(&self.0.active).insert(order.id.clone(), active);
            if lasts {
                let (world, id, deadline) =
                    (Arc::downgrade(&self.0), order.id.clone(), order.deadline);
                locked(&self.0.deadlines).spawn(async move {
                    sleep(deadline).await;
                    if let Some(world) = world.upgrade() {
                        // The engine's own recovery tells the error, if there is one.
                        let _ = world.recover(&id).await;
                    }
                });
            }
            Ok(())
        })
    }

    fn recover<'a>(&'a self, id: &'a str) -> Pending<'a, ()> {
        Box::pin(async move { self.0.recover(id).await.map_err(trouble) })
    }

    fn hits(&self, id: &str) -> u64 {
        let active = locked(&self.0.active).get(id).map(|active| (active.hits)());
        active
            .or_else(|| locked(&self.0.done).get(id).copied())
            .unwrap_or_default()
    }

    fn note_vault_calls(&self) {
        for (number, node) in self.0.numbered() {
            let calls = node.wire.take_calls();
            if !calls.is_empty() {
                self.0.recorder.note(Some(number), Event::VaultCalls(calls));
            }
        }
    }

    fn leaks<'a>(&'a self, needles: &'a [Vec<u8>]) -> Pending<'a, Vec<String>> {
        Box::pin(async move {
            let mut places = Vec::new();
            for (number, node) in self.0.numbered() {
                let log = node.plugin.lock().await.log();
                let log = log.and_then(|log| std::fs::read(log).ok());
                let log = log.unwrap_or_default();
                for needle in needles {
                    if holds(&log, needle) {
                        places.push(format!("log of node {number}'s plugin"));
                    }
                    if node.wire.holds(needle) {
                        places.push(format!("bytes from node {number}'s plugin to Vault"));
                    }
                }
            }
            let log = self.0.servers.logs();
            if needles.iter().any(|needle| holds(&log, needle)) {
                places.push("log of the API servers".to_owned());
            }
            places.sort();
            places.dedup();
            Ok(places)
        })
    }

    fn stop(&self) -> Pending<'_, ()> {
        Box::pin(async move {
            let end = async {
                let left: Vec<String> = locked(&self.0.active).keys().cloned().collect();
                for id in left {
                    // A fault that cannot be undone any more goes with its world.
                    let _ = self.0.recover(&id).await;
                }
                locked(&self.0.deadlines).abort_all();
                locked(&self.0.watching).abort_all();
                for node in &self.0.nodes {
                    if let Ok(server) = node.server() {
                        server.stop();
                    }
                    node.plugin.lock().await.kill();
                }
                self.0.leave().await
            };
            let ended = timeout(ENDS, end).await.map_err(|_| {
                Trouble::new(format!(
                    "the world had not ended {} s later",
                    ENDS.as_secs()
                ))
            })?;
            ended.map_err(trouble)
        })
    }
}

fn folder_of(run: &Path, node: u32) -> PathBuf {
    run.join(format!("node-{node}"))
}

fn locked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

fn trouble(error: anyhow::Error) -> Trouble {
    Trouble::new(format!("{error:#}"))
}
