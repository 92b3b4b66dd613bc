//! The simulated world: nodes, Vault and network behind [`World`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use kms_apiserver_api::{ApiServer, Pending, Trouble};
use kms_apiserver_node::store::memory::MemoryStore;
use kms_history::chaos::Event;
use kms_scenario::seed::Seed;
use kms_scenario::world::{Order, Probe, Recorder, World, WorldSpec};
use kms_sim_net::{Latency, Net};

use crate::between::{Between, Planting};
use crate::inject::Active;
use crate::node::{ENDPOINT, Node, api_host, plugin_host};
use crate::surroundings::lock;
use crate::tasks::Tasks;
use crate::vault::Vaults;

/// A world in virtual time. Needs a tokio runtime with a paused clock and without I/O.
pub struct SimWorld(Arc<Inner>);

/// What faults and the world share.
pub struct Inner {
    pub spec: WorldSpec,
    pub net: Net,
    pub tasks: Tasks,
    pub vaults: Vaults,
    pub nodes: Vec<Node>,
    recorder: Recorder,
    active: Mutex<BTreeMap<String, Active>>,
    fresh: AtomicU64,
}

impl SimWorld {
    /// Builds a world and starts everything in it; returns when the API servers serve, ready or not.
    ///
    /// # Errors
    /// Flags that the plugin refuses, a version that is not emulated, or an API server that does not start.
    pub async fn start(spec: &WorldSpec, recorder: &Recorder) -> Result<Self, Trouble> {
        Self::start_between(spec, recorder, None).await
    }

    /// The same with somebody between the plugins and their peers.
    ///
    /// # Errors
    /// As [`SimWorld::start`].
    pub async fn start_between(
        spec: &WorldSpec,
        recorder: &Recorder,
        between: Option<Arc<dyn Between>>,
    ) -> Result<Self, Trouble> {
        let seed = Seed::root(spec.seed);
        let net = Net::new(seed.label("network").u64());
        let tasks = Tasks::default();
        let vaults = Vaults::start(&net, &tasks, &spec.vault, seed.label("vault"), spec.nodes);
        let drawn = |bounds: (Duration, Duration)| Latency::between(bounds.0, bounds.1);
        net.set_default_latency(drawn(spec.socket_latency));
        for node in 0..spec.nodes {
            for vault in vaults.hosts() {
                let latency = drawn(spec.vault_latency);
                net.set_latency(&plugin_host(node), &vault, latency);
                net.set_latency(&vault, &plugin_host(node), latency);
            }
        }
        let store = MemoryStore::new();
        let planting = |node| {
            let (between, tasks) = (between.clone()?, tasks.clone());
            Some(Planting {
                between,
                node,
                tasks,
            })
        };
        let nodes = (0..spec.nodes).map(|index| {
            let shared = (&net, &tasks, recorder);
            Node::new(index, spec, &vaults, &store, shared, planting(index))
        });
        let nodes = nodes.collect::<Result<Vec<Node>, Trouble>>()?;
        for node in &nodes {
            node.start_plugin();
        }
        for (node, index) in nodes.iter().zip(0..) {
            node.server.start().await?;
            recorder.note(Some(index), Event::ApiServerStarted);
        }
        Ok(Self(Arc::new(Inner {
            spec: spec.clone(),
            net,
            tasks,
            vaults,
            nodes,
            recorder: recorder.clone(),
            active: Mutex::default(),
            fresh: AtomicU64::new(0),
        })))
    }

    /// The network, for tests that look at it.
    #[must_use]
    pub fn net(&self) -> &Net {
        &self.0.net
    }

    /// What a node's plugin told so far, one event a line.
    #[must_use]
    pub fn plugin_log(&self, node: u32) -> String {
        self.node(node).plugin_log.text()
    }

    /// What a node's API servers logged so far.
    #[must_use]
    pub fn server_log(&self, node: u32) -> String {
        self.node(node).server_log.text()
    }

    fn node(&self, node: u32) -> &Node {
        let node = self.0.nodes.get(node as usize);
        node.expect("a node of the world's specification")
    }
}

impl Inner {
    pub fn active(&self) -> MutexGuard<'_, BTreeMap<String, Active>> {
        lock(&self.active)
    }
}

impl World for SimWorld {
    fn apiserver(&self, node: u32) -> Arc<dyn ApiServer> {
        self.node(node).server.clone()
    }

    fn fresh_apiserver(&self, node: u32) -> Pending<'_, Arc<dyn ApiServer>> {
        Box::pin(async move {
            let number = self.0.fresh.fetch_add(1, Ordering::Relaxed);
            let server = self.node(node).fresh_server(number).await?;
            Ok(server as Arc<dyn ApiServer>)
        })
    }

    fn endpoint(&self, _: u32) -> String {
        ENDPOINT.to_owned()
    }

    fn status(&self, node: u32, limit: Duration) -> Pending<'_, Probe> {
        Box::pin(async move { Ok(self.node(node).client.status(limit).await) })
    }

    fn encrypt<'a>(
        &'a self,
        node: u32,
        plaintext: &'a [u8],
        limit: Duration,
    ) -> Pending<'a, Probe> {
        Box::pin(async move { Ok(self.node(node).client.encrypt(plaintext, limit).await) })
    }

    fn inject<'a>(&'a self, order: &'a Order) -> Pending<'a, ()> {
        Box::pin(async move { self.0.inject(order).await })
    }

    fn recover<'a>(&'a self, id: &'a str) -> Pending<'a, ()> {
        Box::pin(async move {
            self.0.recover(id);
            Ok(())
        })
    }

    fn hits(&self, id: &str) -> u64 {
        self.0.hits(id)
    }

    fn note_vault_calls(&self) {
        let calls = self.0.vaults.take_calls();
        self.0.recorder.note(None, Event::VaultCalls(calls));
    }

    fn leaks<'a>(&'a self, needles: &'a [Vec<u8>]) -> Pending<'a, Vec<String>> {
        Box::pin(async move {
            let mut found = Vec::new();
            for (node, index) in self.0.nodes.iter().zip(0..) {
                let (plugin, server) = (plugin_host(index), api_host(index));
                for needle in needles {
                    let places = [
                        (node.plugin_log.holds(needle), format!("log of {plugin}")),
                        (node.server_log.holds(needle), format!("log of {server}")),
                        (node.wire.holds(needle), format!("from {plugin} to Vault")),
                    ];
                    found.extend(places.into_iter().filter(|(here, _)| *here).map(|p| p.1));
                }
            }
            found.dedup();
            Ok(found)
        })
    }

    fn stop(&self) -> Pending<'_, ()> {
        Box::pin(async move {
            for node in &self.0.nodes {
                node.client.close().await;
                node.server.stop();
            }
            self.0.tasks.end().await;
            Ok(())
        })
    }
}
