//! All of it together, as a [`World`].

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use kms_apiserver::seam::Log;
use kms_apiserver::version::Version;
use kms_apiserver_api::{ApiServer, Pending, Trouble};
use kms_apiserver_node::encryption::LogSink;
use kms_apiserver_node::node::Settings;
use kms_apiserver_node::rpc::UnixDialer;
use kms_apiserver_node::simulated::Simulated;
use kms_apiserver_node::store::memory::MemoryStore;
use kms_history::chaos::Event;
use kms_history::search::holds;
use kms_scenario::seed::Seed;
use kms_scenario::world::{Order, Probe, Recorder, World, WorldSpec, encryption_configuration};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::faults::{self, Active};
use super::node::{Common, Node};
use super::probe;
use super::vault::{Make, Vault};
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
    pub vault: Vault,
    pub spec: WorldSpec,
    pub recorder: Recorder,
    seed: Seed,
    folder: TempDir,
}

impl ProcessWorld {
    /// Starts Vault, plugins and API servers, and waits until all serve.
    ///
    /// # Errors
    /// A part does not start.
    pub async fn start(
        spec: &WorldSpec,
        make: &Make,
        plugin: &Path,
        recorder: Recorder,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("kms-").tempdir()?;
        let seed = Seed::root(spec.seed);
        let vault = Vault::start(make, &spec.vault, seed.label("vault").u64(), folder.path());
        let vault = vault.await.context("start Vault")?;
        let log = log(&folder.path().join("apiserver.log"))?;
        let store = Arc::new(MemoryStore::new());
        let common = Common {
            binary: plugin,
            vault: &vault,
            spec,
            seed: seed.label("delays").u64(),
        };
        let mut nodes = Vec::new();
        for number in 0..spec.nodes {
            let apiserver = |endpoint: &str| {
                let text = encryption_configuration(&spec.providers, endpoint);
                let version = spec.server_version.parse::<Version>()?;
                let seed = seed.label(&format!("apiserver-{number}")).bytes();
                let settings = Settings::new(version, seed, now()?);
                let dialer = Arc::new(UnixDialer);
                Ok(Simulated::new(
                    settings,
                    Some(&text),
                    true,
                    store.clone(),
                    dialer,
                    Arc::clone(&log),
                ))
            };
            let folder = folder_of(folder.path(), number);
            nodes.push(Node::new(&common, &folder, apiserver).await?);
        }
        let inner = Arc::new(Inner {
            watching: Mutex::default(),
            active: Mutex::default(),
            deadlines: Mutex::default(),
            done: Mutex::default(),
            nodes,
            vault,
            spec: spec.clone(),
            recorder,
            seed,
            folder,
        });
        inner.begin().await?;
        Ok(Self(inner))
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
                    let tail = kms_process::child::log_tail(&log, 8);
                    format!("start the plugin of node {number}; its log ends:\n{tail}\n")
                })?;
            node.start_apiserver().await?;
            self.recorder.note(Some(number), Event::ApiServerStarted);
        }
        let mut watching = locked(&self.watching);
        for number in self.numbers() {
            watching.spawn(watch(Arc::downgrade(self), number));
        }
        Ok(())
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
        let all = self.nodes.iter().map(|node| node.link.touched());
        all.map(|touched| touched.connections).sum()
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
        let node = self
            .0
            .node(node)
            .expect("the engine asks for nodes of its own plan");
        Arc::clone(&node.apiserver) as Arc<dyn ApiServer>
    }

    fn fresh_apiserver(&self, node: u32) -> Pending<'_, Arc<dyn ApiServer>> {
        Box::pin(async move {
            let seed = self.0.seed.label(&format!("fresh-{node}")).bytes();
            let fresh = self.0.node(node).map_err(trouble)?.apiserver.another(seed);
            fresh.start().await?;
            Ok(Arc::new(fresh) as Arc<dyn ApiServer>)
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
                let log = std::fs::read(node.plugin.lock().await.log()).unwrap_or_default();
                for needle in needles {
                    if holds(&log, needle) {
                        places.push(format!("log of node {number}'s plugin"));
                    }
                    if node.wire.holds(needle) {
                        places.push(format!("bytes from node {number}'s plugin to Vault"));
                    }
                }
            }
            let log = std::fs::read(self.0.folder.path().join("apiserver.log"));
            let log = log.unwrap_or_default();
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
                    node.apiserver.stop();
                    node.plugin.lock().await.kill();
                }
            };
            timeout(ENDS, end).await.map_err(|_| {
                Trouble::new(format!(
                    "the world had not ended {} s later",
                    ENDS.as_secs()
                ))
            })
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

fn now() -> Result<Duration> {
    #[expect(clippy::disallowed_methods, reason = "the process arm has real time")]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.context("the clock is before 1970")
}

fn log(file: &Path) -> Result<LogSink> {
    let opened = File::options().append(true).create(true).open(file);
    let file = Mutex::new(opened.with_context(|| format!("open the log {}", file.display()))?);
    Ok(Arc::new(move |line: &Log| {
        // A log that cannot be written stops no server.
        let _ = writeln!(locked(&file), "{}", line.text);
    }))
}
