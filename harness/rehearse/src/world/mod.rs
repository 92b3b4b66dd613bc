//! The cluster: OpenShift's control plane as a model, with real simulated API servers, the product's plugin and a
//! simulated Vault under it, all in virtual time.
//!
//! The model ([`Plane`]) decides what its operators write and which pod is replaced when. What a pod answers is not
//! its to say: for each there is a server here, which is probed as a kubelet does, and the model is told. The migrator
//! is its own too, but the objects are rewritten here, through the API.
//!
//! In reading order: [`clock`], [`vault`], [`plugin`], [`servers`], [`objects`], [`migrator`], [`state`], `hands`, `pending`; and for
//! operators later than the procedure's [`doors`] and `sidecars` (a plugin for each key), [`health`] and [`remote`] (rotations).

pub mod clock;
pub mod doors;
mod hands;
pub mod health;
pub mod migrator;
pub mod objects;
mod pending;
pub mod plugin;
pub mod remote;
pub mod servers;
mod sidecars;
pub mod state;
pub mod vault;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use kms_apiserver::version::Version;
use kms_apiserver_api::{Target, Trouble};
use kms_apiserver_node::store::memory::MemoryStore;
use kms_controlplane::encryption_config::{CONFIG_KEY, EncryptionConfiguration};
use kms_controlplane::generation::Generation;
use kms_controlplane::invariant::{Invariant, Judge};
use kms_controlplane::object::{CONFIG_NAMESPACE, Condition, Secret};
use kms_controlplane::operand::pod_name;
use kms_controlplane::plane::{COMPONENTS, Plane};
use kms_scenario::seed::Seed;
use kms_sim_net::{Latency, Net};
use sim_vault::Flavour;
use tokio::time::{Instant, sleep_until};

use crate::options::Mode;
use clock::Clock;
use doors::Doors;
pub use pending::Pending;
use plugin::{NodePlugin, plugin_host};
use servers::{Ground, Server};
use vault::Vault;

/// Pods are probed, and the control plane is moved on, this often.
pub const TICK: Duration = Duration::from_secs(5);

/// Which version the API servers emulate: that of the generation which the procedure is about.
const VERSION: &str = "1.35";

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which operators.
    pub mode: Mode,
    /// Control plane nodes.
    pub nodes: usize,
    /// Objects that are stored at the beginning.
    pub objects: u64,
    /// Root of all randomness.
    pub seed: u64,
    /// Whose Vault.
    pub flavour: Flavour,
}

/// Tells whether a moment has come.
pub type Moment = Box<dyn Fn(&Plane) -> bool>;

/// An invariant that was broken, when it was first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// When.
    pub at: Timestamp,
    /// Which; nothing for what was read in vain.
    pub invariant: Option<Invariant>,
    /// How.
    pub text: String,
}

/// The cluster.
pub struct World {
    /// What it was made of.
    pub plan: Plan,
    /// Time.
    pub clock: Clock,
    /// What its API servers share.
    pub ground: Ground,
    /// The Vault.
    pub vault: Vault,
    /// Another Vault, where a load balancer leads elsewhere.
    pub other: Option<Vault>,
    /// A plugin for each node.
    pub plugins: Vec<NodePlugin>,
    /// Plugins at other Transit keys, by the key's name: one for each node (v2, where every key has a socket of its own).
    pub successors: BTreeMap<String, Vec<NodePlugin>>,
    /// The sockets of each node.
    pub doors: Vec<Doors>,
    /// Nodes whose plugins cannot reach Vault.
    cut_off: BTreeSet<usize>,
    /// Options that plugins are started with beside those of the procedure.
    pub settings: Vec<(String, String)>,
    /// The Transit key that the spec names (v2).
    pub key: String,
    /// The API servers: for each component one on each node.
    pub servers: Vec<Server>,
    /// The control plane.
    pub plane: Plane,
    /// Objects that the migrator rewrites in a second.
    pub rate: u64,
    /// What the migrator is at.
    pub work: migrator::Work,
    /// Objects that it has rewritten so far, over all migrations.
    pub rewritten: u64,
    /// What the nodes' health reporters said last.
    pub reports: health::Reports,
    /// What was written and acknowledged: component and object.
    pub acknowledged: Vec<(usize, Target)>,
    /// Invariants that were broken so far.
    pub broken: Vec<Broken>,
    /// Nodes whose API server was given another configuration by hand: component, node.
    pub by_hand: BTreeMap<(usize, usize), Option<EncryptionConfiguration>>,
    /// What the API answers to a change of the spec, if it refuses it.
    pub refuses: Option<String>,
    /// What waits for its moment.
    pub pending: Option<Pending>,
    /// The value that was there before it was damaged.
    pub damaged: Option<(Target, Vec<u8>)>,
    /// A moment of the control plane at which time stops once, until the next tick: it is taken away then.
    pub awaited: Option<Moment>,
    judge: Judge,
    transitions: BTreeMap<(usize, String), (Condition, Timestamp)>,
    turn: usize,
    ticked: Instant,
}

