//! Commands as texts: which of them the simulated cluster can answer, and its answers.
//!
//! A scenario says with them how something is found. Here no command changes anything.

use kms_apiserver_api::{Target, Trouble};
use kms_controlplane::plane::COMPONENTS;

use super::{LONG, logs, shell};
use crate::procedure::{PROVIDER_NAMES, REVISIONS};
use crate::world::state::OPERATORS;
use crate::world::{World, node_name};

/// The word that stands for a node's name in a command.
pub const NODE: &str = "{node}";

/// A command that the cluster can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    text: String,
    first: First,
    patterns: Vec<String>,
}

/// What stands before the pipes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum First {
    OperatorLog(usize),
    ServerLog(usize),
    PluginLog,
    PluginPods,
    ServerPods(usize),
    Socket,
    Revisions,
    Condition(usize, String),
    ClusterOperator,
    Migrations,
    ProviderNames,
    EncryptionType,
    Encryption,
    Key,
    Stored(String),
}

const OPERATOR_LOGS: [&str; 3] = [
    "oc logs -n openshift-kube-apiserver-operator deploy/kube-apiserver-operator",
    "oc logs -n openshift-apiserver-operator deploy/openshift-apiserver-operator",
    "oc logs -n openshift-authentication-operator deploy/authentication-operator",
];
const SERVER_LOG: &str = "oc logs -n openshift-kube-apiserver -l apiserver=true";
const STORED: (&str, &str) = (
    "oc exec -n openshift-etcd etcd-{node} -- etcdctl get /kubernetes.io/secrets/default/",
    " --print-value-only | hexdump -C | head -1",
);
/// What `oc logs` gives of each pod where a selector is used and no number is said.
const BY_SELECTOR: usize = 10;

/// Commands without a word of their own.
const PLAIN: [(&str, First); 9] = [
    (
        "oc logs -n kube-system vault-kms-plugin-{node}",
        First::PluginLog,
    ),
    ("oc get pods -n kube-system -o wide", First::PluginPods),
    (
        "oc debug node/{node} -- chroot /host ls -la /var/run/kmsplugin/kms.sock",
        First::Socket,
    ),
    (REVISIONS, First::Revisions),
    (PROVIDER_NAMES, First::ProviderNames),
    (
        "oc get clusteroperator kube-apiserver",
        First::ClusterOperator,
    ),
    ("oc get storageversionmigrations", First::Migrations),
    (
        "oc get apiserver cluster -o jsonpath='{.spec.encryption.type}'",
        First::EncryptionType,
    ),
    ("vault read transit/keys/kms-key", First::Key),
];

impl Ask {
    /// Reads a command: one that the procedure has, or one like it, with `| grep -i PATTERN` after it.
    ///
    /// # Errors
    /// What the cluster can answer.
    pub fn read(text: &str) -> Result<Self, String> {
        let unknown = || {
            let plain = PLAIN.iter().map(|(command, _)| *command);
            let all: Vec<&str> = plain.chain(OPERATOR_LOGS).chain([SERVER_LOG]).collect();
            format!(
                "write one of these, with or without `| grep -i PATTERN` after it: {}; or a condition, pods, a value in etcd as the procedure's page asks for them",
                all.join(" · ")
            )
        };
        let (first, rest) = first(text).ok_or_else(unknown)?;
        let mut patterns = Vec::new();
        for part in rest.split(" | ").filter(|part| !part.is_empty()) {
            let pattern = part.strip_prefix("grep -i ").or(part.strip_prefix("grep "));
            let pattern = pattern.ok_or_else(unknown)?;
            patterns.push(pattern.trim_matches(['"', '\'']).to_owned());
        }
        Ok(Self {
            text: text.to_owned(),
            first,
            patterns,
        })
    }

    /// Whether it names a node.
    pub fn of_a_node(&self) -> bool {
        self.text.contains(NODE)
    }

