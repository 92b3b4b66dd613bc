//! What can be told of the cluster at a moment: conditions, keys, pods, and whether everything can be read.

use jiff::Timestamp;
use kms_apiserver_api::Target;
use kms_controlplane::encryption_config::{EncryptionConfiguration, Provider};
use kms_controlplane::key::{KeyState, key_number};
use kms_controlplane::key_secret::to_key;
use kms_controlplane::object::{COMPONENT_LABEL, Condition, MANAGED_NAMESPACE, Status};
use kms_controlplane::operand::pod_name;
use kms_controlplane::plane::COMPONENTS;
use kms_controlplane::resource::GroupResource;

use super::servers::STORAGE;
use super::{Broken, World, node_name};

/// So many objects of a component are read by each look at everything.
const SAMPLE: usize = 12;

/// Names of the operators' custom resources, by component.
pub const OPERATORS: [&str; 3] = [
    "kubeapiserver",
    "openshiftapiserver",
    "authentication.operator.openshift.io",
];

impl World {
    /// The component that a resource belongs to.
    pub fn component_of(&self, gr: &GroupResource) -> usize {
        let mine = |component: &usize| {
            let resources = &self.plane.cluster.components[*component].resources;
            resources.contains(gr)
        };
        (0..COMPONENTS.len()).find(mine).unwrap_or(0)
    }

    /// Whether the load balancer sends requests to a server.
    pub fn pod_ready(&self, place: usize) -> bool {
        let server = &self.servers[place];
        let name = pod_name(&node_name(server.node));
        let pod = self
            .plane
            .cluster
            .api
            .pod(COMPONENTS[server.component].0, &name);
        pod.is_some_and(|pod| pod.ready) && !server.fresh
    }

    /// The migrator is at a resource of that component.
    pub fn migrating(&self, component: usize) -> bool {
        let at_hand = self.plane.migrator.at_hand();
        at_hand.is_some_and(|(gr, _)| self.component_of(gr) == component)
    }

    /// How many of a component's pods are ready.
    pub fn ready(&self, component: usize) -> usize {
        let places = (0..self.plan.nodes).map(|node| self.place(component, node));
        places.filter(|place| self.pod_ready(*place)).count()
    }

    /// A condition of an operator.
    pub fn condition(&self, component: usize, kind: &str) -> Condition {
        let conditions = &self.plane.cluster.components[component].conditions;
        conditions.get(kind).cloned().unwrap_or_default()
    }

    /// When it last changed its status.
    pub fn transition(&self, component: usize, kind: &str) -> Option<Timestamp> {
        let at = self.transitions.get(&(component, kind.to_owned()));
        at.map(|(_, at)| *at)
    }

    pub(super) fn note_transitions(&mut self, now: Timestamp) {
        for (component, operator) in self.plane.cluster.components.iter().enumerate() {
            for (kind, condition) in &operator.conditions {
                let id = (component, kind.clone());
                match self.transitions.get_mut(&id) {
                    Some((known, at)) => {
                        if known.status != condition.status {
                            *at = now;
                        }
                        *known = condition.clone();
                    }
                    None => drop(self.transitions.insert(id, (condition.clone(), now))),
                }
            }
        }
    }

    /// Conditions of all operators that say Degraded: operator's name, type, message.
    pub fn degraded(&self) -> Vec<(usize, String, String)> {
        let operators = self.plane.cluster.components.iter().enumerate();
        let all = operators.flat_map(|(component, operator)| {
            let conditions = operator.conditions.iter();
            conditions.map(move |(kind, condition)| (component, kind, condition))
        });
        all.filter(|(_, kind, condition)| {
            kind.ends_with("Degraded") && condition.status == Status::True
        })
        .map(|(component, kind, condition)| (component, kind.clone(), condition.message.clone()))
        .collect()
    }

    /// The readable key secrets of a component, oldest first.
    pub fn keys(&self, component: usize) -> Vec<KeyState> {
        let cluster = &self.plane.cluster;
        let secrets =
            cluster
                .api
                .cached_secrets(MANAGED_NAMESPACE, COMPONENT_LABEL, COMPONENTS[component].0);
        let mut keys: Vec<KeyState> = secrets
            .filter_map(|secret| {
                let mut key = to_key(secret, cluster.generation).ok()?;
                key.name = key_number(&secret.name)?.to_string();
                Some(key)
            })
            .collect();
        keys.sort_by_key(KeyState::number);
        keys
    }