impl World {
    /// A cluster that was never encrypted, with its objects; no plugin is deployed.
    ///
    /// # Errors
    /// A part of it does not start.
    pub async fn start(plan: Plan) -> Result<Box<Self>, Trouble> {
        let seed = Seed::root(plan.seed);
        let clock = Clock::start();
        let net = Net::new(seed.label("network").u64());
        net.set_default_latency(Latency::between(
            Duration::from_micros(200),
            Duration::from_millis(2),
        ));
        let vault = Vault::start(&net, vault::HOST, plan.flavour, seed.label("vault"));
        let plugins: Vec<NodePlugin> = (0..plan.nodes)
            .map(|node| {
                let seed = seed.label(&format!("plugin {node}"));
                NodePlugin::new(&net, plugin_host(node), seed, clock)
            })
            .collect();
        let version: Version = VERSION
            .parse()
            .map_err(|error| Trouble::new(format!("server version: {error}")))?;
        let ground = Ground {
            net,
            clock,
            version,
            seed: seed.label("servers"),
            stores: std::array::from_fn(|_| MemoryStore::new()),
        };
        let generation = match plan.mode {
            Mode::Seed => Generation::V1,
            Mode::V2 | Mode::Newest => Generation::V2,
        };
        let names: Vec<String> = (0..plan.nodes).map(node_name).collect();
        let seed = seed.label("plane").u64();
        let mut plane = Plane::on(generation, &names, BTreeMap::new(), seed, clock.now());
        plane.migrator.by_others = true;
        if generation == Generation::V2 {
            give_references(&mut plane)?;
        }
        let doors: Vec<Doors> = plugins.iter().map(Doors::to).collect();
        let mut servers = Vec::new();
        for component in 0..COMPONENTS.len() {
            for (node, doors) in doors.iter().enumerate() {
                let place = (component, node);
                servers.push(Server::start(&ground, place, "1", None, doors));
            }
        }
        let objects = plan.objects;
        let mut world = Box::new(Self {
            plan,
            clock,
            ground,
            vault,
            other: None,
            plugins,
            successors: BTreeMap::new(),
            doors,
            cut_off: BTreeSet::new(),
            settings: Vec::new(),
            key: vault::KEY.to_owned(),
            servers,
            plane,
            rate: 23,
            work: migrator::Work::default(),
            rewritten: 0,
            reports: health::Reports::default(),
            acknowledged: Vec::new(),
            broken: Vec::new(),
            by_hand: BTreeMap::new(),
            refuses: None,
            pending: None,
            damaged: None,
            awaited: None,
            judge: Judge::default(),
            transitions: BTreeMap::new(),
            turn: 0,
            ticked: Instant::now(),
        });
        world.pass(Duration::from_secs(30)).await;
        world.load(objects).await?;
        Ok(world)
    }

    /// Lets time pass.
    pub async fn pass(&mut self, time: Duration) {
        self.until(time, |_| false).await;
    }

    /// Lets time pass until something is so, at most for a while; tells whether it is.
    pub async fn until(&mut self, limit: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = Instant::now() + limit;
        while !done(self) {
            if Instant::now() >= end {
                return false;
            }
            self.tick().await;
        }
        true
    }

    /// The next moment: kubelets probe, the migrator writes, operators act, pods are replaced.
    pub async fn tick(&mut self) {
        let last = self.ticked;
        sleep_until(last + TICK).await;
        let passes = join_all(self.servers.iter().map(Server::probe)).await;
        self.plane.outages.servers.clear();
        for (server, passes) in self.servers.iter_mut().zip(passes) {
            server.passes = passes;
            server.fresh &= !passes;
            if !passes {
                let place = (
                    COMPONENTS[server.component].0.to_owned(),
                    node_name(server.node),
                );
                self.plane.outages.servers.insert(place);
            }
        }
        self.ticked = Instant::now();
        let seconds = (self.ticked - last).as_secs().max(1);
        self.come_true().await;
        self.report_health().await;
        self.migrate(self.rate * seconds).await;
        self.follow_remote_keys();
        self.move_plane();
        self.follow();
    }

