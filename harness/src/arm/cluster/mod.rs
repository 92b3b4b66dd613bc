//! The cluster arm: a plugin in a staging cluster, the staging Vault behind it, real time.
//!
//! The cluster is seen through its address alone: what clients get, `/readyz`, the encryption metrics. Load lies in a
//! namespace of its own. Beside that stand what the cluster's events, the plugin's logs and OpenShift's conditions say, and,
//! where somebody says where etcd is, how the run's own Secrets lie there. Faults happen to Vault by its API, to the wire by
//! relays that the user placed beside the plugin ([`crate::relay`]), and to the plugin where it is an ordinary pod, or, if
//! that is allowed, to its process by the relay on its node. What a cluster cannot be made to do is said before a run
//! ([`able`]).
//!
//! Safety is the first concern here. Each fault's undo is on disk before the fault is made ([`journal`]), a [`guard`]
//! stops the run when anything outside its namespaces suffers, a [`lease`] keeps two runs apart, and [`rights`] is all
//! that a run needs. Not for: clusters that somebody lives in. A run wants the name of the context, and a mark on the key.
//!
//! Reading order: [`Parts`], [`staging`] (the Vault), [`able`], [`rights`], [`journal`], [`undo`], `intent` (each kind of
//! fault), `pods`, [`lease`], [`guard`], `namespaced`, `observe`, `store`, `others`, `load`,
//! `counted`, [`world`].

pub mod able;
pub mod api;
mod counted;
pub mod guard;
mod intent;
pub mod journal;
pub mod lease;
mod load;
mod namespaced;
mod observe;
mod others;
mod pods;
pub mod rights;
pub mod staging;
mod store;
pub mod undo;
pub mod world;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use kube::config::Kubeconfig;

use crate::apiserver::etcd;
use crate::relay::State;
use crate::relay::client::Relay;
use staging::Staging;

pub use pods::labels as pods_labels;

/// Where a run's Secrets and ConfigMaps lie, and its Lease. `kms-harness rbac` prints it.
pub const NAMESPACE: &str = "kms-harness";
/// Where the guard's own objects lie: nothing of a run may be felt there.
pub const BESIDE: &str = "kms-harness-beside";
/// On everything that a run makes in the cluster.
pub const LABEL: &str = "app.kubernetes.io/managed-by=kms-harness";

/// What the user says of the cluster, and what was found before anything was made.
pub struct Parts {
    /// The kubeconfig's path, as it was given.
    pub name: String,
    /// What it says.
    pub kubeconfig: Box<Kubeconfig>,
    /// The context that the user called a staging cluster.
    pub context: String,
    /// The Vault; nothing if nobody said where it is.
    pub vault: Option<Staging>,
    /// Relays beside plugins.
    pub relays: Vec<Placed>,
    /// Pods of the plugin; nothing for static pods.
    pub pods: Option<PluginPods>,
    /// Pods whose logs and events are kept.
    pub watched: Option<PluginPods>,
    /// The cluster's store, for eyes only.
    pub etcd: Option<etcd::At>,
    /// Whether what cannot be undone may be done.
    pub irreversible: bool,
    /// Whether the plugin's process may be broken where it runs.
    pub node_faults: bool,
    /// Where undo files lie.
    pub undo: PathBuf,
    /// Why no further run begins.
    pub halt: Halt,
}

impl fmt::Debug for Parts {
    /// Without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("kubeconfig", &self.name)
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

/// A relay, and where it stands.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The relay.
    pub relay: Relay,
    /// What it said of itself before anything was done.
    pub state: State,
}

impl Parts {
    /// Relays between plugins and Vault.
    pub fn on_links(&self) -> impl Iterator<Item = &Relay> {
        let placed = self.relays.iter().filter(|placed| placed.state.vault);
        placed.map(|placed| &placed.relay)
    }

    /// Relays on plugins' sockets.
    pub fn on_sockets(&self) -> impl Iterator<Item = &Relay> {
        let placed = self.relays.iter().filter(|placed| placed.state.socket);
        placed.map(|placed| &placed.relay)
    }

    /// Relays that break the plugin's process.
    pub fn on_nodes(&self) -> impl Iterator<Item = &Relay> {
        let placed = self.relays.iter().filter(|placed| placed.state.node_faults);
        placed.map(|placed| &placed.relay)
    }

    /// Whether requests to Vault are counted.
    #[must_use]
    pub fn counts(&self) -> bool {
        let mut relays = self.relays.iter();
        relays.any(|placed| placed.state.requests.is_some())
    }
}

/// The plugin's pods, where a controller keeps them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginPods {
    /// Their namespace.
    pub namespace: String,
    /// Their label selector.
    pub selector: String,
}

/// Says, once and for all runs of a command, that no further one may begin.
#[derive(Clone, Debug, Default)]
pub struct Halt(Arc<Mutex<Option<Why>>>);

/// Why runs end early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// A signal came.
    Interrupted,
    /// The guard, the lease or an undo says so.
    Stopped(String),
}

impl Halt {
    /// Says it; the first reason stays.
    pub fn say(&self, why: Why) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.get_or_insert(why);
    }

    /// What was said.
    #[must_use]
    pub fn why(&self) -> Option<Why> {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.clone()
    }
}