    /// The target configuration of a component.
    pub fn target(&self, component: usize) -> Option<EncryptionConfiguration> {
        let name = kms_controlplane::cluster::target_config_name(COMPONENTS[component].0);
        let secret = self
            .plane
            .cluster
            .api
            .cached_secret(MANAGED_NAMESPACE, &name)?;
        EncryptionConfiguration::from_secret(secret).ok().flatten()
    }

    /// The newest key stands for what the spec asks for, everything is migrated to it, and every node runs what the
    /// operator wrote last. The condition `Encrypted` is not asked: it may say so long before.
    pub fn done(&self, component: usize) -> bool {
        let operator = &self.plane.cluster.components[component];
        let wanted = match self.plane.cluster.spec.mode.as_str() {
            "" => "identity",
            mode => mode,
        };
        let keys = self.keys(component);
        let newest = keys.last();
        newest.is_some_and(|key| {
            key.mode.as_str() == wanted && key.migrated_for(operator.resources.iter())
        }) && self.plane.operands[component].is_rolled_out()
    }

    /// All three components are.
    pub fn all_done(&self) -> bool {
        (0..COMPONENTS.len()).all(|component| self.done(component))
    }

    /// The mount that the plugins use.
    pub fn mount_in_use(&self) -> &str {
        self.plugins
            .first()
            .map_or("", |plugin| plugin.mount.as_str())
    }

    /// Labels of what a component's server on a node runs, of its first resource: `kms:1,identity`.
    pub fn running(&self, component: usize, node: usize) -> String {
        providers(self.servers[self.place(component, node)].config.as_ref())
    }

    /// Reads a sample of what was acknowledged from every ready server; what cannot be read is an invariant broken.
    pub async fn audit(&mut self) -> usize {
        let mut failed = 0;
        for component in 0..COMPONENTS.len() {
            let mine: Vec<Target> = self
                .acknowledged
                .iter()
                .filter(|entry| entry.0 == component)
                .map(|entry| entry.1.clone())
                .collect();
            let step = mine.len().div_ceil(SAMPLE).max(1);
            let sample: Vec<Target> = mine.into_iter().rev().step_by(step).collect();
            for node in 0..self.plan.nodes {
                let place = self.place(component, node);
                if !self.pod_ready(place) {
                    continue;
                }
                for target in &sample {
                    let answer = self.servers[place].api().get(target).await;
                    let why = match answer {
                        Ok(answer) if answer.ok() => continue,
                        Ok(answer) => answer.message().to_owned(),
                        Err(trouble) => trouble.to_string(),
                    };
                    failed += 1;
                    let text = format!(
                        "{} on {}: {why}",
                        real_path(component, target),
                        node_name(node)
                    );
                    if !self.broken.iter().any(|known| known.invariant.is_none()) {
                        self.broken.push(Broken {
                            at: self.clock.now(),
                            invariant: None,
                            text,
                        });
                    }
                }
            }
        }
        failed
    }
}

/// Where an object lies in etcd, by its real resource.
pub fn real_path(component: usize, target: &Target) -> String {
    let storage = STORAGE[component];
    let mut entries = storage.resources.iter();
    let plural = entries
        .find(|entry| entry.1 == target.resource)
        .map_or("", |entry| entry.2);
    if component == 2 {
        format!("{}/{plural}/{}", storage.prefix, target.name)
    } else {
        format!(
            "{}/{plural}/{}/{}",
            storage.prefix, target.namespace, target.name
        )
    }
}

/// Labels of the providers of a configuration's last resource (`secrets` for kube-apiserver).
pub fn providers(config: Option<&EncryptionConfiguration>) -> String {
    let Some(entry) = config.and_then(|config| config.resources.last()) else {
        return "none".to_owned();
    };
    let labels: Vec<String> = entry.providers.iter().map(Provider::label).collect();
    labels.join(",")
}