    /// Lets the operators act up to now, and judges what comes of it.
    pub fn move_plane(&mut self) {
        let now = self.clock.now();
        let Self {
            plane,
            judge,
            broken,
            awaited,
            ..
        } = self;
        let hit = plane.run_until(now, |plane| {
            for violation in judge.look(&plane.cluster) {
                let text = violation.to_string();
                if !broken.iter().any(|known| known.text == text) {
                    broken.push(Broken {
                        at: plane.now(),
                        invariant: Some(violation.invariant),
                        text,
                    });
                }
            }
            awaited.as_ref().is_some_and(|moment| moment(plane))
        });
        if hit {
            *awaited = None;
        }
        self.note_transitions(now);
    }

    /// Somebody changed an object or the spec: the operators see it at once.
    pub fn act(&mut self) {
        self.plane.settle();
        self.move_plane();
        self.follow();
    }

    /// Replaces the server of each pod that was replaced.
    fn follow(&mut self) {
        self.give_sidecars();
        for server in &mut self.servers {
            let (namespace, node) = (COMPONENTS[server.component].0, node_name(server.node));
            let pod = self.plane.cluster.api.pod(namespace, &pod_name(&node));
            let Some(pod) = pod.filter(|pod| pod.revision != server.revision) else {
                continue;
            };
            let config = config_of(&self.plane, namespace, &pod.revision);
            let revision = pod.revision.clone();
            self.by_hand.remove(&(server.component, server.node));
            let doors = &self.doors[server.node];
            server.replace(&self.ground, &revision, config.as_ref(), doors);
        }
    }

    /// Where a component's server on a node stands in the list.
    pub fn place(&self, component: usize, node: usize) -> usize {
        component * self.plan.nodes + node
    }

    /// A server of a component that the load balancer sends requests to; each in its turn.
    pub fn ready_server(&mut self, component: usize) -> Option<usize> {
        let ready: Vec<usize> = (0..self.plan.nodes)
            .map(|node| self.place(component, node))
            .filter(|place| self.pod_ready(*place))
            .collect();
        self.turn += 1;
        ready.get(self.turn % ready.len().max(1)).copied()
    }
}

/// What revision of a component's configuration holds.
pub fn config_of(
    plane: &Plane,
    namespace: &str,
    revision: &str,
) -> Option<EncryptionConfiguration> {
    let name = format!("{CONFIG_KEY}-{revision}");
    let secret = plane.cluster.api.cached_secret(namespace, &name)?;
    EncryptionConfiguration::from_secret(secret).ok().flatten()
}

/// A node's name, in the form of the procedure's page.
pub fn node_name(node: usize) -> String {
    format!(
        "{}.compute.internal",
        node_ip(node).replacen("10.", "ip-10.", 1).replace('.', "-")
    )
}

/// A node's address.
pub fn node_ip(node: usize) -> String {
    const LAST: [(usize, usize); 3] = [(16, 7), (32, 93), (69, 106)];
    let (third, fourth) = LAST.get(node).copied().unwrap_or((80 + node, 10 + node));
    format!("10.0.{third}.{fourth}")
}

/// What the spec of v2 says about its Vault.
pub fn plugin_spec() -> kms_controlplane::vault::PluginSpec {
    plugin_spec_at(vault::KEY)
}

/// The same with another Transit key.
pub fn plugin_spec_at(key: &str) -> kms_controlplane::vault::PluginSpec {
    let image = format!(
        "quay.io/redhat-isv-containers/698df066f8d1ddf179c15ef9@sha256:{}",
        "a".repeat(64)
    );
    serde_json::from_value(serde_json::json!({"type": "Vault", "vault": {
        "kmsPluginImage": image,
        "vaultAddress": format!("https://{}:{}", vault::HOST, vault::PORT),
        "tls": {"caBundle": {"name": "vault-ca"}},
        "authentication": {"type": "AppRole", "appRole": {"secret": {"name": "vault-approle"}}},
        "vaultKeyPath": format!("{}/keys/{key}", vault::MOUNT)}}))
    .expect("the form is the spec's own")
}

/// The objects that the spec of v2 refers to. Their content is not used: plugins log in as in the procedure.
///
/// # Errors
/// They are there already.
pub fn give_references(plane: &mut Plane) -> Result<(), Trouble> {
    let mut login = Secret::new(CONFIG_NAMESPACE, "vault-approle");
    for key in ["role-id", "secret-id"] {
        login
            .data
            .insert(key.to_owned(), format!("<{key}>").into_bytes());
    }
    let created = plane.cluster.api.create_secret(login);
    created.map_err(|error| Trouble::new(error.to_string()))?;
    let bundle = BTreeMap::from([("ca-bundle.crt".to_owned(), "<ca>".to_owned())]);
    plane
        .cluster
        .api
        .set_config_map(CONFIG_NAMESPACE, "vault-ca", Some(bundle));
    Ok(())
}
