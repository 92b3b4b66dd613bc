//! The clients of the cluster: what they wrote, what was acknowledged, and whether it can be read.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use kms_apiserver_api::{Answer, Resource, Target, Trouble};
use serde_json::{Value, json};

use crate::world::servers::STORAGE;
use crate::world::state::real_path;
use crate::world::{World, node_name};

/// What stands in an object that was loaded at the beginning.
const LOADED: &str = "value";

/// An object that somebody relies on.
#[derive(Clone, Debug)]
struct Entry {
    /// The last value that a server acknowledged.
    acknowledged: String,
    /// Values of later writes without a clear answer: each may be there or not.
    open: BTreeSet<String>,
}

/// A read that failed.
#[derive(Clone, Debug)]
pub struct Failed {
    /// The object's component.
    pub component: usize,
    /// Which object.
    pub target: Target,
    /// The node whose server was asked.
    pub node: usize,
    /// What it answered.
    pub why: String,
}

impl Failed {
    /// The server could not have the object's data key decrypted: it has the right provider, and the provider does not
    /// answer. Nothing else may ever be in the way of a read.
    pub fn for_want_of_the_provider(&self) -> bool {
        self.why.contains("failed to decrypt DEK")
            || self.why.contains("unexpected nil transformer")
    }

    /// For people.
    pub fn text(&self) -> String {
        let path = real_path(self.component, &self.target);
        format!("{path} on {}: {}", node_name(self.node), self.why)
    }
}

/// What clients know.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    entries: BTreeMap<(usize, Target), Entry>,
    writes: u64,
    /// Writes that were acknowledged, and those that were refused.
    pub answered: (u64, u64),
    /// Objects that nobody can read any more, given up.
    pub lost: Vec<(usize, Target)>,
    /// Where the next partial look begins.
    turn: usize,
}

impl Ledger {
    /// A ledger of what a cluster was loaded with.
    pub fn of(world: &World) -> Self {
        let entry = Entry {
            acknowledged: LOADED.to_owned(),
            open: BTreeSet::new(),
        };
        let loaded = world.acknowledged.iter();
        Self {
            entries: loaded.map(|it| (it.clone(), entry.clone())).collect(),
            ..Self::default()
        }
    }

    /// Everything that is relied on.
    pub fn objects(&self) -> impl Iterator<Item = &(usize, Target)> {
        self.entries.keys()
    }

    /// Clients write: for each component a new object through the load balancer, and a change of an object on one node,
    /// past it, if its server is ready.
    pub async fn write(&mut self, world: &mut World) {
        self.writes += 1;
        let number = self.writes;
        for (component, storage) in STORAGE.iter().enumerate() {
            let resources = storage.resources;
            let resource = resources[usize::from(number.is_multiple_of(2)) % resources.len()].1;
            if let Some(server) = world.ready_server(component) {
                let target = Target {
                    resource,
                    namespace: "default".to_owned(),
                    name: format!("written-{number:04}"),
                };
                self.put(world, server, component, target, true).await;
            }
            let turn = usize::try_from(number).unwrap_or_default();
            let server = world.place(component, turn % world.plan.nodes);
            let mine = self.entries.keys().filter(|entry| entry.0 == component);
            let mine: Vec<Target> = mine.map(|entry| entry.1.clone()).collect();
            if !mine.is_empty() && world.pod_ready(server) {
                let target = mine[turn * 7 % mine.len()].clone();
                self.put(world, server, component, target, false).await;
            }
        }
    }

    async fn put(
        &mut self,
        world: &World,
        server: usize,
        component: usize,
        target: Target,
        new: bool,
    ) {
        let value = format!("v{}", self.writes);
        let api = world.servers[server].api();
        let answer = if new {
            api.create(&target, body(target.resource, &value)).await
        } else {
            api.update(&target, body(target.resource, &value)).await
        };
        let acknowledged = answer.is_ok_and(|answer| answer.ok());
        let key = (component, target);
        match (acknowledged, self.entries.get_mut(&key)) {
            (true, _) => {
                self.answered.0 += 1;
                let entry = Entry {
                    acknowledged: value,
                    open: BTreeSet::new(),
                };
                self.entries.insert(key, entry);
            }
            (false, entry) => {
                self.answered.1 += 1;
                if let Some(entry) = entry {
                    entry.open.insert(value);
                }
            }
        }
    }

    /// Reads what is relied on from every ready server: all of it, or so many objects, others each time.
    pub async fn read(&mut self, world: &World, most: Option<usize>) -> Vec<Failed> {
        let count = most.unwrap_or(usize::MAX).min(self.entries.len());
        let chosen = self.entries.iter().cycle().skip(self.turn).take(count);
        let mut failed = Vec::new();
        for ((component, target), entry) in chosen {
            for node in 0..world.plan.nodes {
                let place = world.place(*component, node);
                if !world.pod_ready(place) {
                    continue;
                }
                if let Err(why) = look(world, place, target, entry).await {
                    failed.push(Failed {
                        component: *component,
                        target: target.clone(),
                        node,
                        why,
                    });
                }
            }
        }
        self.turn = (self.turn + count) % self.entries.len().max(1);
        failed
    }

    /// Rewrites everything through servers that still can read it, ready or not, and gives up what none can: it is
    /// taken out of the store, or it would be in the way of every list.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn rescue(&mut self, world: &World) -> Result<(), Trouble> {
        let all: Vec<(usize, Target)> = self.entries.keys().cloned().collect();
        for (component, target) in all {
            let mut rescued = false;
            for node in 0..world.plan.nodes {
                let api = world.servers[world.place(component, node)].api();
                let Ok(read) = api.get(&target).await else {
                    continue;
                };
                if read.ok()
                    && api
                        .update(&target, read.json().clone())
                        .await
                        .is_ok_and(|answer| answer.ok())
                {
                    rescued = true;
                    break;
                }
            }
            if !rescued {
                let api = world.servers[world.place(component, 0)].api();
                api.store(&target, None).await?;
                self.entries.remove(&(component, target.clone()));
                self.lost.push((component, target));
            }
        }
        Ok(())
    }
}

async fn look(world: &World, place: usize, target: &Target, entry: &Entry) -> Result<(), String> {
    let answer = world.servers[place].api().get(target).await;
    let answer = answer.map_err(|trouble| trouble.to_string())?;
    if !answer.ok() {
        return Err(answer.message().to_owned());
    }
    let value = value(target.resource, &answer);
    if value == entry.acknowledged || entry.open.contains(&value) {
        return Ok(());
    }
    Err(format!(
        "it holds {value:?}, but {:?} was acknowledged",
        entry.acknowledged
    ))
}

fn body(resource: Resource, value: &str) -> Value {
    match resource {
        Resource::Secrets => json!({"data": {"key": BASE64.encode(value)}}),
        _ => json!({"data": {"key": value}}),
    }
}

fn value(resource: Resource, answer: &Answer) -> String {
    let text = answer.field("/data/key");
    match resource {
        Resource::Secrets => {
            let bytes = BASE64.decode(text).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        }
        _ => text.to_owned(),
    }
}
