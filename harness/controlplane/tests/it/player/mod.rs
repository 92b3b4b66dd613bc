//! Plays the steps of a recorded story on the model and writes the lines that the recorder would write.

mod objects;
mod steps;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use kms_controlplane::cluster::{Cluster, Component, target_config_name};
use kms_controlplane::controller::{Controller, End};
use kms_controlplane::encryption_config::{CONFIG_KEY, EncryptionConfiguration, Provider};
use kms_controlplane::generation::Generation;
use kms_controlplane::object::{CONFIG_NAMESPACE, MANAGED_NAMESPACE, Pod, PodPhase, Secret};
use kms_controlplane::vault::PluginSpec;
use serde_json::{Value, json};

use crate::view;
use objects::default_plugin;

/// Steps after which no controller runs.
const PASSIVE: [&str; 8] = [
    "component",
    "only",
    "podmount",
    "dump",
    "config",
    "observe",
    "union",
    "annotation",
];

/// What an earlier round of one settling said, and in which round.
type Said = BTreeMap<(String, String, String, String), u32>;

/// A story being played.
pub struct Player {
    pub cluster: Cluster,
    pub lines: Vec<Value>,
    /// Target configs that the story asked for by name, random keys replaced.
    pub configs: BTreeMap<String, Value>,
    now: Timestamp,
    step: u64,
    auto: bool,
    seen: BTreeMap<view::Id, Value>,
    saved: BTreeMap<String, Secret>,
    revisions: BTreeMap<String, u32>,
    plugin: PluginSpec,
    changes: u64,
}

fn seconds(text: &str) -> Duration {
    let (number, unit) = text.split_at(text.len() - 1);
    let number: u64 = number.parse().unwrap();
    Duration::from_secs(if unit == "h" { number * 3600 } else { number })
}

fn go_duration(duration: Duration) -> String {
    let all = duration.as_secs();
    if all < 60 {
        format!("{all}s")
    } else {
        format!("{}m{}s", all / 60, all % 60)
    }
}

impl Player {
    pub fn new(generation: Generation, components: &[(&str, &[&str], usize)]) -> Self {
        let mut cluster = Cluster::new(generation, 1);
        let mut revisions = BTreeMap::new();
        for (name, resources, nodes) in components {
            let nodes: Vec<String> = (1..=*nodes).map(|n| format!("node-{n}")).collect();
            for node in &nodes {
                cluster
                    .api
                    .set_pod(name, pod(&format!("apiserver-{node}"), node, 1, "ready"));
            }
            cluster
                .components
                .push(Component::new(name, resources, &nodes));
            revisions.insert((*name).to_owned(), 1);
        }
        let mut login = Secret::new(CONFIG_NAMESPACE, "vault-approle");
        login.data.insert("role-id".to_owned(), b"<role>".to_vec());
        login
            .data
            .insert("secret-id".to_owned(), b"<secret-1>".to_vec());
        cluster.api.create_secret(login).unwrap();
        let bundle = BTreeMap::from([("ca-bundle.crt".to_owned(), "<ca-1>".to_owned())]);
        cluster
            .api
            .set_config_map(CONFIG_NAMESPACE, "vault-ca", Some(bundle));
        Self {
            cluster,
            lines: Vec::new(),
            configs: BTreeMap::new(),
            now: "2026-03-01T12:00:00Z".parse().unwrap(),
            step: 0,
            auto: true,
            seen: BTreeMap::new(),
            saved: BTreeMap::new(),
            revisions,
            plugin: default_plugin(),
            changes: 0,
        }
    }

    pub fn play(&mut self, text: &str) {
        self.play_watched(text, &mut |_| {});
    }

    /// As [`Self::play`]; `watch` sees the cluster whenever the controllers have settled.
    pub fn play_watched(&mut self, text: &str, watch: &mut dyn FnMut(&Cluster)) {
        self.step += 1;
        self.line(None, json!({"what": "do", "text": text}));
        let words: Vec<&str> = text.split_whitespace().collect();
        if let Err(why) = self.act(&words, text, watch) {
            self.line(
                None,
                json!({"what": "note", "text": format!("step not possible: {why}")}),
            );
        }
        self.observe("world");
        if self.auto && !PASSIVE.contains(&words[0]) {
            self.settle();
            watch(&self.cluster);
        }
    }

    /// A condition of the first operator: status, reason, message.
    pub fn condition(&self, name: &str) -> (String, String, String) {
        let condition = &self.cluster.components[0].conditions[name];
        (
            condition.status.as_str().to_owned(),
            condition.reason.clone(),
            condition.message.clone(),
        )
    }

    /// Providers of the first operator's target config, those of its last resource.
    pub fn target(&self) -> String {
        let name = target_config_name(&self.cluster.components[0].name);
        let secret = self
            .cluster
            .api
            .cached_secret(MANAGED_NAMESPACE, &name)
            .unwrap();
        let config = EncryptionConfiguration::from_secret(secret)
            .unwrap()
            .unwrap();
        let labels: Vec<String> = config
            .resources
            .last()
            .unwrap()
            .providers
            .iter()
            .map(Provider::label)
            .collect();
        labels.join(",")
    }

