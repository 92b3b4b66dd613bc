//! Plugins that are not there or do not run.

use std::collections::{BTreeMap, BTreeSet};

use crate::evidence::{Node, Outcome};
use crate::finding::Finding;

use super::view::View;

/// What was found, and the nodes whose plugin cannot be asked for anything.
pub(super) struct Plugins<'a> {
    pub findings: Vec<Finding>,
    pub down: BTreeSet<&'a str>,
}

/// How a plugin is not there.
enum Absent {
    /// Nothing of it.
    Missing(&'static str),
    /// It does not run.
    Down(String),
}

pub(super) fn look<'a>(view: &View<'a>) -> Plugins<'a> {
    let mut plugins = Plugins {
        findings: Vec::new(),
        down: BTreeSet::new(),
    };
    let absent: BTreeMap<&'a str, Absent> = view
        .seen
        .nodes
        .iter()
        .filter(|(_, node)| wanted(view, node))
        .filter_map(|(name, node)| Some((name.as_str(), absent(view, node)?)))
        .collect();
    plugins.down = absent.keys().copied().collect();
    let names: Vec<&str> = absent.keys().copied().collect();
    if absent.is_empty() || fell_back(view) {
        return plugins;
    }
    let left = view.mode().is_some_and(|mode| mode != "KMS");
    if left && view.lists_kms() {
        let saw = format!(
            "a configuration lists kms, and no plugin answers on {}",
            view.on(&names)
        );
        plugins.findings.push(Finding::new("OCP-FAULT-26", saw));
        return plugins;
    }
    if let Some((component, writers)) = mixed(view) {
        let saw = format!(
            "nodes of {component} write with {}, and no plugin answers on {}",
            writers.into_iter().collect::<Vec<_>>().join(" and "),
            view.on(&names)
        );
        plugins.findings.push(Finding::new("OCP-FAULT-24", saw));
        return plugins;
    }
    for (name, how) in absent {
        let finding = match how {
            Absent::Missing(why) => Finding::new("OCP-FAULT-04", format!("{name}: {why}")),
            Absent::Down(why) => Finding::new("OCP-FAULT-05", format!("{name}: {why}")),
        };
        plugins.findings.push(finding);
    }
    plugins
}

/// Whether a plugin must be on a node. Who asks for a socket alone means that one is.
fn wanted(view: &View<'_>, node: &Node) -> bool {
    let runs = node.servers.keys().any(|component| {
        view.running(node, component)
            .is_some_and(|config| config.has_kms())
    });
    match view.seen.cluster.spec.get() {
        None => true,
        // sidecars come with the configuration, static pods before it
        Some(spec) => runs || (spec.mode == "KMS" && !spec.names_vault),
    }
}

fn absent(view: &View<'_>, node: &Node) -> Option<Absent> {
    let plugin = &node.plugin;
    let broken = plugin.pods.get().and_then(|pods| {
        let fails =
            |reason: &&String| !matches!(reason.as_str(), "ContainerCreating" | "PodInitializing");
        pods.iter().find_map(|pod| {
            let reason = pod.waiting.iter().find(fails)?;
            Some(format!(
                "its pod waits with {reason}, {} restarts",
                pod.restarts
            ))
        })
    });
    let socket = plugin.socket.get();
    if socket.is_some_and(|it| !it.there) {
        return Some(Absent::Missing("there is no socket"));
    }
    if socket.is_some_and(|it| !it.socket) {
        return Some(Absent::Missing(
            "what lies at the socket's path is no socket",
        ));
    }
    match plugin.status.get().map(|it| &it.outcome) {
        Some(Outcome::NoSocket) => Some(Absent::Missing("there is no socket")),
        Some(Outcome::Denied) => Some(Absent::Missing(
            "the socket may not be used: look at owner, mode and folder",
        )),
        Some(Outcome::Nobody) => {
            Some(Absent::Down(broken.unwrap_or_else(|| {
                "nobody listens on the socket".to_owned()
            })))
        }
        Some(Outcome::Silent) => Some(Absent::Down(
            broken.unwrap_or_else(|| "Status is not answered".to_owned()),
        )),
        Some(_) => None,
        None if broken.is_some() => broken.map(Absent::Down),
        None => {
            let none = plugin.pods.get().is_some_and(Vec::is_empty);
            // an address that leads to any node is none itself
            let real = node.servers.values().any(|it| it.pod.get().is_some());
            (none && real && socket.is_none() && view.seen.cluster.spec.get().is_some())
                .then_some(Absent::Missing("there is no pod of a plugin"))
        }
    }
}

fn fell_back(view: &View<'_>) -> bool {
    view.conditions()
        .any(|(_, kind, _)| kind == "StaticPodFallbackRevisionDegraded")
}

/// A component whose nodes write with different keys.
fn mixed<'a>(view: &View<'a>) -> Option<(&'a str, BTreeSet<&'a str>)> {
    view.components().find_map(|(name, _)| {
        let nodes = view.seen.nodes.values();
        let running = nodes.filter_map(|node| view.running(node, name));
        let writers: BTreeSet<&str> = running
            .filter_map(|it| it.writers().into_values().next())
            .collect();
        (writers.len() > 1).then_some((name, writers))
    })
}