    /// The command on a node.
    pub fn on(&self, node: usize) -> String {
        self.text.replace(NODE, &node_name(node))
    }

    /// What it prints now, whole; on that node, if it names one.
    ///
    /// # Errors
    /// A store does not answer.
    pub async fn answer(&self, world: &World, node: usize) -> Result<String, Trouble> {
        let mut text = match &self.first {
            First::OperatorLog(component) => logs::operator(world, *component),
            First::ServerLog(lines) => logs::servers(world, *lines),
            First::PluginLog => world.plugins[node].log.text(),
            First::PluginPods => super::plugin_pods(world),
            First::ServerPods(component) => super::server_pods(world, *component),
            First::Socket => super::socket(world, node),
            First::Revisions => super::revisions(world),
            First::Condition(component, kind) => super::condition(world, *component, kind),
            First::ClusterOperator => super::cluster_operator(world),
            First::Migrations => super::migrations(world),
            First::ProviderNames => super::provider_names(world),
            First::EncryptionType => super::encryption_type(world),
            First::Encryption => super::encryption(world),
            First::Key => super::vault_key(world).0,
            First::Stored(name) => {
                super::etcd_value(world, 0, &Target::secret("default", name)).await?
            }
        };
        for pattern in &self.patterns {
            text = shell::grep(&text, pattern).join("\n");
        }
        Ok(text)
    }
}

/// The command before the pipes, and the pipes.
fn first(text: &str) -> Option<(First, &str)> {
    let pipes = |rest: &str| rest.is_empty() || rest.starts_with(" | ");
    for (command, first) in PLAIN {
        if let Some(rest) = text.strip_prefix(command)
            && pipes(rest)
        {
            return Some((first, rest));
        }
    }
    for (component, command) in OPERATOR_LOGS.into_iter().enumerate() {
        if let Some(rest) = text.strip_prefix(command)
            && pipes(rest)
        {
            return Some((First::OperatorLog(component), rest));
        }
    }
    if let Some(rest) = text.strip_prefix(SERVER_LOG) {
        let (words, rest) = rest.split_at(rest.find(" | ").unwrap_or(rest.len()));
        let lines = match words.strip_prefix(" --tail=") {
            Some(number) => number.parse().ok()?,
            None if words.is_empty() => BY_SELECTOR,
            None => return None,
        };
        return Some((First::ServerLog(lines), rest));
    }
    if let Some(rest) = text.strip_prefix(STORED.0) {
        let (name, rest) = rest.split_once(STORED.1)?;
        return Some((First::Stored(name.to_owned()), rest));
    }
    if text == "oc get apiserver cluster -o jsonpath='{.spec.encryption}' | jq" {
        return Some((First::Encryption, ""));
    }
    for (component, (namespace, ..)) in COMPONENTS.iter().enumerate() {
        let pods = format!("oc get pods -n {namespace} -l apiserver=true");
        if let Some(rest) = text.strip_prefix(&pods)
            && pipes(rest)
        {
            return Some((First::ServerPods(component), rest));
        }
        let operator = OPERATORS[component];
        let begin =
            format!("oc get {operator} cluster -o jsonpath='{{.status.conditions[?(@.type==\"");
        if let Some(rest) = text.strip_prefix(&begin) {
            let (kind, rest) = rest.split_once("\")]}' | jq .")?;
            return Some((First::Condition(component, kind.to_owned()), rest));
        }
    }
    None
}

/// The lines of an output that say it, a few around its end where none does.
pub fn excerpt(output: &str, wanted: &[String]) -> String {
    let says = |line: &&str| wanted.iter().any(|text| line.contains(text.as_str()));
    let mut lines: Vec<&str> = output.lines().filter(says).collect();
    if lines.is_empty() {
        lines = output.lines().collect();
    }
    let from = lines.len().saturating_sub(LONG / 4);
    lines[from..].join("\n")
}
