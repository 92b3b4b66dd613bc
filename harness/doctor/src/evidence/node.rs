//! What was seen on one node of the control plane: its API servers and its plugin.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Config, Seen};
use crate::sign::Sign;

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// API servers, by component.
    pub servers: BTreeMap<String, Server>,
    /// The plugin.
    pub plugin: Plugin,
}

/// An API server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Its pod.
    pub pod: Seen<Pod>,
    /// The configuration that lies on the node for it.
    pub config: Seen<Config>,
    /// Its answer to `/readyz?verbose`.
    pub readyz: Seen<Readyz>,
    /// Why its check of the KMS providers fails, asked only when it does.
    pub check: Seen<Check>,
    /// What came of listing each resource through it.
    pub lists: Seen<BTreeMap<String, Vec<Sign>>>,
    /// Its metrics.
    pub metrics: Seen<Metrics>,
    /// Its log.
    pub log: Seen<Log>,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pod {
    /// Revision that its label says.
    pub revision: Option<u32>,
    /// A phase that there is, or `other`.
    pub phase: String,
    /// Its condition Ready is True.
    pub ready: bool,
    /// Restarts of all its containers.
    pub restarts: u64,
    /// Why containers wait, init containers included; reasons that are known.
    pub waiting: Vec<String>,
}

/// `/readyz?verbose`, or `/healthz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Readyz {
    /// It passes.
    pub passes: bool,
    /// Checks that failed; names that are known.
    pub failed: Vec<String>,
}

/// What an API server says of its KMS providers, in which the plugin's own words are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// What its text is known for.
    pub signs: Vec<Sign>,
    /// Its text, words that are not known hashed.
    pub text: String,
}

/// The metrics that are about KMS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// By provider: hash of the key_id that Status last gave, and when.
    pub status: BTreeMap<String, (String, i64)>,
    /// Calls to the plugin by method and gRPC code.
    pub calls: BTreeMap<String, u64>,
}

/// The plugin of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plugin {
    /// Its pods; none if there is no such pod.
    pub pods: Seen<Vec<Pod>>,
    /// What lies at its socket's path.
    pub socket: Seen<Socket>,
    /// Its answer to Status.
    pub status: Seen<Status>,
    /// Its log.
    pub log: Seen<Log>,
}

/// What lies at a socket's path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Socket {
    /// Something is there.
    pub there: bool,
    /// It is a socket.
    pub socket: bool,
    /// Its permission bits.
    pub mode: Option<u32>,
}

/// A plugin's answer to Status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// What came.
    pub outcome: Outcome,
    /// What its text is known for.
    pub signs: Vec<Sign>,
    /// Its text, words that are not known hashed.
    pub text: String,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// `healthz` is `ok`.
    Good {
        /// Hash of the key_id, as the API server's metrics have it.
        key_id: String,
        /// `v2`, or whatever it says, if that is known.
        version: String,
    },
    /// `healthz` is something else.
    Sick,
    /// A gRPC error.
    Error {
        /// Its code.
        code: u32,
    },
    /// Nothing is there to connect to.
    NoSocket,
    /// The socket may not be used.
    Denied,
    /// Nobody listens.
    Nobody,
    /// No answer in time.
    Silent,
}

/// A log: the lines that are known for something, and how many others there were.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Known lines; equal ones once, with their count.
    pub lines: Vec<Line>,
    /// All others.
    pub others: u64,
}

/// Lines of a log that say the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// When it was first said, if it has a time.
    pub first: Option<i64>,
    /// When it was last said.
    pub last: Option<i64>,
    /// How often.
    pub count: u64,
    /// What it is known for.
    pub signs: Vec<Sign>,
    /// Its text, words that are not known hashed.
    pub text: String,
}
