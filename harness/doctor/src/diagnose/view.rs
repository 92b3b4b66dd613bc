//! Facts that several rules need.

use std::collections::{BTreeMap, BTreeSet};

use crate::evidence::{Component, Condition, Config, Evidence, KeySecret, Log, Node, Outcome};
use crate::sign::Sign;

/// A line of a log is about the present for so long, in seconds.
const RECENT: i64 = 600;

/// Evidence, and facts about it.
pub struct View<'a> {
    /// It.
    pub seen: &'a Evidence,
}

impl<'a> View<'a> {
    pub fn of(seen: &'a Evidence) -> Self {
        Self { seen }
    }

    /// The type that the spec asks for, if it was seen.
    pub fn mode(&self) -> Option<&'a str> {
        self.seen.cluster.spec.get().map(|spec| spec.mode.as_str())
    }

    pub fn components(&self) -> impl Iterator<Item = (&'a str, &'a Component)> {
        self.seen
            .cluster
            .components
            .iter()
            .map(|(name, it)| (name.as_str(), it))
    }

    /// Conditions that hold: component, type, condition. A ClusterOperator says the same minutes later, so it counts where
    /// the operator's own resource was not seen.
    pub fn conditions(&self) -> impl Iterator<Item = (&'a str, &'a str, &'a Condition)> {
        self.components().flat_map(|(name, it)| {
            let own = it.operator.get().map(|it| &it.conditions);
            let all = own.or_else(|| it.cluster_operator.get().map(|it| &it.parts));
            let all = all.into_iter().flatten();
            all.filter(|(_, it)| it.holds)
                .map(move |(kind, it)| (name, kind.as_str(), it))
        })
    }

    /// Whether both an operator and its ClusterOperator have a condition.
    pub fn is_confirmed(&self, component: &str, kind: &str) -> bool {
        let it = self.seen.cluster.components.get(component);
        it.is_some_and(|it| {
            let told = it.cluster_operator.get();
            it.operator.get().is_some() && told.is_some_and(|it| it.parts.contains_key(kind))
        })
    }

    /// Something was written with a KMS key.
    pub fn used(&self) -> bool {
        let migrated = |key: &KeySecret| key.mode == "KMS" && !key.migrated.is_empty();
        let mut components = self.components();
        let mut etcd = self.seen.etcd.values().filter_map(|it| it.get());
        components.any(|(_, it)| it.keys.get().is_some_and(|all| all.iter().any(migrated)))
            || etcd.any(|it| {
                let mut labels = it.values.values().flat_map(BTreeMap::keys);
                labels.any(|label| label.starts_with("kms:"))
            })
    }

    /// What a component's server on a node runs: what lies there, else what its revision is.
    pub fn running(&self, node: &'a Node, component: &str) -> Option<&'a Config> {
        let server = node.servers.get(component)?;
        server.config.get().or_else(|| {
            let revision = server.pod.get()?.revision?;
            let revisions = self
                .seen
                .cluster
                .components
                .get(component)?
                .revisions
                .get()?;
            revisions.get(&revision)
        })
    }

    /// A configuration that is wanted or running lists KMS.
    pub fn lists_kms(&self) -> bool {
        let mut targets = self.components().filter_map(|(_, it)| it.target.get());
        let nodes = self.seen.nodes.values();
        let mut running = nodes.flat_map(|node| {
            let all = node.servers.keys();
            all.filter_map(move |component| self.running(node, component))
        });
        targets.any(Config::has_kms) || running.any(Config::has_kms)
    }

    /// Something is wrong on a node now, or nothing says that it is not.
    pub fn troubled(&self, node: &Node) -> bool {
        let mut servers = node.servers.values();
        let silent = node.plugin.status.get().is_none()
            && !node.servers.values().any(|it| {
                it.pod.get().is_some() || it.readyz.get().is_some() || it.lists.get().is_some()
            });
        silent
            || node
                .plugin
                .status
                .get()
                .is_some_and(|it| !matches!(it.outcome, Outcome::Good { .. }))
            || servers.any(|it| {
                it.pod.get().is_some_and(|pod| !pod.ready)
                    || it.readyz.get().is_some_and(|it| !it.passes)
                    || it
                        .lists
                        .get()
                        .is_some_and(|all| all.values().any(|it| !it.is_empty()))
            })
    }

    /// What a log has said of late.
    pub fn recent(&self, log: Option<&Log>) -> BTreeSet<Sign> {
        let lines = log.into_iter().flat_map(|log| &log.lines);
        let now = self.seen.taken;
        lines
            .filter(|line| line.last.is_none_or(|at| now - at <= RECENT))
            .flat_map(|line| line.signs.iter().copied())
            .collect()
    }

    /// How many nodes, in words.
    pub fn on(&self, nodes: &[&str]) -> String {
        if nodes.len() > 1 && nodes.len() == self.seen.nodes.len() {
            "all nodes".to_owned()
        } else {
            nodes.join(", ")
        }
    }
}
