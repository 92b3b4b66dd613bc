//! The steps of a story, but for those that edit objects by hand.

use std::collections::BTreeMap;

use kms_controlplane::cluster::{Cluster, Component, Management, target_config_name};
use kms_controlplane::controller::Controller;
use kms_controlplane::convergence::Deployed;
use kms_controlplane::encryption_config::CONFIG_KEY;
use kms_controlplane::key_secret::key_secret_name;
use kms_controlplane::migration_name;
use kms_controlplane::mount::{Gate, add_socket};
use kms_controlplane::object::{CONFIG_NAMESPACE, MANAGED_NAMESPACE, MigrationState, Secret};
use kms_controlplane::observer::{KUBE_APISERVER_PATH, observe};
use kms_controlplane::resource::GroupResource;
use kms_controlplane::union::{UnionError, union};
use serde_json::json;

use super::{Player, pod, seconds};
use crate::view;

impl Player {
    pub(super) fn act(
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

    pub(super) fn operator(&mut self, component: usize) -> &mut Component {
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
                .outside(|api| api.delete_migration(&name))
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
}
