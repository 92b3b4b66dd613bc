//! The controllers. Each looks at the cluster, does one thing at most, says how it went, and waits for the next call.
//!
//! Nothing here knows of threads, sockets or clocks: a run is a function of the cluster and the time it is given.

mod condition;
mod key;
mod migration;
mod preflight;
mod prune;
mod state;
mod sync;

use std::time::Duration;

use jiff::Timestamp;

use crate::api::Api;
use crate::cluster::{Cluster, Component};
use crate::config_state::{EncryptionState, Panic, backed_keys};
use crate::convergence::{Deployed, deployed};
use crate::desired::desired_state;
use crate::encryption_config::EncryptionConfiguration;
use crate::generation::Generation;
use crate::key::KeyState;
use crate::object::{COMPONENT_LABEL, Condition, Event, MANAGED_NAMESPACE, MigrationState, Secret};

pub use condition::encrypted;
pub use key::{Wanted, needs_new_key};
pub use state::changes;

/// A controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Controller {
    /// Makes keys.
    Key,
    /// Writes the target config.
    State,
    /// Deletes old key secrets.
    Prune,
    /// Has everything rewritten, and notes it on the key secret.
    Migration,
    /// Keeps the condition `Encrypted`.
    Condition,
    /// Tries a KMS configuration before a key is made for it (v2).
    Preflight,
    /// Copies the target config to the operand.
    Sync,
}

impl Controller {
    /// All, in the order in which an operator starts them.
    pub const ALL: [Self; 7] = [
        Self::Key,
        Self::State,
        Self::Prune,
        Self::Migration,
        Self::Condition,
        Self::Preflight,
        Self::Sync,
    ];

    /// One word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::State => "state",
            Self::Prune => "prune",
            Self::Migration => "migration",
            Self::Condition => "condition",
            Self::Preflight => "preflight",
            Self::Sync => "sync",
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Well.
    Done,
    /// With an error; the controller is called again soon.
    Error(String),
    /// The controller died of it.
    Panic(String),
}

/// What came of a run, beside its changes to the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Events sent.
    pub events: Vec<Event>,
    /// Asked to be called again after that.
    pub requeue: Option<Duration>,
    /// Anything in the cluster may be different now: an object was written, or the operator's status.
    pub changed: bool,
    /// How it ended.
    pub end: End,
}

/// While nodes differ, controllers ask again after this.
pub const NOT_CONVERGED_RETRY: Duration = Duration::from_secs(120);

/// What is wrong, told apart by what it does to the controller.
pub(crate) enum Stop {
    Error(String),
    Panic(String),
}

impl From<String> for Stop {
    fn from(text: String) -> Self {
        Self::Error(text)
    }
}

impl From<Panic> for Stop {
    fn from(panic: Panic) -> Self {
        Self::Panic(panic.0)
    }
}

impl From<crate::api::ApiError> for Stop {
    fn from(error: crate::api::ApiError) -> Self {
        Self::Error(error.to_string())
    }
}

/// One run: the cluster, the operator taken out of it, the time, what is said on the way.
pub(crate) struct Run<'a> {
    pub(crate) cluster: &'a mut Cluster,
    pub(crate) operator: Component,
    pub(crate) now: Timestamp,
    pub(crate) events: Vec<Event>,
    pub(crate) requeue: Option<Duration>,
}

/// What a controller knows once all nodes run the same.
pub(crate) struct Seen {
    pub(crate) running: Option<EncryptionConfiguration>,
    pub(crate) desired: EncryptionState,
    pub(crate) secrets: Vec<Secret>,
    pub(crate) backed: Vec<KeyState>,
}

pub(crate) fn run(
    cluster: &mut Cluster,
    component: usize,
    which: Controller,
    now: Timestamp,
) -> Outcome {
    let operator = cluster.components[component].clone();
    let before = cluster.api.changes();
    let mut run = Run {
        cluster,
        operator,
        now,
        events: Vec::new(),
        requeue: None,
    };
    let end = match which {
        Controller::Key => key::run(&mut run),
        Controller::State => state::run(&mut run),
        Controller::Prune => prune::run(&mut run),
        Controller::Migration => migration::run(&mut run),
        Controller::Condition => condition::run(&mut run),
        Controller::Preflight => preflight::run(&mut run),
        Controller::Sync => sync::run(&mut run),
    };
    let Run {
        operator,
        events,
        requeue,
        ..
    } = run;
    let changed = cluster.api.changes() != before || cluster.components[component] != operator;
    cluster.components[component] = operator;
    let end = match end {
        Ok(()) => End::Done,
        Err(Stop::Error(text)) => End::Error(text),
        Err(Stop::Panic(text)) => End::Panic(text),
    };
    Outcome {
        events,
        requeue,
        changed,
        end,
    }
}

