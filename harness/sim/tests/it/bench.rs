//! A world to try things in, and what a caller does with it.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use kms_apiserver_api::Target;
use kms_history::chaos::{Entry, Event, RpcEnd, VaultPath};
use kms_scenario::fault::{Fault, Provider};
use kms_scenario::world::{Auth, Flavour, Order, Recorder, VaultSpec, World, WorldSpec};
use kms_sim::SimWorld;
use kms_sim::run::virtual_time;
use serde_json::json;
use tokio::time::sleep;

/// A world as a scenario would describe it.
pub fn spec(nodes: u32) -> WorldSpec {
    WorldSpec {
        seed: 1,
        nodes,
        server_version: "1.37".to_owned(),
        vault: VaultSpec {
            flavour: Flavour::Openbao,
            nodes: 1,
            auth: Auth::Approle,
            token_ttl: Duration::from_secs(60),
            token_max_ttl: Duration::from_secs(600),
            batch: false,
            secret_id_uses: 0,
            secret_id_ttl: None,
            without: Vec::new(),
            key_type: "aes256-gcm96".to_owned(),
        },
        vault_latency: (Duration::from_millis(1), Duration::from_millis(3)),
        socket_latency: (Duration::from_micros(100), Duration::from_micros(100)),
        plugin: BTreeMap::new(),
        providers: vec![Provider::Kms, Provider::Identity],
    }
}

/// A world that runs, and its history so far.
pub struct Bench {
    pub world: SimWorld,
    pub recorder: Recorder,
    history: Vec<Entry>,
    writes: u32,
}

impl Bench {
    pub async fn new(spec: &WorldSpec) -> Self {
        let recorder = Recorder::start();
        let world = SimWorld::start(spec, &recorder).await.unwrap();
        let mut bench = Self {
            world,
            recorder,
            history: Vec::new(),
            writes: 0,
        };
        seconds(5).await;
        for node in 0..spec.nodes {
            assert_eq!(bench.write(node).await, 201, "a healthy node writes");
            assert!(bench.status(node).await.is_ok(), "a healthy node is well");
        }
        bench
    }

    /// Creates a Secret of a new name; the HTTP code.
    pub async fn write(&mut self, node: u32) -> u16 {
        self.writes += 1;
        let target = target(self.writes);
        let body = json!({"data": {"a": "eA=="}});
        let server = self.world.apiserver(node);
        server.create(&target, body).await.unwrap().code
    }

    /// Reads all Secrets, by a server that has never seen one; how many it cannot read.
    pub async fn unreadable(&self, node: u32) -> usize {
        let fresh = self.world.fresh_apiserver(node).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        let mut bad = 0;
        for number in 1..=self.writes {
            let read = fresh.get(&target(number)).await.unwrap();
            bad += usize::from(!matches!(read.code, 200 | 404));
        }
        bad
    }

    /// The key_id, or the code and the text of what is wrong.
    pub async fn status(&self, node: u32) -> Result<String, String> {
        let probe = self.world.status(node, Duration::from_secs(3)).await;
        match probe.unwrap().end {
            RpcEnd::Ok { key_id, .. } => Ok(key_id),
            RpcEnd::Failed { code, message } => Err(format!("{code}: {message}")),
        }
    }

    /// Seconds until Status is as wanted; fails after a limit.
    pub async fn wait_status(&self, node: u32, good: bool, limit: u64) -> u64 {
        for waited in 0..limit * 10 {
            if self.status(node).await.is_ok() == good {
                return waited / 10;
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!(
            "Status of node {node} is {:?} after {limit} s\n{}",
            self.status(node).await,
            self.world.plugin_log(node)
        );
    }

    pub async fn inject(&self, id: &str, fault: Fault, nodes: &[u32]) {
        let order = Order {
            id: id.to_owned(),
            fault,
            nodes: nodes.to_vec(),
            deadline: Duration::from_secs(24 * 3600),
        };
        self.world.inject(&order).await.unwrap();
    }

    pub async fn recover(&self, id: &str) {
        self.world.recover(id).await.unwrap();
    }

    /// The history so far.
    pub fn history(&mut self) -> &[Entry] {
        self.world.note_vault_calls();
        self.history.extend(self.recorder.take());
        &self.history
    }

    /// Calls of a kind that Vault got so far.
    pub fn calls(&mut self, path: VaultPath) -> u64 {
        let calls = self
            .history()
            .iter()
            .filter_map(|entry| match &entry.event {
                Event::VaultCalls(calls) => calls.get(&path),
                _ => None,
            });
        calls.sum()
    }
}

fn target(number: u32) -> Target {
    Target::secret("default", &format!("s-{number}"))
}

pub async fn seconds(s: u64) {
    sleep(Duration::from_secs(s)).await;
}

/// Runs a test in a world.
pub fn in_world<F: Future<Output = Bench>>(spec: &WorldSpec, test: impl FnOnce(Bench) -> F) {
    virtual_time(spec.seed, async {
        let bench = test(Bench::new(spec).await).await;
        bench.world.stop().await.unwrap();
    });
}
