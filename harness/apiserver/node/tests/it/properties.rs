//! Three servers on one store, each with its own plugin on one KMS: whatever happens, what was acknowledged reads back.

use std::collections::BTreeMap;
use std::time::Duration;

use kms_apiserver_api::{Answer, ApiServer, Target};
use kms_apiserver_node::simulated::Simulated;
use kms_apiserver_node::store::memory::MemoryStore;
use proptest::prelude::*;
use prost::Message;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::plugin::Plugin;
use crate::world::{get, server, settings};

const NODES: usize = 3;
const NAMES: usize = 5;

/// A plugin that has been up for so long serves its server: the longest pause between two dials, the connection and
/// the next check.
const SETTLED: Duration = Duration::from_secs(144 + 20 + 10);

/// A new key_id is seen within so long: a poll, and the good result that may shadow it (KMS2-OUT-02).
const SEEN: Duration = Duration::from_secs(60 + 20);

#[derive(Clone, Debug)]
enum Op {
    Create { node: usize, name: usize },
    Update { node: usize, name: usize },
    Touch { node: usize, name: usize },
    Delete { node: usize, name: usize },
    Rotate,
    Down { node: usize },
    Up { node: usize },
    Restart { node: usize },
    Wait { seconds: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    let (node, name) = (0..NODES, 0..NAMES);
    prop_oneof![
        4 => (node.clone(), name.clone()).prop_map(|(node, name)| Op::Create { node, name }),
        4 => (node.clone(), name.clone()).prop_map(|(node, name)| Op::Update { node, name }),
        2 => (node.clone(), name.clone()).prop_map(|(node, name)| Op::Touch { node, name }),
        1 => (node.clone(), name).prop_map(|(node, name)| Op::Delete { node, name }),
        1 => Just(Op::Rotate),
        1 => node.clone().prop_map(|node| Op::Down { node }),
        2 => node.clone().prop_map(|node| Op::Up { node }),
        1 => node.prop_map(|node| Op::Restart { node }),
        3 => prop_oneof![1..5_u64, 20..90_u64, 150..400_u64].prop_map(|seconds| Op::Wait { seconds }),
    ]
}

struct Cluster {
    nodes: Vec<(Simulated, Plugin)>,
    /// Since when each plugin has been up, with its server running.
    up_since: Vec<Option<Instant>>,
    /// What was acknowledged.
    acknowledged: BTreeMap<String, String>,
    rotations: usize,
    rotated: Instant,
    values: usize,
}

impl Cluster {
    async fn start() -> Self {
        let store = MemoryStore::new();
        let mut nodes = Vec::new();
        for seed in 1..=NODES {
            let plugin = Plugin::new();
            let node = server(settings(37, u8::try_from(seed).unwrap()), &store, &plugin);
            node.start().await.unwrap();
            nodes.push((node, plugin));
        }
        sleep(Duration::from_secs(2)).await;
        let up_since = vec![Some(Instant::now()); NODES];
        Cluster {
            nodes,
            up_since,
            acknowledged: BTreeMap::new(),
            rotations: 1,
            rotated: Instant::now(),
            values: 0,
        }
    }

    fn settled(&self, node: usize) -> bool {
        self.up_since[node].is_some_and(|since| since.elapsed() >= SETTLED)
    }

    async fn step(&mut self, op: &Op) {
        match *op {
            Op::Create { node, name } => {
                let (target, value) = (target(name), self.value());
                let answer = self.nodes[node]
                    .0
                    .create(&target, body(&value))
                    .await
                    .unwrap();
                let known = self.acknowledged.contains_key(&target.name);
                match answer.code {
                    201 => assert_eq!(self.acknowledged.insert(target.name, value), None),
                    409 => assert!(known),
                    _ => self.may_fail(node, &answer),
                }
            }
            Op::Update { node, name } => {
                let (target, value) = (target(name), self.value());
                let answer = self.nodes[node]
                    .0
                    .update(&target, body(&value))
                    .await
                    .unwrap();
                let known = self.acknowledged.contains_key(&target.name);
                match answer.code {
                    200 => assert!(self.acknowledged.insert(target.name, value).is_some()),
                    404 => assert!(!known),
                    _ => self.may_fail(node, &answer),
                }
            }
            Op::Touch { node, name } => self.touch(node, &target(name)).await,
            Op::Delete { node, name } => {
                let target = target(name);
                let answer = self.nodes[node].0.delete(&target).await.unwrap();
                match answer.code {
                    200 => assert!(self.acknowledged.remove(&target.name).is_some()),
                    404 => assert!(!self.acknowledged.contains_key(&target.name)),
                    _ => self.may_fail(node, &answer),
                }
            }
            Op::Rotate => {
                self.rotations += 1;
                self.rotated = Instant::now();
                for (_, plugin) in &self.nodes {
                    plugin.with(|plugin| plugin.key_id = format!("k{}", self.rotations));
                }
            }
            Op::Down { node } => {
                self.nodes[node].1.down();
                self.up_since[node] = None;
            }
            Op::Up { node } => {
                self.nodes[node].1.up();
                self.up_since[node].get_or_insert_with(Instant::now);
            }
            Op::Restart { node } => {
                self.nodes[node].0.restart().await.unwrap();
                if self.up_since[node].is_some() {
                    self.up_since[node] = Some(Instant::now());
                }
            }
            Op::Wait { seconds } => sleep(Duration::from_secs(seconds)).await,
        }
    }

