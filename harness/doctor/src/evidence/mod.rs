//! What was seen of a system at one moment, and what was not.
//!
//! Everything here is fit to be shown: [`crate::intake`] makes it of raw documents and lets only known fields and words
//! through. Times are seconds since 1970-01-01 UTC. Not here: what it means ([`mod@crate::diagnose`]).

mod cluster;
mod node;
mod vault;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use cluster::{
    Cluster, ClusterOperator, Component, Condition, Config, Event, Form, KeySecret, Management,
    Migration, Operator, Revision, Spec,
};
pub use node::{
    Check, Line, Log, Metrics, Node, Outcome, Plugin, Pod, Readyz, Server, Socket, Status,
};
pub use vault::{Etcd, Health, Key, Try, Vault, Version, Written};

/// The form of [`Evidence`]; a bundle of another one is refused.
pub const FORMAT: u32 = 3;

/// A part of the evidence, or why it is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen<T> {
    /// This is what was seen.
    Seen(T),
    /// Nothing was seen.
    NotSeen(Why),
}

impl<T> Seen<T> {
    /// What was seen, if anything was.
    pub fn get(&self) -> Option<&T> {
        match self {
            Self::Seen(it) => Some(it),
            Self::NotSeen(_) => None,
        }
    }

    /// Why nothing was seen.
    pub fn why(&self) -> Option<Why> {
        match self {
            Self::Seen(_) => None,
            Self::NotSeen(why) => Some(*why),
        }
    }
}

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self::NotSeen(Why::NotAsked)
    }
}

/// Why something was not seen. Words of our own alone, so that nothing of a server's text gets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Nobody asked for it.
    NotAsked,
    /// From where this runs there is no way to it.
    NoWay,
    /// The credential may not look at it.
    NotAllowed,
    /// There is no such thing.
    NotThere,
    /// Nobody is reached.
    Unreachable,
    /// No answer in time.
    NoAnswer,
    /// The answer was an error.
    Refused,
    /// What came cannot be read.
    Unreadable,
    /// It is longer than what is read.
    TooLong,
}

impl Why {
    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            Self::NotAsked => "it was not asked for",
            Self::NoWay => "there is no way to it from here",
            Self::NotAllowed => "the credential may not look at it",
            Self::NotThere => "there is no such thing",
            Self::Unreachable => "nobody is reached there",
            Self::NoAnswer => "no answer in time",
            Self::Refused => "the answer was an error",
            Self::Unreadable => "what came cannot be read",
            Self::TooLong => "it is longer than what is read",
        }
    }
}

/// Everything that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// [`FORMAT`].
    pub format: u32,
    /// When, in seconds since 1970.
    pub taken: i64,
    /// The cluster's objects.
    pub cluster: Cluster,
    /// Nodes of the control plane, `node-1` and so on in place of their names.
    pub nodes: BTreeMap<String, Node>,
    /// What lies in etcd, by component.
    pub etcd: BTreeMap<String, Seen<Etcd>>,
    /// Vault.
    pub vault: Vault,
}

impl Evidence {
    /// Every part that was asked for and not seen: its name, and why.
    pub fn not_seen(&self) -> Vec<(String, Why)> {
        let mut all = Vec::new();
        let mut note = |name: String, why: Option<Why>| {
            if let Some(why) = why.filter(|why| *why != Why::NotAsked) {
                all.push((name, why));
            }
        };
        note("cluster/spec".to_owned(), self.cluster.spec.why());
        note(
            "cluster/migrations".to_owned(),
            self.cluster.migrations.why(),
        );
        for (name, it) in &self.cluster.components {
            note(format!("{name}/operator"), it.operator.why());
            let why = it.cluster_operator.why();
            note(format!("{name}/cluster-operator"), why);
            note(format!("{name}/keys"), it.keys.why());
            note(format!("{name}/target"), it.target.why());
            note(format!("{name}/revisions"), it.revisions.why());
            note(format!("{name}/events"), it.events.why());
            note(format!("{name}/log"), it.log.why());
        }
        for (name, node) in &self.nodes {
            note(format!("{name}/plugin/pods"), node.plugin.pods.why());
            note(format!("{name}/plugin/socket"), node.plugin.socket.why());
            note(format!("{name}/plugin/status"), node.plugin.status.why());
            note(format!("{name}/plugin/log"), node.plugin.log.why());
            for (component, server) in &node.servers {
                let at = format!("{name}/{component}");
                note(format!("{at}/pod"), server.pod.why());
                note(format!("{at}/config"), server.config.why());
                note(format!("{at}/readyz"), server.readyz.why());
                note(format!("{at}/check"), server.check.why());
                note(format!("{at}/lists"), server.lists.why());
                note(format!("{at}/metrics"), server.metrics.why());
                note(format!("{at}/log"), server.log.why());
            }
        }
        for (name, etcd) in &self.etcd {
            note(format!("etcd/{name}"), etcd.why());
        }
        note("vault/health".to_owned(), self.vault.health.why());
        note("vault/key".to_owned(), self.vault.key.why());
        note("vault/plugin".to_owned(), self.vault.plugin.why());
        all
    }

    /// Whether anything at all was seen.
    pub fn saw_anything(&self) -> bool {
        let cluster = self.cluster.spec.get().is_some()
            || self
                .cluster
                .components
                .values()
                .any(|it| it.operator.get().is_some() || it.cluster_operator.get().is_some());
        let node = |node: &Node| {
            let plugin = &node.plugin;
            plugin.status.get().is_some()
                || plugin.socket.get().is_some()
                || node
                    .servers
                    .values()
                    .any(|server| server.pod.get().is_some() || server.readyz.get().is_some())
        };
        let vault = &self.vault;
        cluster
            || self.nodes.values().any(node)
            || vault.health.get().is_some()
            || vault.key.get().is_some()
            || vault.plugin.get().is_some()
            || self.etcd.values().any(|it| it.get().is_some())
    }
}
