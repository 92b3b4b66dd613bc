//! The operand: API server pods on the nodes, replaced one after the other for each new configuration.
//!
//! A configuration acts through a new pod only: the operand's copy becomes a numbered revision, an installer takes one
//! node after the other to it, each with its gates. A pod whose plugin does not answer turns un-ready after three
//! probes and is never restarted for it; while it is un-ready nothing in the state machine moves.

mod conditions;
mod installer;
mod revision;

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use crate::cluster::Cluster;
use crate::encryption_config::{CONFIG_KEY, EncryptionConfiguration, Provider};
use crate::object::{Event, Pod, PodPhase};

/// Who runs the pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Static pods, put there by an installer: kube-apiserver.
    StaticPod,
    /// A Deployment with one pod per node: the other two.
    Deployment,
}

/// How long things take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// From the decision for a node until its old pod is told to stop.
    pub install: Duration,
    /// From there until the old pod is gone: it drains first.
    pub stop: Duration,
    /// From there until the new pod can be ready.
    pub start: Duration,
    /// So long every ready pod must have been ready before the next node is taken.
    pub min_ready: Duration,
    /// A pod is un-ready once its probe has failed for so long.
    pub unready_after: Duration,
    /// On a single node: a pod that is not ready by then makes way for the revision before.
    pub startup_limit: Duration,
}

impl Timing {
    /// kube-apiserver: 7 min 40 s per node, as the operators' tests reckon.
    pub const STATIC_POD: Self = Self {
        install: Duration::from_secs(60),
        stop: Duration::from_secs(210),
        start: Duration::from_secs(190),
        min_ready: Duration::from_secs(30),
        unready_after: Duration::from_secs(15),
        startup_limit: Duration::from_secs(300),
    };
    /// openshift-apiserver and oauth-apiserver: about a minute per node.
    pub const DEPLOYMENT: Self = Self {
        install: Duration::ZERO,
        stop: Duration::from_secs(20),
        start: Duration::from_secs(40),
        min_ready: Duration::ZERO,
        ..Self::STATIC_POD
    };
}

/// Which plugins do not answer, and which nodes nobody reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outages {
    /// Node and endpoint of a plugin that is down or unhealthy.
    pub plugins: BTreeSet<(String, String)>,
    /// Nodes that are cut off.
    pub nodes: BTreeSet<String>,
    /// Component and node of API servers whose own `/readyz` fails, where somebody runs real ones beside this model.
    pub servers: BTreeSet<(String, String)>,
}

/// What a node is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Nothing.
    Idle,
    /// The installer writes the new revision.
    Install {
        /// Until then.
        until: Timestamp,
    },
    /// The old pod drains.
    Stop {
        /// Until then.
        until: Timestamp,
    },
    /// The new pod is not ready yet.
    Start {
        /// Started then.
        since: Timestamp,
    },
    /// The new pod made way for the revision before (single node).
    Fallen {
        /// The next try is then.
        retry: Timestamp,
    },
}

/// `.status.nodeStatuses[]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// Node.
    pub name: String,
    /// Revision that was last ready there.
    pub current: u32,
    /// Revision that it is on the way to; 0 if to none.
    pub target: u32,
    /// What it is doing.
    pub work: Work,
    /// So often it fell back from its target.
    pub fallbacks: u32,
    ready_since: Option<Timestamp>,
    failing_since: Option<Timestamp>,
}

/// The pods of a component and what moves them.
#[derive(Clone, Debug)]
pub struct Operand {
    /// Who runs them.
    pub kind: Kind,
    /// How long it takes.
    pub timing: Timing,
    /// Newest revision.
    pub latest: u32,
    /// Nodes in the order of the status.
    pub nodes: Vec<NodeStatus>,
    component: usize,
}

impl Operand {
    /// Pods of revision 1 on all nodes of a component, ready, without an encryption configuration.
    ///
    /// # Panics
    ///
    /// If there is no component of that place.
    pub fn new(cluster: &mut Cluster, component: usize, kind: Kind, now: Timestamp) -> Self {
        let timing = match kind {
            Kind::StaticPod => Timing::STATIC_POD,
            Kind::Deployment => Timing::DEPLOYMENT,
        };
        let operator = cluster.components[component].clone();
        let nodes = operator.nodes.iter().map(|node| {
            let pod = Pod {
                name: pod_name(node),
                node: node.clone(),
                revision: "1".to_owned(),
                phase: PodPhase::Running,
                ready: true,
            };
            cluster.api.set_pod(&operator.name, pod);
            NodeStatus {
                name: node.clone(),
                current: 1,
                target: 0,
                work: Work::Idle,
                fallbacks: 0,
                ready_since: Some(now),
                failing_since: None,
            }
        });
        let nodes = nodes.collect();
        Self {
            kind,
            timing,
            latest: 1,
            nodes,
            component,
        }
    }

