//! What an arm must provide: [`World`]. The engine, the load and the audit know a run's surroundings through it alone.
//!
//! An implementation makes faults happen, counts what they touched and tells the [`Recorder`] what only it can see
//! (starts and ends of plugins, Status polls of the API servers, calls that Vault got). It decides nothing about right
//! and wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kms_apiserver_api::{ApiServer, Pending};
use kms_history::chaos::{Entry, Event, RpcEnd};
use tokio::time::Instant;

use crate::fault::{Fault, Provider};

/// The surroundings of one run, as drawn from the seed.
#[derive(Clone, Debug, PartialEq)]
pub struct WorldSpec {
    /// Root of all randomness; sub-seeds by [`crate::seed::Seed::label`] only.
    pub seed: u64,
    /// API servers, each with a plugin; one store.
    pub nodes: u32,
    /// The API server's version, such as `1.37`.
    pub server_version: String,
    /// Vault.
    pub vault: VaultSpec,
    /// One way between plugin and Vault: shortest and longest. Simulation only.
    pub vault_latency: (Duration, Duration),
    /// One way on the plugin's socket: shortest and longest. Simulation only.
    pub socket_latency: (Duration, Duration),
    /// Flags for the plugin on top of what the world gives it, without the leading dashes.
    pub plugin: BTreeMap<String, String>,
    /// The encryption configuration's providers at the start.
    pub providers: Vec<Provider>,
}

/// Vault as a scenario wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultSpec {
    /// Which server it is.
    pub flavour: Flavour,
    /// Members of its cluster; node 0 leads at the start.
    pub nodes: u32,
    /// How plugins log in.
    pub auth: Auth,
    /// `token_ttl` of the role.
    pub token_ttl: Duration,
    /// `token_max_ttl` of the role.
    pub token_max_ttl: Duration,
    /// `token_type=batch`: cannot be renewed.
    pub batch: bool,
    /// How often a secret-id can be used; 0 = without limit.
    pub secret_id_uses: u32,
    /// Life of a secret-id; nothing = for ever.
    pub secret_id_ttl: Option<Duration>,
    /// `token_no_default_policy`, and rights that the policy leaves out.
    pub without: Vec<crate::fault::Right>,
    /// The Transit key's type.
    pub key_type: String,
}

/// A Vault's make.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Flavour {
    /// OpenBao.
    Openbao,
    /// HashiCorp Vault.
    Vault,
}

/// An auth method.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Auth {
    /// AppRole.
    Approle,
    /// Userpass.
    Userpass,
    /// A token in a file.
    Token,
}

/// A fault to be injected now.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// The fault's id in the scenario; unique in a run.
    pub id: String,
    /// What.
    pub fault: Fault,
    /// On which nodes, for kinds that happen on nodes; all nodes otherwise.
    pub nodes: Vec<u32>,
    /// The world itself undoes it no later than this after now, whatever becomes of the engine.
    pub deadline: Duration,
}

/// What a direct RPC showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// How long it took.
    pub took: Duration,
    /// What came.
    pub end: RpcEnd,
    /// Whether the answer to an Encrypt holds its plaintext.
    pub clear: bool,
}

/// The surroundings of one run. All methods may be called concurrently.
///
/// Errors are [`kms_apiserver_api::Trouble`]: the harness could not do its job.
pub trait World: Send + Sync {
    /// The API server of a node.
    fn apiserver(&self, node: u32) -> Arc<dyn ApiServer>;

    /// A new API server process over the same store, with the node's current configuration and plugin and nothing in
    /// memory. Returns when it serves HTTP, ready or not.
    fn fresh_apiserver(&self, node: u32) -> Pending<'_, Arc<dyn ApiServer>>;

    /// The KMS endpoint of a node as its API server names it in its configuration, such as `unix:///run/kms/kms.sock`.
    fn endpoint(&self, node: u32) -> String;

    /// Asks a node's plugin for its Status over a connection of the harness's own, at most for `limit`.
    fn status(&self, node: u32, limit: Duration) -> Pending<'_, Probe>;

    /// Has a node's plugin encrypt, over a connection of the harness's own, at most for `limit`.
    fn encrypt<'a>(&'a self, node: u32, plaintext: &'a [u8], limit: Duration)
    -> Pending<'a, Probe>;

    /// Makes a fault of [`crate::fault::Maker::World`] happen. Returns when it is there.
    fn inject<'a>(&'a self, order: &'a Order) -> Pending<'a, ()>;

    /// Undoes a fault. Undoing what is over already is fine.
    fn recover<'a>(&'a self, id: &'a str) -> Pending<'a, ()>;

    /// What a fault touched so far: requests, connections, chunks or calls, as its kind has it; for what happens once,
    /// 1 when it changed something. 0 for unknown ids.
    fn hits(&self, id: &str) -> u64;

    /// Notes the calls that Vault got since the last time, as [`Event::VaultCalls`].
    fn note_vault_calls(&self);

    /// Places in which any of the needles stands in clear: logs, metrics, bytes on the way to Vault.
    fn leaks<'a>(&'a self, needles: &'a [Vec<u8>]) -> Pending<'a, Vec<String>>;

    /// Ends everything. Nothing of the world runs or notes anything afterwards.
    fn stop(&self) -> Pending<'_, ()>;
}

/// Events for which there is room from the start: more than an hour of one node has.
const ROOM: usize = 1 << 13;

/// Takes events in the order in which they happen, with the time since the run's start. Clones share the history.
#[derive(Clone)]
pub struct Recorder {
    origin: Instant,
    entries: Arc<Mutex<Vec<Entry>>>,
}

impl Recorder {
    /// An empty history that starts now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            origin: Instant::now(),
            entries: Arc::new(Mutex::new(Vec::with_capacity(ROOM))),
        }
    }

    /// Time since the start.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Notes an event.
    pub fn note(&self, node: Option<u32>, event: Event) {
        let at = self.now();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push(Entry { at, node, event });
    }

    /// Takes what was noted so far.
    #[must_use]
    pub fn take(&self) -> Vec<Entry> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *entries)
    }
}

/// The text of an encryption configuration for Secrets with these providers in order.
#[must_use]
pub fn encryption_configuration(providers: &[Provider], endpoint: &str) -> String {
    let mut text = String::from(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  providers:\n",
    );
    for provider in providers {
        text.push_str(&match provider {
            Provider::Kms => format!(
                "  - kms:\n      apiVersion: v2\n      name: kms\n      endpoint: {endpoint}\n      timeout: 3s\n"
            ),
            Provider::Identity => "  - identity: {}\n".to_owned(),
            Provider::Aescbc => format!(
                "  - aescbc:\n      keys:\n      - name: local\n        secret: {LOCAL_KEY}\n"
            ),
        });
    }
    text
}

/// The key of the `aescbc` provider, base64: a test value that protects nothing.
const LOCAL_KEY: &str = "c2NlbmFyaW8tbG9jYWwta2V5LW9mLTMyLWJ5dGVzLi4=";
