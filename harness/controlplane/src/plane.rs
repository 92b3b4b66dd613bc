//! The whole control plane in simulated time: operators, pods and migrator, moved from one event to the next.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::cluster::{Cluster, Component};
use crate::controller::{Controller, End};
use crate::generation::Generation;
use crate::object::Event;
use crate::operand::{Kind, Operand, Outages};
use crate::resource::GroupResource;
use crate::storage::StorageMigrator;

/// Controllers look again after this, whatever happens.
pub const RESYNC: Duration = Duration::from_secs(60);

/// Something that was said, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// Of which component.
    pub component: String,
    /// By whom: a controller, or `operand`.
    pub by: &'static str,
    /// What.
    pub what: What,
}

/// What was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// An event.
    Event(Event),
    /// An error that a controller ended with.
    Error(String),
    /// What a controller died of; it comes again at the next resync.
    Panic(String),
}

/// The control plane.
#[derive(Clone, Debug)]
pub struct Plane {
    /// Its objects and operators.
    pub cluster: Cluster,
    /// Its pods, in the order of the operators.
    pub operands: Vec<Operand>,
    /// Its migrator.
    pub migrator: StorageMigrator,
    /// What is down.
    pub outages: Outages,
    /// What was said so far.
    pub log: Vec<Entry>,
    now: Timestamp,
    resync: Timestamp,
}

/// The three components: name, resources in the order of messages, who runs the pods.
pub const COMPONENTS: [(&str, &[&str], Kind); 3] = [
    (
        "openshift-kube-apiserver",
        &["secrets", "configmaps"],
        Kind::StaticPod,
    ),
    (
        "openshift-apiserver",
        &["routes.route.openshift.io"],
        Kind::Deployment,
    ),
    (
        "openshift-oauth-apiserver",
        &[
            "oauthaccesstokens.oauth.openshift.io",
            "oauthauthorizetokens.oauth.openshift.io",
        ],
        Kind::Deployment,
    ),
];

impl Plane {
    /// All three components on so many nodes, never encrypted. `objects` says how many objects there are of a resource.
    pub fn new(
        generation: Generation,
        nodes: usize,
        objects: BTreeMap<GroupResource, u64>,
        seed: u64,
        now: Timestamp,
    ) -> Self {
        let nodes: Vec<String> = (0..nodes).map(|n| format!("master-{n}")).collect();
        let mut cluster = Cluster::new(generation, seed);
        let mut operands = Vec::new();
        for (place, (name, resources, kind)) in COMPONENTS.into_iter().enumerate() {
            cluster
                .components
                .push(Component::new(name, resources, &nodes));
            operands.push(Operand::new(&mut cluster, place, kind, now));
        }
        let migrator = StorageMigrator::new(objects, 23);
        Self {
            cluster,
            operands,
            migrator,
            outages: Outages::default(),
            log: Vec::new(),
            now,
            resync: now,
        }
    }

    /// The time in it.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Lets time pass, event by event; `seen` is called after each change.
    pub fn run_for(&mut self, duration: Duration, mut seen: impl FnMut(&Self)) {
        let end = self.now + duration;
        self.run_until(end, |plane| {
            seen(plane);
            false
        });
    }

    /// Lets time pass until `done` says so after a change, or the time is over; tells whether it was done.
    pub fn run_until(&mut self, end: Timestamp, mut done: impl FnMut(&Self) -> bool) -> bool {
        loop {
            let mut changed = false;
            if self.now >= self.resync {
                self.resync = self.now + RESYNC;
                changed = true;
            }
            changed |= self.move_pods();
            changed |= self.migrator.step(&mut self.cluster.api, self.now);
            if changed {
                self.settle();
                if done(self) {
                    return true;
                }
                continue;
            }
            if self.now >= end {
                return false;
            }
            let timers = self
                .operands
                .iter()
                .filter_map(|operand| operand.next(self.now))
                .chain(self.migrator.next());
            let next = timers.filter(|at| *at > self.now).min().unwrap_or(end);
            self.now = next.min(self.resync).min(end);
        }
    }

    /// Does what the pods are due to; tells whether anything changed.
    fn move_pods(&mut self) -> bool {
        let before = self.cluster.api.changes();
        let mut changed = false;
        for place in 0..self.operands.len() {
            let events = self.operands[place].step(&mut self.cluster, &self.outages, self.now);
            changed |= !events.is_empty();
            for event in events {
                self.say(place, "operand", What::Event(event));
            }
        }
        changed || self.cluster.api.changes() != before
    }

    /// Runs all controllers until none of them changes anything, twenty times at most: what is not settled then waits
    /// for the next resync.
    pub fn settle(&mut self) {
        let mut said: Vec<(usize, Controller, End)> = Vec::new();
        for _ in 0..20 {
            let mut changed = false;
            for place in 0..self.cluster.components.len() {
                for which in self.cluster.controllers() {
                    let outcome = self.cluster.sync(place, which, self.now);
                    changed |= outcome.changed;
                    for event in outcome.events {
                        self.say(place, which.name(), What::Event(event));
                    }
                    let end = (place, which, outcome.end);
                    if end.2 != End::Done && !said.contains(&end) {
                        let what = match &end.2 {
                            End::Panic(text) => What::Panic(text.clone()),
                            End::Error(text) => What::Error(text.clone()),
                            End::Done => continue,
                        };
                        self.say(place, which.name(), what);
                        said.push(end);
                    }
                }
            }
            if !changed {
                return;
            }
        }
    }

    fn say(&mut self, place: usize, by: &'static str, what: What) {
        let component = self.cluster.components[place].name.clone();
        self.log.push(Entry {
            at: self.now,
            component,
            by,
            what,
        });
    }
}