    /// Rewrites the first operator's target config and its copy: what a wrong state controller would have done.
    pub fn edit_target(&mut self, edit: impl FnOnce(&mut EncryptionConfiguration)) {
        let namespace = self.cluster.components[0].name.clone();
        let target = target_config_name(&namespace);
        let mut secret = self
            .cluster
            .api
            .cached_secret(MANAGED_NAMESPACE, &target)
            .unwrap()
            .clone();
        let mut config = EncryptionConfiguration::from_secret(&secret)
            .unwrap()
            .unwrap();
        edit(&mut config);
        secret.data.insert(CONFIG_KEY.to_owned(), config.to_text());
        let data = secret.data.clone();
        self.cluster.api.update_secret(secret).unwrap();
        let mut copy = self
            .cluster
            .api
            .cached_secret(&namespace, CONFIG_KEY)
            .unwrap()
            .clone();
        copy.data = data;
        self.cluster.api.update_secret(copy).unwrap();
    }

    fn line(&mut self, component: Option<usize>, mut line: Value) {
        line["step"] = json!(self.step);
        if let Some(component) = component.filter(|_| self.cluster.components.len() > 1) {
            line["comp"] = json!(self.cluster.components[component].name);
        }
        self.lines.push(line);
    }

    fn observe(&mut self, by: &str) {
        let now = view::things(&self.cluster, self.now);
        let before = std::mem::take(&mut self.seen);
        let mut ids: Vec<&view::Id> = now
            .keys()
            .chain(before.keys().filter(|id| !now.contains_key(*id)))
            .collect();
        ids.sort();
        for id in ids {
            let (old, new) = (before.get(id), now.get(id));
            if old == new {
                continue;
            }
            self.changes += 1;
            let op = match (old, new) {
                (Some(_), Some(_)) => "changed",
                (None, _) => "new",
                _ => "gone",
            };
            let mut line = json!({"by": by, "what": id.1, "op": op, "name": id.3});
            if let Some(new) = new {
                line["data"] = new.clone();
            }
            let component = self.cluster.components.iter().position(|c| c.name == id.2);
            self.line(component, line);
        }
        self.seen = now;
    }

    pub fn settle(&mut self) {
        let mut said = Said::new();
        for round in 1..=20 {
            let before = self.changes;
            for component in 0..self.cluster.components.len() {
                for which in self.cluster.controllers() {
                    self.sync(component, which, round, Some(&mut said));
                }
            }
            if self.changes == before {
                return;
            }
        }
        self.line(
            None,
            json!({"what": "note", "text": "not settled after 20 rounds"}),
        );
    }

    fn sync(
        &mut self,
        component: usize,
        which: Controller,
        round: u32,
        mut said: Option<&mut Said>,
    ) {
        let outcome = self.cluster.sync(component, which, self.now);
        let mut notes: Vec<(String, Value)> = outcome
            .events
            .iter()
            .map(|event| {
                let op = if event.warning { "Warning" } else { "Normal" };
                let line =
                    json!({"what": "event", "op": op, "name": event.reason, "text": event.text});
                (format!("{}{}", event.reason, event.text), line)
            })
            .collect();
        if let Some(after) = outcome.requeue {
            let text = go_duration(after);
            notes.push((text.clone(), json!({"what": "requeue", "text": text})));
        }
        notes.sort_by(|a, b| a.0.cmp(&b.0));
        match outcome.end {
            End::Done => {}
            End::Error(text) => notes.push((String::new(), json!({"what": "error", "text": text}))),
            End::Panic(text) => notes.push((String::new(), json!({"what": "panic", "text": text}))),
        }
        let name = self.cluster.components[component].name.clone();
        for (_, mut note) in notes {
            let word = |key: &str| note[key].as_str().unwrap().to_owned();
            let id = (
                name.clone(),
                which.name().to_owned(),
                word("what"),
                word("text"),
            );
            if let Some(said) = said.as_deref_mut() {
                if said.get(&id).is_some_and(|first| *first < round) {
                    continue;
                }
                said.insert(id, round);
            }
            note["by"] = json!(which.name());
            self.line(Some(component), note);
        }
        if outcome.changed {
            self.observe(which.name());
        }
    }
}

fn pod(name: &str, node: &str, revision: u32, how: &str) -> Pod {
    let phase = match how {
        "pending" => PodPhase::Pending,
        "failed" => PodPhase::Failed,
        "succeeded" => PodPhase::Succeeded,
        "unknown" => PodPhase::Unknown,
        _ => PodPhase::Running,
    };
    let revision = revision.to_string();
    Pod {
        name: name.to_owned(),
        node: node.to_owned(),
        revision,
        phase,
        ready: how == "ready",
    }
}
