//! Plays the steps of a recorded story on the model and writes the lines that the recorder would write.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use kms_controlplane::cluster::{Cluster, Component, Management, target_config_name};
use kms_controlplane::controller::{Controller, End};
use kms_controlplane::convergence::Deployed;
use kms_controlplane::encryption_config::{CONFIG_KEY, EncryptionConfiguration, Provider};
use kms_controlplane::generation::Generation;
use kms_controlplane::key_secret::{DATA_PREFIX, KEY_DATA, key_secret_name};
use kms_controlplane::migration_name;
use kms_controlplane::mount::{Gate, add_socket};
use kms_controlplane::object::{
    COMPONENT_LABEL, CONFIG_NAMESPACE, FINALIZER, MANAGED_NAMESPACE, MigrationState, PREFIX, Pod,
    PodPhase, Secret,
};
use kms_controlplane::observer::{KUBE_APISERVER_PATH, observe};
use kms_controlplane::resource::GroupResource;
use kms_controlplane::union::{UnionError, union};
use kms_controlplane::vault::PluginSpec;
use serde_json::{Value, json};

use crate::view;

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
        let before = std::mem::replace(&mut self.seen, now.clone());
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

    fn act(
        &mut self,
        words: &[&str],
        whole: &str,
        watch: &mut dyn FnMut(&Cluster),
    ) -> Result<(), String> {
        let mut component = 0;
        let (mut words, mut whole) = (words, whole);
        if let Some(part) = words[0].strip_prefix('@') {
            let named = self
                .cluster
                .components
                .iter()
                .rposition(|c| c.name.contains(part));
            component = named.unwrap_or(0);
            whole = whole.strip_prefix(words[0]).unwrap().trim();
            words = &words[1..];
        }
        let rest = |n: usize| words[n..].join(" ");
        match words[0] {
            "settle" => {}
            "auto" => self.auto = words[1] == "on",
            "only" => {
                let which = Controller::ALL
                    .into_iter()
                    .find(|c| c.name() == words[1])
                    .ok_or("no such controller")?;
                self.sync(component, which, 0, None);
            }
            "spec" => {
                self.cluster.spec.mode = words[1].trim_matches('-').to_owned();
                if words[1] == "KMS" {
                    self.cluster.spec.kms = Some(self.plugin.clone());
                }
            }
            "resources" => {
                self.operator(component).resources =
                    words[1].split(',').map(GroupResource::from).collect();
            }
            "managed" => {
                self.operator(component).management = match words[1] {
                    "Managed" => Management::Managed,
                    "Unmanaged" => Management::Unmanaged,
                    "Removed" => Management::Removed,
                    "Force" => Management::Force,
                    other => return Err(format!("no management state {other}")),
                };
            }
            "external" => {
                self.operator(component).external = if words[1] == "error" {
                    Err(rest(2))
                } else {
                    Ok(words[1] == "yes")
                };
            }
            "reason" => {
                let text = json!({"encryption": {"reason": rest(1)}}).to_string();
                self.operator(component).overrides = text.into_bytes();
            }
            "rawoverride" => self.operator(component).overrides = rest(1).into_bytes(),
            "fail" => {
                self.cluster.api.refuse_nothing();
                if words[1] != "off" {
                    self.cluster
                        .api
                        .refuse(&format!("{} {}", words[1], words[2]), &rest(3));
                }
            }
            "rollout" => {
                let all = self.cluster.components[component].nodes.len();
                let nodes = words.get(1).map_or(all, |n| n.parse().unwrap());
                self.roll_out(component, nodes);
            }
            "node" => self.node(component, words)?,
            "extrapod" => {
                let pod = pod(
                    &format!("old-apiserver-node-{}", words[1]),
                    &format!("node-{}", words[1]),
                    words[2].parse().unwrap(),
                    words[3],
                );
                let name = self.cluster.components[component].name.clone();
                self.cluster.api.set_pod(&name, pod);
            }
            "migrator" => self.migrator(words)?,
            "key" if words[2] == "age" => {
                let at = self.now - seconds(words[3]);
                let at = at.to_string();
                let name = key_secret_name(&self.cluster.components[component].name, words[1]);
                self.secret(
                    MANAGED_NAMESPACE,
                    &name,
                    &["set", "migrated-timestamp", &at],
                )?;
            }
            "key" => {
                let name = key_secret_name(&self.cluster.components[component].name, words[1]);
                self.secret(MANAGED_NAMESPACE, &name, &words[2..])?;
            }
            "target" => {
                let name = target_config_name(&self.cluster.components[component].name);
                self.secret(MANAGED_NAMESPACE, &name, &words[1..])?;
            }
            "deployed" => {
                let namespace = self.cluster.components[component].name.clone();
                let name = format!("{CONFIG_KEY}-{}", self.revisions[&namespace]);
                self.secret(&namespace, &name, &words[1..])?;
            }
            "copy" => {
                let namespace = self.cluster.components[component].name.clone();
                self.secret(&namespace, CONFIG_KEY, &words[1..])?;
            }
            "complete" => self.complete(watch),
            "dump" => self.dump(component, words[1])?,
            "config" => self.save_config(component, words[1])?,
            "observe" => {
                for event in observe(&mut self.cluster, component, KUBE_APISERVER_PATH) {
                    let op = if event.warning { "Warning" } else { "Normal" };
                    let line = json!({"by": "observer", "what": "event", "op": op, "name": event.reason,
                        "text": event.text});
                    self.line(Some(component), line);
                }
                let path = &self.cluster.components[component].observed_path;
                let data = match path.as_slice() {
                    [] => json!({}),
                    path => json!({"apiServerArguments": {"encryption-provider-config": path}}),
                };
                self.line(
                    Some(component),
                    json!({"by": "observer", "what": "args", "data": data}),
                );
            }
            "union" => self.union(),
            "podmount" => {
                let gate = match words[1] {
                    "on" => Gate::On,
                    "off" => Gate::Off,
                    _ => Gate::Unobserved,
                };
                let mut spec = json!({"containers": [{"name": "kube-apiserver", "resources": {}},
                    {"name": "other", "resources": {}}]});
                add_socket(&mut spec, "kube-apiserver", gate)?;
                self.line(
                    None,
                    json!({"what": "podspec", "name": format!("gate {}", words[1]), "data": spec}),
                );
            }
            "kms" => self.kms(&words[1..])?,
            "credentials" => self.credentials(&words[1..])?,
            "ca" => {
                let data = (words[1] != "gone")
                    .then(|| BTreeMap::from([("ca-bundle.crt".to_owned(), words[1].to_owned())]));
                self.cluster
                    .api
                    .set_config_map(CONFIG_NAMESPACE, "vault-ca", data);
            }
            "preflight" => self.preflight(component, words)?,
            _ => return Err(format!("unknown step {whole}")),
        }
        Ok(())
    }

    fn operator(&mut self, component: usize) -> &mut Component {
        &mut self.cluster.components[component]
    }

    fn copied(&self, component: usize) -> Option<Secret> {
        self.cluster
            .api
            .cached_secret(&self.cluster.components[component].name, CONFIG_KEY)
            .cloned()
    }

    /// The operand's copy is what its newest revision has.
    fn rolled_out(&self, component: usize) -> bool {
        let name = &self.cluster.components[component].name;
        let revision = self
            .cluster
            .api
            .cached_secret(name, &format!("{CONFIG_KEY}-{}", self.revisions[name]));
        self.copied(component).map(|s| s.data) == revision.map(|s| s.data.clone())
    }

    /// Plays revision controller and installer.
    fn roll_out(&mut self, component: usize, nodes: usize) {
        let name = self.cluster.components[component].name.clone();
        if !self.rolled_out(component) {
            let revision = self.revisions[&name] + 1;
            self.revisions.insert(name.clone(), revision);
            let data = match self.copied(component) {
                None => json!("no encryption config"),
                Some(copy) => {
                    let mut secret = Secret::new(&name, &format!("{CONFIG_KEY}-{revision}"));
                    secret.data = copy.data.clone();
                    self.cluster
                        .api
                        .outside(|api| api.create_secret(secret))
                        .unwrap();
                    view::config(&copy)
                }
            };
            let line = json!({"by": "world", "what": "revision", "name": revision.to_string(), "data": data});
            self.line(Some(component), line);
        }
        let revision = self.revisions[&name].to_string();
        for node in 1..=nodes {
            self.node(
                component,
                &["node", &node.to_string(), "revision", &revision],
            )
            .unwrap();
        }
    }

    fn node(&mut self, component: usize, words: &[&str]) -> Result<(), String> {
        let namespace = self.cluster.components[component].name.clone();
        let name = format!("apiserver-node-{}", words[1]);
        if words[2] == "gone" {
            return self
                .cluster
                .api
                .remove_pod(&namespace, &name)
                .then_some(())
                .ok_or("no such pod".to_owned());
        }
        let now = self
            .cluster
            .api
            .pod(&namespace, &name)
            .map(|pod| pod.revision.parse().unwrap());
        let (revision, how) = match words[2] {
            "revision" => (words[3].parse().unwrap(), "ready"),
            how => (now.unwrap_or(self.revisions[&namespace]), how),
        };
        self.cluster.api.set_pod(
            &namespace,
            pod(&name, &format!("node-{}", words[1]), revision, how),
        );
        Ok(())
    }

    fn migrator(&mut self, words: &[&str]) -> Result<(), String> {
        let name = migration_name(&GroupResource::from(words[2]));
        if words[1] == "loses" {
            return self
                .cluster
                .api
                .delete_migration(&name)
                .map_err(|e| e.to_string());
        }
        let now = self.now;
        let migration = self
            .cluster
            .api
            .migration_mut(&name)
            .ok_or("no such migration")?;
        migration.state = match words[1] {
            "succeeds" => MigrationState::Succeeded(now),
            "runs" => MigrationState::Running,
            _ => MigrationState::Failed(now - seconds(words[3]), words[4..].join(" ")),
        };
        Ok(())
    }

    fn secret(&mut self, namespace: &str, name: &str, words: &[&str]) -> Result<(), String> {
        let component = self.cluster.components[0].name.clone();
        let saved = &mut self.saved;
        let now = self.now;
        let change = |api: &mut kms_controlplane::api::Api| {
            let refused = |e: kms_controlplane::api::ApiError| e.to_string();
            match words[0] {
                "create" => {
                    let mut secret = Secret::new(namespace, name);
                    secret.set_note("mode", words[1]);
                    secret.labels.insert(COMPONENT_LABEL.to_owned(), component);
                    secret.data.insert(KEY_DATA.to_owned(), vec![b'k'; 32]);
                    return api.create_secret(secret).map_err(refused);
                }
                "create-config" => {
                    let mut secret = Secret::new(namespace, name);
                    secret
                        .data
                        .insert(CONFIG_KEY.to_owned(), words[1..].join(" ").into_bytes());
                    return api.create_secret(secret).map_err(refused);
                }
                "create-v1" | "create-v2" => {
                    let secret =
                        kms_key_secret(namespace, name, &component, words[0] == "create-v1", now);
                    return api.create_secret(secret).map_err(refused);
                }
                "restore" => {
                    let secret = saved.get(name).cloned().ok_or("nothing saved")?;
                    return api.create_secret(secret).map_err(refused);
                }
                "delete" => return api.delete_secret(namespace, name).map_err(refused),
                _ => {}
            }
            let mut secret = api.secret(namespace, name).map_err(refused)?;
            match words[0] {
                "save" => {
                    saved.insert(name.to_owned(), secret);
                    return Ok(());
                }
                "unset" => {
                    secret.annotations.remove(&format!("{PREFIX}{}", words[1]));
                }
                "setdata" => {
                    secret.data.insert(
                        format!("{DATA_PREFIX}{}", words[1]),
                        words[2..].join(" ").into_bytes(),
                    );
                }
                "unsetdata" => {
                    secret.data.remove(&format!("{DATA_PREFIX}{}", words[1]));
                }
                "set" => secret.set_note(words[1], &words[2..].join(" ")),
                "corrupt" => {
                    secret.data.insert(CONFIG_KEY.to_owned(), b"{".to_vec());
                }
                "strip" | "force-delete" => secret.finalizers.clear(),
                other => return Err(format!("unknown verb {other}")),
            }
            api.update_secret(secret).map_err(refused)?;
            if words[0] == "force-delete" {
                api.delete_secret(namespace, name).map_err(refused)
            } else {
                Ok(())
            }
        };
        self.cluster.api.outside(change)
    }

    /// Lets roll-outs and migrations succeed until the controllers want nothing more.
    fn complete(&mut self, watch: &mut dyn FnMut(&Cluster)) {
        for _ in 0..20 {
            let before = self.changes;
            self.settle();
            watch(&self.cluster);
            for component in 0..self.cluster.components.len() {
                if !self.rolled_out(component) {
                    let nodes = self.cluster.components[component].nodes.len();
                    self.roll_out(component, nodes);
                }
            }
            self.settle();
            watch(&self.cluster);
            let new: Vec<String> = self
                .cluster
                .api
                .migrations()
                .values()
                .filter(|migration| migration.state == MigrationState::New)
                .map(|migration| migration.resource.to_string())
                .collect();
            for resource in new {
                self.migrator(&["migrator", "succeeds", &resource]).unwrap();
                self.observe("world");
            }
            self.settle();
            if self.changes == before {
                return;
            }
        }
        self.line(
            None,
            json!({"what": "note", "text": "not complete after 20 rounds"}),
        );
    }

    fn dump(&mut self, component: usize, what: &str) -> Result<(), String> {
        let name = &self.cluster.components[component].name;
        let secret = match what {
            "target" => self
                .cluster
                .api
                .cached_secret(MANAGED_NAMESPACE, &target_config_name(name)),
            "copy" => self.cluster.api.cached_secret(name, CONFIG_KEY),
            number => self
                .cluster
                .api
                .cached_secret(MANAGED_NAMESPACE, &key_secret_name(name, number)),
        };
        let secret = secret.ok_or("no such object")?;
        let line = json!({"what": "object", "name": secret.name, "data": view::object(secret)});
        self.line(None, line);
        Ok(())
    }

    fn save_config(&mut self, component: usize, name: &str) -> Result<(), String> {
        let target = target_config_name(&self.cluster.components[component].name);
        let secret = self
            .cluster
            .api
            .cached_secret(MANAGED_NAMESPACE, &target)
            .ok_or("no such object")?;
        let mut config = EncryptionConfiguration::from_secret(secret)?.ok_or("no data")?;
        for provider in config
            .resources
            .iter_mut()
            .flat_map(|entry| &mut entry.providers)
        {
            if let Provider::Aescbc(keys) | Provider::Aesgcm(keys) = provider {
                let key = &mut keys.keys[0];
                if key.secret.len() > 24 {
                    key.secret = stand_in(key.name.parse().unwrap());
                }
            }
        }
        self.configs.insert(
            name.to_owned(),
            serde_json::from_slice(&config.to_text()).unwrap(),
        );
        Ok(())
    }

    fn union(&mut self) {
        let line = match union(&self.cluster) {
            Err(UnionError::Error(text)) => json!({"by": "union", "what": "error", "text": text}),
            Err(UnionError::Panic(panic)) => {
                json!({"by": "union", "what": "panic", "text": panic.0})
            }
            Ok(Deployed::NotConverged) => {
                json!({"by": "union", "what": "deployed", "text": "converged=false"})
            }
            Ok(Deployed::Converged(None)) => {
                json!({"by": "union", "what": "deployed", "text": "converged=true"})
            }
            Ok(Deployed::Converged(Some(secret))) => json!({"by": "union", "what": "deployed",
                "text": "converged=true", "name": format!("{}/{}", secret.namespace, secret.name),
                "data": view::config(&secret)}),
        };
        self.line(None, line);
    }

    fn kms(&mut self, words: &[&str]) -> Result<(), String> {
        if self.cluster.generation != Generation::V2 {
            return Ok(()); // v1 does not read it
        }
        if words[0] == "none" {
            self.cluster.spec.kms = None;
            return Ok(());
        }
        let value = words[1].to_owned();
        let plugin = &mut self.plugin;
        match words[0] {
            "address" => plugin.vault.vault_address = value,
            "namespace" => plugin.vault.vault_namespace = value,
            "authnamespace" => plugin.vault.vault_auth_namespace = value,
            "keypath" => plugin.vault.vault_key_path = value,
            "image" => plugin.vault.kms_plugin_image = value,
            "servername" => plugin.vault.tls.server_name = value,
            "authtype" => plugin.vault.authentication.kind = value,
            "approle" => plugin.vault.authentication.app_role.secret.name = value,
            "provider" => plugin.kind = value,
            other => return Err(format!("unknown field {other}")),
        }
        self.cluster.spec.kms = Some(plugin.clone());
        Ok(())
    }

    fn credentials(&mut self, words: &[&str]) -> Result<(), String> {
        self.cluster.api.outside(|api| {
            if words[0] == "gone" {
                return api
                    .delete_secret(CONFIG_NAMESPACE, "vault-approle")
                    .map_err(|e| e.to_string());
            }
            let mut secret = api
                .secret(CONFIG_NAMESPACE, "vault-approle")
                .map_err(|e| e.to_string())?;
            match words[1] {
                "gone" => secret.data.remove(words[0]),
                value => secret
                    .data
                    .insert(words[0].to_owned(), value.as_bytes().to_vec()),
            };
            api.update_secret(secret).map_err(|e| e.to_string())
        })
    }

    fn preflight(&mut self, component: usize, words: &[&str]) -> Result<(), String> {
        let now = self.now;
        let deployer = &mut self.operator(component).deployer;
        match words[1] {
            "played" => deployer.real = true,
            "deployfails" => deployer.fails = Some(words[2..].join(" ")),
            "removed" => deployer.pod = None,
            _ => {
                let pod = deployer.pod.as_mut().ok_or("no pod")?;
                match words[1] {
                    "running" => pod.phase = PodPhase::Running,
                    "hash" => {
                        pod.phase = PodPhase::Running;
                        pod.reported_hash = Some(pod.hash.clone());
                    }
                    "pass" => {
                        pod.remote_key_id = Some(words[2].to_owned());
                        pod.result = Some(Ok(()));
                    }
                    "fail" => pod.result = Some(Err(words[2..].join(" "))),
                    "done" => pod.phase = PodPhase::Succeeded,
                    "crashed" => {
                        pod.phase = PodPhase::Failed;
                        pod.exited = Some((1, words[2].to_owned()));
                    }
                    "waiting" => pod.waiting = Some(words[2].to_owned()),
                    "initwaiting" => {} // of no interest to the controller
                    "old" => pod.started = now - seconds(words[2]),
                    other => return Err(format!("unknown step preflight {other}")),
                }
            }
        }
        Ok(())
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

/// The key that stands for number `n` in the recorded texts: 32 times one letter.
fn stand_in(n: u8) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode([b'A' - 1 + n; 32])
}