/// When a controller will see something otherwise that nobody has changed: a key grows old, a failed migration may be
/// tried again, a preflight pod has taken too long.
pub(crate) fn deadline(cluster: &Cluster, now: Timestamp) -> Option<Timestamp> {
    let key_secrets = cluster.components.iter().flat_map(|component| {
        cluster
            .api
            .cached_secrets(MANAGED_NAMESPACE, COMPONENT_LABEL, &component.name)
    });
    let old = key_secrets.filter_map(|secret| {
        Some(
            secret
                .note("migrated-timestamp")?
                .parse::<Timestamp>()
                .ok()?
                + key::ROTATION,
        )
    });
    let retries =
        cluster
            .api
            .migrations()
            .values()
            .filter_map(|migration| match &migration.state {
                MigrationState::Failed(at, _) => Some(*at + migration::RETRY),
                _ => None,
            });
    let pods = cluster
        .components
        .iter()
        .filter_map(|component| component.deployer.pod.as_ref());
    let stuck = pods.map(|pod| pod.started + preflight::STARTUP);
    // strictly older than the limit: a second later
    old.chain(retries)
        .chain(stuck)
        .map(|at| at + Duration::from_secs(1))
        .filter(|at| *at > now)
        .min()
}

impl Run<'_> {
    pub(crate) fn api(&mut self) -> &mut Api {
        &mut self.cluster.api
    }

    /// The controllers have something to do.
    pub(crate) fn ready(&self) -> Result<bool, String> {
        Ok(self.operator.external.clone()?
            && self.operator.is_managed()
            && self.cluster.ever_enabled(&self.operator))
    }

    /// What runs and what should; nothing while nodes differ.
    pub(crate) fn look(&self) -> Result<Option<Seen>, String> {
        let cluster = &self.cluster;
        let config = match deployed(&cluster.api, &self.operator.name, &self.operator.nodes)? {
            Deployed::NotConverged => return Ok(None),
            Deployed::Converged(config) => config,
        };
        let running = match &config {
            None => None,
            Some(secret) => EncryptionConfiguration::from_secret(secret).map_err(|e| {
                let step = if cluster.generation == Generation::V2 {
                    "failed to decode EncryptionConfiguration: "
                } else {
                    ""
                };
                format!(
                    "invalid encryption config {}/{}: {step}{e}",
                    secret.namespace, secret.name
                )
            })?,
        };
        let secrets = cluster
            .api
            .list_secrets(MANAGED_NAMESPACE, COMPONENT_LABEL, &self.operator.name)
            .map_err(|e| e.to_string())?;
        let backed = backed_keys(&secrets, cluster.generation);
        let desired = desired_state(
            running.as_ref(),
            &backed,
            &self.operator.resources,
            cluster.generation,
            &cluster.quirks,
        );
        Ok(Some(Seen {
            running,
            desired,
            secrets,
            backed,
        }))
    }

    /// As [`Self::look`]; while nodes differ, asks to be called again.
    pub(crate) fn look_or_wait(&mut self) -> Result<Option<Seen>, String> {
        let seen = self.look()?;
        if seen.is_none() {
            self.requeue = Some(NOT_CONVERGED_RETRY);
        }
        Ok(seen)
    }

    pub(crate) fn set_condition(&mut self, name: &str, condition: Condition) {
        self.operator.conditions.insert(name.to_owned(), condition);
    }

    /// The pattern of most controllers: work if there is something to do, and put the result into one condition.
    pub(crate) fn degraded(
        &mut self,
        condition: &str,
        work: impl FnOnce(&mut Self) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        if !self.ready()? {
            self.set_condition(condition, Condition::no());
            return Ok(());
        }
        let result = work(self);
        self.set_condition(condition, degraded_by(&result));
        result
    }
}

/// The condition that a result leaves behind.
pub(crate) fn degraded_by(result: &Result<(), Stop>) -> Condition {
    match result {
        Ok(()) => Condition::no(),
        Err(Stop::Error(text)) => Condition::error(text.as_str()),
        Err(Stop::Panic(_)) => Condition::default(),
    }
}
