//! The whole control plane in simulated time: operators, pods and migrator, moved from one event to the next.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::cluster::{Cluster, Component, Spec};
use crate::controller::{self, Controller, End};
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
    /// What the controllers left when they last had nothing more to do or to say.
    rest: Option<Rest>,
}

/// A state in which controllers do nothing, until something changes or a deadline passes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rest {
    changes: u64,
    spec: Spec,
    components: Vec<Component>,
    until: Option<Timestamp>,
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
        Self::on(generation, &nodes, objects, seed, now)
    }

    /// The same on nodes of these names.
    pub fn on(
        generation: Generation,
        nodes: &[String],
        objects: BTreeMap<GroupResource, u64>,
        seed: u64,
        now: Timestamp,
    ) -> Self {
        let mut cluster = Cluster::new(generation, seed);
        let mut operands = Vec::new();
        for (place, (name, resources, kind)) in COMPONENTS.into_iter().enumerate() {
            cluster
                .components
                .push(Component::new(name, resources, nodes));
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
            rest: None,
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
                changed = !self.rests();
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
            let pods = self
                .operands
                .iter()
                .filter_map(|operand| operand.next(self.now));
            let timers = pods.chain(self.migrator.next()).filter(|at| *at > self.now);
            // While the controllers rest, their resyncs come to nothing: straight to what ends the rest.
            let look = if self.rests() {
                self.rest.as_ref().and_then(|rest| rest.until)
            } else {
                Some(self.resync)
            };
            self.now = timers.chain(look).min().unwrap_or(end).min(end);
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

    /// Another look of the controllers would come to nothing: everything is as they left it.
    fn rests(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| {
            rest.until.is_none_or(|until| self.now < until)
                && rest.changes == self.cluster.api.changes()
                && rest.spec == self.cluster.spec
                && rest.components == self.cluster.components
        })
    }

    /// Runs all controllers until none of them changes anything, twenty times at most: what is not settled then waits
    /// for the next resync.
    pub fn settle(&mut self) {
        self.rest = None;
        let mut said: Vec<(usize, Controller, End)> = Vec::new();
        for _ in 0..20 {
            let mut changed = false;
            let mut quiet = true;
            for place in 0..self.cluster.components.len() {
                for which in self.cluster.controllers() {
                    let outcome = self.cluster.sync(place, which, self.now);
                    changed |= outcome.changed;
                    quiet &= outcome.events.is_empty() && outcome.end == End::Done;
                    for event in outcome.events {
                        self.say(place, which.name(), What::Event(event));
                    }
                    let what = match &outcome.end {
                        End::Done => continue,
                        End::Panic(text) => What::Panic(text.clone()),
                        End::Error(text) => What::Error(text.clone()),
                    };
                    let end = (place, which, outcome.end);
                    if !said.contains(&end) {
                        self.say(place, which.name(), what);
                        said.push(end);
                    }
                }
            }
            if !changed {
                if quiet {
                    self.rest = Some(Rest {
                        changes: self.cluster.api.changes(),
                        spec: self.cluster.spec.clone(),
                        components: self.cluster.components.clone(),
                        until: controller::deadline(&self.cluster, self.now),
                    });
                }
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
