//! The history of one chaos run: what happened, when, where, in typed events.
//!
//! Judges of invariants see nothing else. Values of objects appear as digest and length, never in clear.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The phases of a run, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Phase {
    /// Everything starts.
    Settle,
    /// Load without faults.
    Baseline,
    /// Load and faults.
    Fault,
    /// What is still broken is mended.
    Heal,
    /// Load; everything must come back.
    Liveness,
    /// No load; what is stored is looked at.
    Audit,
}

impl Phase {
    /// The name in texts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Settle => "settle",
            Self::Baseline => "baseline",
            Self::Fault => "fault",
            Self::Heal => "heal",
            Self::Liveness => "liveness",
            Self::Audit => "audit",
        }
    }
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum OpKind {
    /// Creates an object or replaces its value.
    Write,
    /// Reads one object.
    Read,
    /// Lists all objects.
    List,
    /// Deletes an object.
    Delete,
    /// Reads an object and writes it back unchanged.
    Rewrite,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum OpEnd {
    /// 2xx. Of a read: the digest of the value. Of a list: how many objects.
    Ok {
        /// Digest of the value that a read gave.
        value: Option<Digested>,
        /// How many objects a list gave.
        items: Option<u32>,
    },
    /// Refused, and surely without effect (a conflict, not found, not valid).
    Failed {
        /// The HTTP code.
        code: u16,
        /// The first words of the message.
        message: String,
    },
    /// Nobody knows whether it took effect: no answer in time, a broken connection, a 5xx.
    Indeterminate {
        /// The HTTP code, or 0 without an answer.
        code: u16,
        /// Why.
        message: String,
    },
}

/// A value as digest and length.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Digested {
    /// SHA-256, the first 16 hex digits.
    pub sha256: String,
    /// Bytes.
    pub len: u32,
}

/// How a direct RPC to a plugin, or one that an API server made, ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum RpcEnd {
    /// It answered.
    Ok {
        /// The key_id of the answer. Key_ids are public.
        key_id: String,
        /// `healthz`, of a Status.
        healthz: Option<String>,
    },
    /// It answered with a status, or did not answer in time.
    Failed {
        /// The gRPC code by name, such as `Unavailable`.
        code: String,
        /// The message, the first 200 characters.
        message: String,
    },
}

/// What a plugin asked of Vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum VaultPath {
    /// Login of any auth method.
    Login,
    /// `renew-self`.
    Renew,
    /// `lookup-self`.
    Lookup,
    /// `revoke-self`.
    Revoke,
    /// Read of the Transit key.
    KeyRead,
    /// `encrypt`.
    Encrypt,
    /// `decrypt`.
    Decrypt,
    /// Anything else.
    Other,
}

impl VaultPath {
    /// What a request's path asks, with or without `/v1/` and a query. Told by its last parts alone, so mounts may have
    /// any name: `/v1/keys/encrypt/k` encrypts.
    #[must_use]
    pub fn of(path: &str) -> Self {
        let path = path.split('?').next().unwrap_or_default();
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        match parts[..] {
            [.., "auth", "token", "renew-self"] => Self::Renew,
            [.., "auth", "token", "lookup-self"] => Self::Lookup,
            [.., "auth", "token", "revoke-self"] => Self::Revoke,
            [.., "login", _] | [.., "login"] if parts.contains(&"auth") => Self::Login,
            [_, .., "encrypt", _] => Self::Encrypt,
            [_, .., "decrypt", _] => Self::Decrypt,
            [_, .., "keys", _] => Self::KeyRead,
            _ => Self::Other,
        }
    }
}

/// A step in a fault's life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum FaultStep {
    /// It will be injected at this time after the start.
    Planned {
        /// When, after the run's start.
        at: Duration,
        /// How long; nothing for what happens once, or until heal.
        length: Option<Duration>,
        /// Its kind with parameters, in words.
        what: String,
        /// On which nodes.
        nodes: Vec<u32>,
        /// How often the key, as a plugin sees it, may change by it.
        key_changes: u32,
        /// Whether RPCs of the plugin may be late or lost by it alone.
        hinders_rpcs: bool,
    },
    /// It is there.
    Injected,
    /// It could not be made.
    Refused(String),
    /// It is over.
    Recovered,
    /// How much it touched.
    Hits(u64),
}

/// What became of a stored object, seen past the API servers and by a fresh one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditFact {
    /// The object.
    pub object: String,
    /// The value's prefix, such as `k8s:enc:kms:v2:kms:`; empty for plaintext.
    pub prefix: String,
    /// The key_id in its header, if it has one.
    pub key_id: Option<String>,
    /// What a fresh API server with the current configuration reads.
    pub fresh: OpEnd,
    /// Whether the stored bytes hold the value in clear.
    pub clear: bool,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Event {
    /// A phase begins.
    Phase(Phase),
    /// An operation begins.
    Invoked {
        /// Its number.
        op: u64,
        /// What it does.
        kind: OpKind,
        /// The object's name; empty for lists.
        object: String,
        /// The value that a write puts there.
        value: Option<Digested>,
    },
    /// An operation ends.
    Ended {
        /// Its number.
        op: u64,
        /// How.
        end: OpEnd,
    },
    /// The harness asked a plugin for its Status, over a connection of its own.
    Status {
        /// How long the answer took.
        took: Duration,
        /// What came.
        end: RpcEnd,
    },
    /// An API server asked its plugin for its Status.
    Polled {
        /// What came.
        end: RpcEnd,
    },
    /// The harness had a plugin encrypt something, over a connection of its own.
    Encrypted {
        /// How long the answer took.
        took: Duration,
        /// What came.
        end: RpcEnd,
    },
    /// Calls that Vault got since the last such event.
    VaultCalls(BTreeMap<VaultPath, u64>),
    /// A step of a fault.
    Fault {
        /// The fault's id.
        id: String,
        /// The step.
        step: FaultStep,
    },
    /// A plugin was started.
    PluginStarted,
    /// A plugin ended: killed, stopped, or by itself, as the text says.
    PluginStopped(String),
    /// An API server was started, or started again.
    ApiServerStarted,
    /// An API server's encryption configuration file changed: the providers in order.
    Configured(String),
    /// A stored object, in the audit.
    Audit(AuditFact),
    /// A canary was found in clear at this place.
    Leak(String),
    /// What every value of the run must begin with, as the store is looked at: `k8s:enc:kms:v2:NAME:`.
    Provider(String),
    /// What others said meanwhile, redacted: an event of the cluster, a line of a log, a condition of an operator.
    Seen {
        /// Who or what said it.
        place: String,
        /// What.
        text: String,
    },
}

/// One event with time and place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Since the run's start.
    pub at: Duration,
    /// The node, if it is about one.
    pub node: Option<u32>,
    /// What happened.
    pub event: Event,
}
