//! The debug bundle: evidence as files, one subject each, with a manifest of digests.
//!
//! Pure: names and contents. Who writes them looks at them with [`crate::canary`] first.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::evidence::{Cluster, Etcd, Evidence, FORMAT, Node, Seen, Vault};
use crate::finding::{Blind, Diagnosis};
use crate::intake::sha256;

/// Name of the manifest.
pub const MANIFEST: &str = "manifest.json";
const CLUSTER: &str = "cluster.json";
const ETCD: &str = "etcd.json";
const VAULT: &str = "vault.json";
const NODES: &str = "nodes/";
const FINDINGS: &str = "findings.json";
const TIMELINE: &str = "timeline.json";

/// Files by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A bundle cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A file that the bundle must have is missing.
    #[error("{0} is missing: this is no bundle of kms-harness collect, or not all of it")]
    Missing(String),
    /// A file is not what was written.
    #[error("{0} is not what the manifest says: it was changed since; collect again")]
    Changed(String),
    /// A file cannot be read.
    #[error("{0} cannot be read: {1}")]
    Unreadable(String, String),
    /// Of another format.
    #[error(
        "manifest.json has format {0}, and this program reads {FORMAT}: use the kms-harness that collected it"
    )]
    Format(u32),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u32,
    taken: i64,
    files: BTreeMap<String, File>,
    not_seen: Vec<Blind>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    bytes: u64,
    digest: String,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Moment {
    at: i64,
    #[serde(rename = "where")]
    place: String,
    what: String,
}

/// The files of a bundle.
pub fn files(seen: &Evidence, diagnosis: &Diagnosis) -> Files {
    let mut files = Files::new();
    files.insert(CLUSTER.to_owned(), json(&seen.cluster));
    files.insert(ETCD.to_owned(), json(&seen.etcd));
    files.insert(VAULT.to_owned(), json(&seen.vault));
    for (name, node) in &seen.nodes {
        files.insert(format!("{NODES}{name}.json"), json(node));
    }
    files.insert(FINDINGS.to_owned(), json(&diagnosis.findings));
    files.insert(TIMELINE.to_owned(), json(&timeline(seen)));
    let manifest = Manifest {
        format: seen.format,
        taken: seen.taken,
        files: files
            .iter()
            .map(|(name, bytes)| {
                let file = File {
                    bytes: bytes.len() as u64,
                    digest: sha256(bytes),
                };
                (name.clone(), file)
            })
            .collect(),
        not_seen: diagnosis.not_seen.clone(),
    };
    files.insert(MANIFEST.to_owned(), json(&manifest));
    files
}

/// Reads a bundle back.
///
/// # Errors
/// A file is missing, was changed, or is of another format.
pub fn read(files: &Files) -> Result<Evidence, Broken> {
    let manifest: Manifest = part(files, MANIFEST)?;
    if manifest.format != FORMAT {
        return Err(Broken::Format(manifest.format));
    }
    for (name, file) in &manifest.files {
        let bytes = files
            .get(name)
            .ok_or_else(|| Broken::Missing(name.clone()))?;
        if sha256(bytes) != file.digest {
            return Err(Broken::Changed(name.clone()));
        }
    }
    let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
    for name in manifest.files.keys() {
        let node = name
            .strip_prefix(NODES)
            .and_then(|name| name.strip_suffix(".json"));
        if let Some(node) = node {
            nodes.insert(node.to_owned(), part(files, name)?);
        }
    }
    let cluster: Cluster = part(files, CLUSTER)?;
    let etcd: BTreeMap<String, Seen<Etcd>> = part(files, ETCD)?;
    let vault: Vault = part(files, VAULT)?;
    Ok(Evidence {
        format: manifest.format,
        taken: manifest.taken,
        cluster,
        nodes,
        etcd,
        vault,
    })
}

fn part<T: DeserializeOwned>(files: &Files, name: &str) -> Result<T, Broken> {
    let bytes = files
        .get(name)
        .ok_or_else(|| Broken::Missing(name.to_owned()))?;
    serde_json::from_slice(bytes)
        .map_err(|error| Broken::Unreadable(name.to_owned(), error.to_string()))
}

fn json(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("evidence always becomes JSON");
    text.push(b'\n');
    text
}

/// Changes of conditions, events, keys, migrations and what logs say, in their order.
fn timeline(seen: &Evidence) -> Vec<Moment> {
    let mut all = Vec::new();
    let mut note = |at: Option<i64>, place: &str, what: String| {
        if let Some(at) = at {
            let place = place.to_owned();
            all.push(Moment { at, place, what });
        }
    };
    for (name, it) in &seen.cluster.components {
        for (kind, it) in it.operator.get().into_iter().flat_map(|it| &it.conditions) {
            let says = if it.holds { "True" } else { "False" };
            note(
                it.since,
                name,
                format!("{kind} is {says}: {} {}", it.reason, it.message),
            );
        }
        for it in it.events.get().into_iter().flatten() {
            note(it.at, name, format!("{} ({} times)", it.reason, it.count));
        }
        for key in it.keys.get().into_iter().flatten() {
            note(
                key.migrated_at,
                name,
                format!("everything is rewritten with key {}", key.number),
            );
        }
        for line in it.log.get().into_iter().flat_map(|it| &it.lines) {
            note(line.first, name, line.text.clone());
        }
    }
    for it in seen.cluster.migrations.get().into_iter().flatten() {
        note(
            it.created,
            "migrations",
            format!("{} with key {}", it.resource, it.write_key),
        );
    }
    for (name, node) in &seen.nodes {
        let plugin = node
            .plugin
            .log
            .get()
            .map(|log| (format!("{name}/plugin"), log));
        let servers = node
            .servers
            .iter()
            .filter_map(|(component, it)| Some((format!("{name}/{component}"), it.log.get()?)));
        for (place, log) in plugin.into_iter().chain(servers) {
            for line in &log.lines {
                note(line.first, &place, line.text.clone());
            }
        }
    }
    for version in seen.vault.key.get().into_iter().flat_map(|it| &it.versions) {
        note(
            version.created,
            "vault",
            format!("version {} of the key", version.number),
        );
    }
    all.sort();
    all
}
