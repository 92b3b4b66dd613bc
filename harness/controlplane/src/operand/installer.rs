//! Installer: takes one node after the other to the newest revision.

use std::time::Duration;

use jiff::Timestamp;

use super::{Kind, NodeStatus, Operand, Work, pod_name};
use crate::cluster::Cluster;
use crate::object::{Event, Pod, PodPhase};

/// After a fall back: first wait, and longest.
const FALLBACK: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(7200));

impl Operand {
    /// Moves the nodes that are on their way.
    pub(super) fn advance(
        &mut self,
        cluster: &mut Cluster,
        now: Timestamp,
        events: &mut Vec<Event>,
    ) {
        let (timing, latest, single) = (self.timing, self.latest, self.nodes.len() == 1);
        let namespace = cluster.components[self.component].name.clone();
        for node in self.nodes.iter_mut().filter(|node| node.work != Work::Idle) {
            if latest > node.target {
                // A newer revision does not wait for one that is not ready.
                node.target = latest;
                node.work = Work::Install {
                    until: now + timing.install,
                };
                node.fallbacks = 0;
                continue;
            }
            match node.work {
                Work::Install { until } if until <= now => {
                    node.work = Work::Stop {
                        until: now + timing.stop,
                    }
                }
                Work::Stop { until } if until <= now => {
                    start(cluster, &namespace, &node.name, node.target);
                    node.ready_since = None;
                    node.failing_since = None;
                    node.work = Work::Start { since: now };
                }
                Work::Start { .. } if node.ready_since.is_some() => {
                    let text = format!(
                        "Updated node {:?} from revision {} to {} because static pod is ready",
                        node.name, node.current, node.target
                    );
                    if self.kind == Kind::StaticPod {
                        events.push(Event::normal("NodeCurrentRevisionChanged", text));
                    }
                    node.current = node.target;
                    node.target = 0;
                    node.fallbacks = 0;
                    node.work = Work::Idle;
                }
                Work::Start { since }
                    if single
                        && self.kind == Kind::StaticPod
                        && since + timing.startup_limit <= now =>
                {
                    start(cluster, &namespace, &node.name, node.current);
                    let wait = FALLBACK
                        .0
                        .saturating_mul(1 << node.fallbacks.min(8))
                        .min(FALLBACK.1);
                    node.fallbacks += 1;
                    node.work = Work::Fallen { retry: now + wait };
                }
                Work::Fallen { retry } if retry <= now => {
                    node.work = Work::Install {
                        until: now + timing.install,
                    };
                }
                _ => {}
            }
        }
    }

    /// Takes the next node, if none is on its way and every gate is open.
    pub(super) fn take_next(&mut self, cluster: &Cluster, now: Timestamp, events: &mut Vec<Event>) {
        if self.nodes.iter().any(|node| node.work != Work::Idle) || !self.gate_is_open(now) {
            return;
        }
        let Some((first, why)) = self.worst(cluster) else {
            return;
        };
        // The worst node may need nothing: then the next in line.
        let count = self.nodes.len();
        for offset in 0..count {
            let latest = self.latest;
            let node = &mut self.nodes[(first + offset) % count];
            if node.current >= latest {
                continue;
            }
            let why = if offset == 0 {
                why
            } else {
                format!("node {} is the next node in the line", node.name)
            };
            let text = format!(
                "Updating node {:?} from revision {} to {latest} because {why}",
                node.name, node.current
            );
            if self.kind == Kind::StaticPod {
                events.push(Event::normal("NodeTargetRevisionChanged", text));
            }
            node.target = latest;
            node.work = Work::Install {
                until: now + self.timing.install,
            };
            return;
        }
    }

    /// Every ready pod has been ready for longer than the gate asks.
    fn gate_is_open(&self, now: Timestamp) -> bool {
        let min_ready = self.timing.min_ready;
        min_ready.is_zero()
            || self
                .nodes
                .iter()
                .filter_map(|node| node.ready_since)
                .all(|since| since + min_ready < now)
    }

    /// The node to look at first, and why: the oldest that is not ready, else the oldest.
    fn worst(&self, cluster: &Cluster) -> Option<(usize, String)> {
        let namespace = &cluster.components[self.component].name;
        let running = |node: &NodeStatus| -> u32 {
            cluster
                .api
                .pod(namespace, &pod_name(&node.name))
                .and_then(|pod| pod.revision.parse().ok())
                .unwrap_or(0)
        };
        let numbered = || self.nodes.iter().enumerate();
        let not_ready = numbered()
            .filter(|(_, node)| node.ready_since.is_none())
            .min_by_key(|(_, node)| running(node));
        if let Some((at, node)) = not_ready {
            let why = format!(
                "node {} with revision {} is the oldest not ready",
                node.name,
                running(node)
            );
            return Some((at, why));
        }
        let (at, node) = numbered().min_by_key(|(_, node)| node.current)?;
        Some((
            at,
            format!(
                "node {} with revision {} is the oldest",
                node.name, node.current
            ),
        ))
    }
}

/// A new pod on the node, not ready yet.
fn start(cluster: &mut Cluster, namespace: &str, node: &str, revision: u32) {
    let pod = Pod {
        name: pod_name(node),
        node: node.to_owned(),
        revision: revision.to_string(),
        phase: PodPhase::Running,
        ready: false,
    };
    cluster.api.set_pod(namespace, pod);
}
