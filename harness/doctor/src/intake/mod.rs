//! From raw documents to evidence: fields that are known pass, words that are not become hashes, everything else stays behind.
//!
//! Pure. Whatever gathers (a client of a cluster, a socket, a folder of files, a simulated cluster) brings the same
//! documents, so that this is the only place that decides what may be shown.

mod cluster;
pub(crate) mod config;
pub(crate) mod etcd;
mod log;
mod node;
mod vault;

use std::collections::{BTreeMap, BTreeSet};

use kms_controlplane::plane::COMPONENTS;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::evidence::{Evidence, FORMAT, Node, Seen, Why};
use crate::raw::Raw;
use crate::veil::Veil;

pub(crate) use node::key_id_hash;

/// Names of the components, which are namespaces.
pub fn components() -> impl Iterator<Item = &'static str> {
    COMPONENTS.iter().map(|(name, ..)| *name)
}

/// Makes evidence of documents. The salt must be random and is kept nowhere; with the same salt equal values are equal over
/// several evidences.
pub fn evidence(raw: &Raw, salt: [u8; 32]) -> (Evidence, Veil) {
    let veil = Veil::new(salt, nodes(raw));
    let names: BTreeSet<String> = veil.nodes().keys().cloned().collect();
    let mut seen = Evidence {
        format: FORMAT,
        taken: raw.taken,
        cluster: cluster::cluster(raw, &veil),
        nodes: names
            .iter()
            .map(|name| (veil.node(name), node::node(raw, &veil, name)))
            .collect(),
        etcd: BTreeMap::new(),
        vault: vault::vault(raw, &veil),
    };
    for component in components() {
        let found = etcd::etcd(raw, component);
        if found.why() != Some(Why::NotAsked) {
            seen.etcd.insert(component.to_owned(), found);
        }
        pods(raw, &veil, component, &mut seen.nodes);
    }
    node::plugin_pods(raw, &veil, &mut seen.nodes);
    (seen, veil)
}

/// Nodes that documents name, and those that objects of the cluster name.
fn nodes(raw: &Raw) -> BTreeSet<String> {
    let mut all: BTreeSet<String> = raw
        .names()
        .filter_map(|name| name.strip_prefix("nodes/")?.split_once('/'))
        .map(|(node, _)| node.to_owned())
        .collect();
    // where API servers are no pods of OpenShift's, the plugins' pods still are
    let plugins = items(raw, "cluster/pods.json");
    all.extend(
        plugins
            .iter()
            .filter(|it| node::is_plugin(it))
            .filter_map(node_of),
    );
    for component in components() {
        for pod in items(raw, &format!("cluster/pods/{component}.json")) {
            all.extend(node_of(&pod).filter(|_| is_server(&pod)));
        }
        let operator = raw.json(&format!("cluster/operators/{component}.json"));
        if let Ok(operator) = operator {
            let statuses = operator
                .pointer("/status/nodeStatuses")
                .and_then(Value::as_array);
            let names = statuses.into_iter().flatten();
            all.extend(names.filter_map(|it| it["nodeName"].as_str().map(str::to_owned)));
        }
    }
    all
}

/// Enters the API servers' pods at their nodes.
fn pods(raw: &Raw, veil: &Veil, component: &str, nodes: &mut BTreeMap<String, Node>) {
    let name = format!("cluster/pods/{component}.json");
    let why = match raw.bytes(&name) {
        Err(Why::NotAsked) => return,
        Err(why) => Some(why),
        Ok(_) => None,
    };
    let found = items(raw, &name);
    for (shown, node) in nodes.iter_mut() {
        let here = |pod: &&Value| node_of(pod).is_some_and(|name| veil.node(&name) == *shown);
        let pod = found.iter().filter(|pod| is_server(pod)).find(here);
        let seen = match (why, pod) {
            (Some(why), _) => Seen::NotSeen(why),
            (None, None) => Seen::NotSeen(Why::NotThere),
            (None, Some(pod)) => Seen::Seen(node::pod(veil, pod)),
        };
        node.servers.entry(component.to_owned()).or_default().pod = seen;
    }
}

fn is_server(pod: &Value) -> bool {
    pod.pointer("/metadata/labels/apiserver")
        .and_then(Value::as_str)
        == Some("true")
}

pub(crate) fn node_of(pod: &Value) -> Option<String> {
    let name = pod.pointer("/spec/nodeName").and_then(Value::as_str)?;
    Some(name.to_owned())
}

/// Items of a list, none if it is not there.
pub(crate) fn items(raw: &Raw, name: &str) -> Vec<Value> {
    let Ok(mut list) = raw.json(name) else {
        return Vec::new();
    };
    match list["items"].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

/// Something that was seen, or why not.
pub(crate) fn seen<T>(found: Result<T, Why>) -> Seen<T> {
    match found {
        Ok(it) => Seen::Seen(it),
        Err(why) => Seen::NotSeen(why),
    }
}

pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Seconds since 1970 of a time in RFC 3339.
pub(crate) fn time(text: &str) -> Option<i64> {
    let at: jiff::Timestamp = text.parse().ok()?;
    Some(at.as_second())
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = "sha256:".to_owned();
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").expect("writing to a String does not fail");
    }
    text
}
