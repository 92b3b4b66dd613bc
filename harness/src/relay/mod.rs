//! A relay: the fault proxies as a process of their own, placed beside a plugin by whoever runs the cluster.
//!
//! It stands between the plugin and its Vault, between the API server and the plugin's socket, or both, and forwards
//! faithfully. A harness elsewhere tells it what shall go wrong, over HTTP with a token, on a loopback address
//! (`kubectl port-forward` reaches it). Every fault has an end that the relay keeps by itself: a harness that is gone, or
//! cannot reach it any more, leaves no fault behind. Where it is allowed to, it breaks the plugin's process, too, which no
//! API reaches in a static pod. Not for: runs on one machine, which have the proxies in process.
//!
//! Here is what both sides say to each other; [`serve`] is the relay, `faults` what it does, `process` how it finds the
//! plugin, `client` the other end.

#[cfg(feature = "kube")]
pub mod client;
mod faults;
mod process;
pub mod serve;

use std::collections::BTreeMap;

use kms_history::chaos::VaultPath;
use serde::{Deserialize, Serialize};

/// Longest time that a fault may be asked for, in milliseconds.
pub const LONGEST: u64 = 3_600_000;

/// What shall go wrong, and for how long at most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ordered {
    /// What.
    pub deed: Deed,
    /// After so many milliseconds the relay ends it by itself.
    pub millis: u64,
}

/// What can go wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Deed {
    /// Something happens to the bytes to and from Vault.
    Link {
        /// What the plugin sends.
        requests: Way,
        /// What Vault sends.
        answers: Way,
    },
    /// Every open connection to Vault ends in one direction.
    HalfClose {
        /// The direction of requests, or else that of answers.
        requests: bool,
    },
    /// Every connection to Vault is reset. Happens once.
    ResetLinks,
    /// Every connection on the socket is reset. Happens once.
    ResetCalls,
    /// Something happens to calls on the socket.
    Calls {
        /// `Status`, `Encrypt` or `Decrypt`; all of them if nothing.
        method: Option<String>,
        /// What.
        action: Calls,
    },
    /// Something happens to the plugin's process.
    Process(Harm),
}

/// What happens to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Harm {
    /// SIGKILL. Happens once.
    Kill,
    /// SIGSTOP, and SIGCONT at its end.
    Freeze,
    /// SIGKILL, whenever it is there again.
    KeepKilled,
    /// SIGTERM, whenever it is there again.
    KeepEnded,
}

/// What happens to the bytes of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Way {
    /// Nothing passes.
    pub held: bool,
    /// Shortest and longest delay, in milliseconds.
    pub latency: Option<(u64, u64)>,
    /// Bytes a second.
    pub bandwidth: Option<u64>,
}

/// What happens to calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Calls {
    /// They come so many milliseconds later.
    Delay(u64),
    /// They do not come.
    Hold,
    /// They are answered so.
    Status {
        /// The gRPC code, 1 to 16.
        code: u8,
        /// The message.
        message: String,
    },
    /// Their answers are cut off.
    Cut,
    /// Status says that the plugin is sick.
    Sick,
    /// Decrypt answers another key.
    WrongKey,
}

/// What a relay has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Whether it stands between a plugin and Vault.
    pub vault: bool,
    /// Whether it stands on a plugin's socket.
    pub socket: bool,
    /// Whether it breaks the plugin's process.
    #[serde(default)]
    pub node_faults: bool,
    /// Requests to Vault since it was started, by what they ask; nothing where they are encrypted.
    pub requests: Option<BTreeMap<VaultPath, u64>>,
    /// What faults touched on the way to Vault.
    pub link_hits: u64,
    /// What faults touched on the socket.
    pub call_hits: u64,
    /// How many faults there are now.
    pub faults: usize,
}