    /// A no-op update: it changes the stored value exactly if that is stale for this server, and then no more.
    async fn touch(&mut self, node: usize, target: &Target) {
        let server = &self.nodes[node].0;
        let read = server.get(target).await.unwrap();
        if read.code != 200 {
            return;
        }
        let before = stored_key(server, target).await;
        let first = server.update(target, read.json().clone()).await.unwrap();
        if first.code != 200 {
            self.may_fail(node, &first);
            return;
        }
        let after = stored_key(server, target).await;
        let rewritten = first.resource_version() != read.resource_version();
        // the seed changes with each writer, but only another key makes a value stale (KMS2-STALE-01)
        assert_eq!(rewritten, before != after, "{before} {after}");
        let second = server.update(target, first.json().clone()).await.unwrap();
        assert_eq!(
            (second.code, second.resource_version()),
            (200, first.resource_version())
        );
        if self.settled(node) && self.rotated.elapsed() >= SEEN {
            assert_eq!(after, format!("k{}", self.rotations));
        }
    }

    /// Nothing but a missing plugin is a reason to fail.
    fn may_fail(&self, node: usize, answer: &Answer) {
        assert_eq!(answer.code, 500, "{answer:?}");
        assert!(
            !self.settled(node),
            "its plugin has long been up: {answer:?}"
        );
    }

    /// A read is right, or fails for want of a plugin.
    async fn check(&self) {
        for name in 0..NAMES {
            let target = target(name);
            let wanted = self.acknowledged.get(&target.name);
            for (node, (server, _)) in self.nodes.iter().enumerate() {
                let answer = server.get(&target).await.unwrap();
                match (answer.code, wanted) {
                    (200, Some(wanted)) => {
                        assert_eq!(answer.field("/data/a"), wanted, "node {node}")
                    }
                    (404, None) => {}
                    (500, Some(_)) => self.may_fail(node, &answer),
                    (code, wanted) => panic!("node {node}: {code}, wanted {wanted:?}"),
                }
            }
        }
    }

    async fn heal(&mut self) {
        for node in 0..NODES {
            self.step(&Op::Up { node }).await;
        }
        sleep(Duration::from_secs(400)).await;
        assert!((0..NODES).all(|node| self.settled(node)));
        self.check().await;
        for (server, _) in &self.nodes {
            for path in ["/readyz", "/livez"] {
                assert_eq!(get(server, path).await.text(), "ok");
            }
            let list = get(server, "/api/v1/secrets").await;
            let shown: BTreeMap<String, String> = list
                .items()
                .iter()
                .map(|item| (text(item, "/metadata/name"), text(item, "/data/a")))
                .collect();
            assert_eq!(shown, self.acknowledged);
        }
        // storage migration leaves nothing under an old key
        for name in self.acknowledged.keys().cloned().collect::<Vec<_>>() {
            let target = Target::secret("default", &name);
            self.touch(0, &target).await;
            assert_eq!(
                stored_key(&self.nodes[0].0, &target).await,
                format!("k{}", self.rotations)
            );
        }
        self.check().await;
    }

    fn value(&mut self) -> String {
        self.values += 1;
        format!("{:04}", self.values)
    }
}

fn target(name: usize) -> Target {
    Target::secret("default", &format!("n-{name}"))
}

/// Four digits are base64.
fn body(value: &str) -> Value {
    json!({"data": {"a": value}})
}

fn text(item: &Value, pointer: &str) -> String {
    item.pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

#[derive(Clone, PartialEq, Message)]
struct Stored {
    #[prost(string, tag = "2")]
    key_id: String,
}

async fn stored_key(server: &Simulated, target: &Target) -> String {
    let stored = server.stored(target).await.unwrap().unwrap();
    let object = stored
        .bytes
        .strip_prefix(b"k8s:enc:kms:v2:demo:")
        .expect("everything is encrypted");
    Stored::decode(object).unwrap().key_id
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_reads_back_on_every_server(ops in prop::collection::vec(op(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut cluster = Cluster::start().await;
            for op in &ops {
                cluster.step(op).await;
                cluster.check().await;
            }
            cluster.heal().await;
        });
    }
}