fn default_plugin() -> PluginSpec {
    let image = format!("images.example/plugin@sha256:{}", "a".repeat(64));
    serde_json::from_value(json!({"type": "Vault", "vault": {"kmsPluginImage": image,
        "vaultAddress": "https://vault.example:8200", "tls": {"caBundle": {"name": "vault-ca"}},
        "authentication": {"type": "AppRole", "appRole": {"secret": {"name": "vault-approle"}}},
        "vaultKeyPath": "transit/keys/kms-key"}}))
    .unwrap()
}

/// A migrated KMS key secret as v1 or v2 would have left it.
fn kms_key_secret(
    namespace: &str,
    name: &str,
    component: &str,
    v1: bool,
    now: Timestamp,
) -> Secret {
    let number = name.rsplit('-').next().unwrap();
    let mut secret = Secret::new(namespace, name);
    secret
        .labels
        .insert(COMPONENT_LABEL.to_owned(), component.to_owned());
    secret.finalizers.push(FINALIZER.to_owned());
    secret.set_note("mode", "KMS");
    secret.set_note("internal-reason", "key-does-not-exist");
    secret.set_note("external-reason", "");
    secret.set_note("migrated-timestamp", &now.to_string());
    secret.set_note(
        "migrated-resources",
        r#"{"resources":[{"Group":"","Resource":"configmaps"},{"Group":"","Resource":"secrets"}]}"#,
    );
    secret.data.insert(KEY_DATA.to_owned(), vec![0; 16]);
    if v1 {
        let provider = json!({"apiVersion": "v2", "name": number,
            "endpoint": "unix:///var/run/kmsplugin/kms.sock", "timeout": "10s"});
        secret.set_note("kms-config", &provider.to_string());
        return secret;
    }
    let endpoint = format!("unix:///var/run/kmsplugin/kms-{number}.sock");
    let config = json!({"kind": "EncryptionConfiguration", "apiVersion": "apiserver.config.k8s.io/v1",
        "resources": [{"resources": ["secrets"], "providers": [{"kms": {"apiVersion": "v2", "name": number,
            "endpoint": endpoint, "timeout": "10s"}}]}]});
    secret.data.insert(
        format!("{DATA_PREFIX}kms-encryption-config"),
        config.to_string().into_bytes(),
    );
    let plugin = json!({"kind": "APIServer", "apiVersion": "config.openshift.io/v1",
        "spec": {"encryption": {"kms": default_plugin()}}});
    secret.data.insert(
        format!("{DATA_PREFIX}kms-plugin-config"),
        plugin.to_string().into_bytes(),
    );
    secret
}
