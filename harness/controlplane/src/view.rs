//! What a judge sees of a cluster: keys, configurations by node, migrations.

use std::collections::BTreeMap;

use crate::cluster::{Cluster, target_config_name};
use crate::encryption_config::{CONFIG_KEY, EncryptionConfiguration, Provider};
use crate::key::{Mode, key_number};
use crate::key_secret::to_key;
use crate::migrator::migration_name;
use crate::object::{COMPONENT_LABEL, MANAGED_NAMESPACE, MigrationState, PodPhase};
use crate::resource::GroupResource;

/// A component at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Its name.
    pub name: String,
    /// What it encrypts.
    pub resources: Vec<GroupResource>,
    /// Readable key secrets by number.
    pub keys: BTreeMap<u64, KeyView>,
    /// All key secrets, readable or not: number, and which object it is.
    pub numbers: BTreeMap<u64, u64>,
    /// The target config.
    pub target: Option<EncryptionConfiguration>,
    /// Its running pods.
    pub pods: Vec<PodView>,
    /// Migrations of its resources.
    pub migrations: BTreeMap<GroupResource, MigrationView>,
}

/// A key that has its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyView {
    /// How it encrypts.
    pub mode: Mode,
    /// What is migrated to it.
    pub migrated: Vec<GroupResource>,
}

/// A running pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodView {
    /// Its node.
    pub node: String,
    /// Its revision.
    pub revision: String,
    /// Ready.
    pub ready: bool,
    /// Its configuration; without one it reads and writes plain text.
    pub config: Option<EncryptionConfiguration>,
}

/// A migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationView {
    /// Key that it writes with.
    pub write_key: String,
    /// It is done.
    pub succeeded: bool,
}

impl View {
    /// All components of a cluster.
    pub fn of(cluster: &Cluster) -> Vec<Self> {
        cluster
            .components
            .iter()
            .map(|component| {
                let name = component.name.clone();
                let api = &cluster.api;
                let config = |namespace: &str, name: &str| {
                    api.cached_secret(namespace, name).and_then(|secret| {
                        EncryptionConfiguration::from_secret(secret).ok().flatten()
                    })
                };
                let mut keys = BTreeMap::new();
                let mut numbers = BTreeMap::new();
                for secret in api.cached_secrets(MANAGED_NAMESPACE, COMPONENT_LABEL, &name) {
                    let Some(number) = key_number(&secret.name) else {
                        continue;
                    };
                    numbers.insert(number, secret.uid);
                    if let Ok(key) = to_key(secret, cluster.generation) {
                        keys.insert(
                            number,
                            KeyView {
                                mode: key.mode,
                                migrated: key.migrated,
                            },
                        );
                    }
                }
                let mut revisions: BTreeMap<&str, Option<EncryptionConfiguration>> =
                    BTreeMap::new();
                let running = api.pods(&name).filter(|pod| pod.phase == PodPhase::Running);
                let pods: Vec<PodView> = running
                    .map(|pod| {
                        let read = || config(&name, &format!("{CONFIG_KEY}-{}", pod.revision));
                        PodView {
                            node: pod.node.clone(),
                            revision: pod.revision.clone(),
                            ready: pod.ready,
                            config: revisions.entry(&pod.revision).or_insert_with(read).clone(),
                        }
                    })
                    .collect();
                let migrations = component.resources.iter().filter_map(|gr| {
                    let migration = api.migrations().get(&migration_name(gr))?;
                    let succeeded = matches!(migration.state, MigrationState::Succeeded(_));
                    Some((
                        gr.clone(),
                        MigrationView {
                            write_key: migration.write_key.clone(),
                            succeeded,
                        },
                    ))
                });
                Self {
                    resources: component.resources.clone(),
                    keys,
                    numbers,
                    target: config(MANAGED_NAMESPACE, &target_config_name(&name)),
                    pods,
                    migrations: migrations.collect(),
                    name,
                }
            })
            .collect()
    }

    /// All running pods are ready and have one configuration.
    pub fn converged(&self) -> Option<&PodView> {
        let first = self.pods.first()?;
        self.pods
            .iter()
            .all(|pod| pod.ready && pod.config == first.config)
            .then_some(first)
    }
}

/// Providers of a resource; plain text alone where the configuration does not list it.
pub fn providers<'a>(
    config: Option<&'a EncryptionConfiguration>,
    gr: &GroupResource,
) -> &'a [Provider] {
    static PLAIN: [Provider; 1] = [Provider::Identity(crate::encryption_config::Empty {})];
    let name = gr.to_string();
    let entry = config.and_then(|config| {
        config
            .resources
            .iter()
            .find(|entry| entry.resources.contains(&name))
    });
    match entry {
        Some(entry) if !entry.providers.is_empty() => &entry.providers,
        _ => &PLAIN,
    }
}

/// What stands before a stored value as far as a reader must know it: values of one provider can be read by the other
/// if they are equal.
pub fn same_data(a: &Provider, b: &Provider) -> bool {
    match (a, b) {
        (Provider::Kms(a), Provider::Kms(b)) => a.name == b.name,
        (a, b) => a == b,
    }
}

/// A provider that a key stands behind: no plain text, and not the entry that only carries an identity key's number.
pub fn is_key(provider: &Provider) -> bool {
    !matches!(provider, Provider::Identity(_) | Provider::Other(_))
        && !provider.label().starts_with("aesgcm-null:")
}