    /// Does what is due; gives the events of it.
    pub fn step(&mut self, cluster: &mut Cluster, outages: &Outages, now: Timestamp) -> Vec<Event> {
        let mut events = self.new_revision(cluster);
        loop {
            self.probe(cluster, outages, now);
            let (before, count) = (self.nodes.clone(), events.len());
            self.advance(cluster, now, &mut events);
            self.take_next(cluster, now, &mut events);
            if self.nodes == before && events.len() == count {
                break;
            }
        }
        self.report(cluster);
        events
    }

    /// When something will happen by itself.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let timers = self.nodes.iter().flat_map(|node| {
            let work = match node.work {
                Work::Idle => None,
                Work::Install { until } | Work::Stop { until } => Some(until),
                Work::Start { since } if since + self.timing.start > now => {
                    Some(since + self.timing.start)
                }
                Work::Start { since } => Some(since + self.timing.startup_limit),
                Work::Fallen { retry } => Some(retry),
            };
            let unready = node
                .failing_since
                .map(|since| since + self.timing.unready_after);
            // strictly longer than the gate
            let gate = node
                .ready_since
                .map(|since| since + self.timing.min_ready + Duration::from_secs(1));
            [work, unready, gate]
        });
        timers.flatten().filter(|at| *at > now).min()
    }

    /// Every node runs the newest revision, ready.
    pub fn is_rolled_out(&self) -> bool {
        self.nodes.iter().all(|node| {
            node.current == self.latest && node.target == 0 && node.ready_since.is_some()
        })
    }

    /// The readiness probe of every pod. The liveness probe does not look at plugins: nothing is restarted here.
    fn probe(&mut self, cluster: &mut Cluster, outages: &Outages, now: Timestamp) {
        let namespace = cluster.components[self.component].name.clone();
        for node in &mut self.nodes {
            let Some(mut pod) = cluster.api.pod(&namespace, &pod_name(&node.name)).cloned() else {
                continue;
            };
            if pod.phase != PodPhase::Running {
                continue;
            }
            let mut ready = serves(cluster, &namespace, &pod, outages);
            match node.work {
                Work::Stop { .. } => ready = false,
                Work::Start { since } if since + self.timing.start > now => ready = false,
                Work::Idle | Work::Install { .. } | Work::Start { .. } | Work::Fallen { .. }
                    if ready =>
                {
                    node.failing_since = None;
                }
                _ if pod.ready => {
                    let since = *node.failing_since.get_or_insert(now);
                    ready = since + self.timing.unready_after > now;
                }
                _ => {}
            }
            match (ready, node.ready_since) {
                (true, None) => node.ready_since = Some(now),
                (false, Some(_)) => node.ready_since = None,
                _ => {}
            }
            if pod.ready != ready {
                pod.ready = ready;
                cluster.api.set_pod(&namespace, pod);
            }
        }
    }
}

/// Name of the pod on a node.
pub fn pod_name(node: &str) -> String {
    format!("apiserver-{node}")
}

/// `/readyz` passes: the node is reachable and every KMS provider of the configuration answers, read keys included.
fn serves(cluster: &Cluster, namespace: &str, pod: &Pod, outages: &Outages) -> bool {
    let config = cluster
        .api
        .cached_secret(namespace, &format!("{CONFIG_KEY}-{}", pod.revision))
        .and_then(|secret| EncryptionConfiguration::from_secret(secret).ok().flatten());
    let providers = config
        .iter()
        .flat_map(|config| &config.resources)
        .flat_map(|entry| &entry.providers);
    !outages.nodes.contains(&pod.node)
        && !outages
            .servers
            .contains(&(namespace.to_owned(), pod.node.clone()))
        && providers
            .filter_map(|provider| match provider {
                Provider::Kms(kms) => Some(kms.endpoint.clone()),
                _ => None,
            })
            .all(|endpoint| !outages.plugins.contains(&(pod.node.clone(), endpoint)))
}
