//! The cluster's API as the controllers see it: objects in memory, the finalizer rules, calls that can be made to fail.
//!
//! Reads through [`Api::cached_secret`] and its like are a controller's cache: never refused, never stale.

use std::collections::BTreeMap;

use crate::object::{Migration, Pod, Secret};
use crate::resource::GroupResource;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// No such object.
    #[error("{kind} {name:?} not found")]
    NotFound {
        /// Plural name of the resource.
        kind: &'static str,
        /// Name of the object.
        name: String,
    },
    /// The name is taken.
    #[error("{kind} {name:?} already exists")]
    AlreadyExists {
        /// Plural name of the resource.
        kind: &'static str,
        /// Name of the object.
        name: String,
    },
    /// Anything else, e.g. a call that was made to fail.
    #[error("{0}")]
    Refused(String),
}

impl ApiError {
    /// The object is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    fn missing(kind: &'static str, name: &str) -> Self {
        Self::NotFound {
            kind,
            name: name.to_owned(),
        }
    }
}

/// All objects of the cluster.
#[derive(Clone, Debug, Default)]
pub struct Api {
    secrets: BTreeMap<(String, String), Secret>,
    config_maps: BTreeMap<(String, String), BTreeMap<String, String>>,
    pods: BTreeMap<(String, String), Pod>,
    migrations: BTreeMap<String, Migration>,
    /// Which version of a resource is stored; a resource that is not listed is not served.
    pub served: BTreeMap<GroupResource, String>,
    faults: BTreeMap<String, String>,
    changes: u64,
    keys_made: u64,
    seed: u64,
}

fn id(namespace: &str, name: &str) -> (String, String) {
    (namespace.to_owned(), name.to_owned())
}

impl Api {
    /// An empty cluster. Key material is drawn from `seed`: it protects nothing.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            ..Self::default()
        }
    }

    /// Counts whatever was created, changed or deleted so far.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Makes every call of that verb and resource (`list secrets`) fail with the text.
    pub fn refuse(&mut self, call: &str, text: &str) {
        self.faults.insert(call.to_owned(), text.to_owned());
    }

    /// No call fails any more.
    pub fn refuse_nothing(&mut self) {
        self.faults.clear();
    }

    /// Acts on the cluster from outside the controllers: what was made to fail does not fail here.
    pub fn outside<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> T {
        let faults = std::mem::take(&mut self.faults);
        let result = act(self);
        self.faults = faults;
        result
    }

    /// What a call that has no other place here comes to: an error if it is to be refused.
    pub(crate) fn call(&self, call: &str) -> Result<(), ApiError> {
        self.faults
            .get(call)
            .map_or(Ok(()), |text| Err(ApiError::Refused(text.clone())))
    }

    /// A secret from the cache.
    pub fn cached_secret(&self, namespace: &str, name: &str) -> Option<&Secret> {
        self.secrets.get(&id(namespace, name))
    }

    /// Secrets of a namespace with a label of that value, from the cache.
    pub fn cached_secrets<'a>(
        &'a self,
        namespace: &'a str,
        label: &'a str,
        value: &'a str,
    ) -> impl Iterator<Item = &'a Secret> {
        self.secrets.values().filter(move |s| {
            s.namespace == namespace && s.labels.get(label).is_some_and(|v| v == value)
        })
    }

    /// Reads a secret.
    pub fn secret(&self, namespace: &str, name: &str) -> Result<Secret, ApiError> {
        self.call("get secrets")?;
        self.cached_secret(namespace, name)
            .cloned()
            .ok_or_else(|| ApiError::missing("secrets", name))
    }

    /// Lists secrets with a label of that value.
    pub fn list_secrets(
        &self,
        namespace: &str,
        label: &str,
        value: &str,
    ) -> Result<Vec<Secret>, ApiError> {
        self.call("list secrets")?;
        Ok(self
            .cached_secrets(namespace, label, value)
            .cloned()
            .collect())
    }

    /// Creates a secret.
    pub fn create_secret(&mut self, mut secret: Secret) -> Result<(), ApiError> {
        self.call("create secrets")?;
        let id = id(&secret.namespace, &secret.name);
        if self.secrets.contains_key(&id) {
            return Err(ApiError::AlreadyExists {
                kind: "secrets",
                name: id.1,
            });
        }
        self.changes += 1;
        secret.uid = self.changes;
        self.secrets.insert(id, secret);
        Ok(())
    }

    /// Replaces a secret. One that is marked for deletion goes when its last finalizer does.
    pub fn update_secret(&mut self, secret: Secret) -> Result<(), ApiError> {
        self.call("update secrets")?;
        let id = id(&secret.namespace, &secret.name);
        if !self.secrets.contains_key(&id) {
            return Err(ApiError::missing("secrets", &id.1));
        }
        self.changes += 1;
        if secret.deleting && secret.finalizers.is_empty() {
            self.secrets.remove(&id);
        } else {
            self.secrets.insert(id, secret);
        }
        Ok(())
    }

    /// Deletes a secret, or marks it for deletion while a finalizer holds it.
    pub fn delete_secret(&mut self, namespace: &str, name: &str) -> Result<(), ApiError> {
        self.call("delete secrets")?;
        let id = id(namespace, name);
        self.changes += 1;
        match self.secrets.get_mut(&id) {
            None => Err(ApiError::missing("secrets", name)),
            Some(held) if !held.finalizers.is_empty() => {
                held.deleting = true;
                Ok(())
            }
            Some(_) => {
                self.secrets.remove(&id);
                Ok(())
            }
        }
    }

    /// Reads a config map's text values.
    pub fn config_map(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<BTreeMap<String, String>, ApiError> {
        self.call("get configmaps")?;
        self.config_maps
            .get(&id(namespace, name))
            .cloned()
            .ok_or_else(|| ApiError::missing("configmaps", name))
    }

    /// Puts a config map there, or takes it away.
    pub fn set_config_map(
        &mut self,
        namespace: &str,
        name: &str,
        data: Option<BTreeMap<String, String>>,
    ) {
        self.changes += 1;
        match data {
            Some(data) => self.config_maps.insert(id(namespace, name), data),
            None => self.config_maps.remove(&id(namespace, name)),
        };
    }

    /// Lists the API server pods of a namespace, by name.
    pub fn list_pods(&self, namespace: &str) -> Result<Vec<Pod>, ApiError> {
        self.call("list pods")?;
        Ok(self
            .pods
            .iter()
            .filter(|((ns, _), _)| ns == namespace)
            .map(|(_, pod)| pod.clone())
            .collect())
    }

    /// The pods of a namespace, as their kubelets know them.
    pub fn pods<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Pod> {
        self.pods
            .iter()
            .filter(move |((ns, _), _)| ns == namespace)
            .map(|(_, pod)| pod)
    }

    /// A pod, as its kubelet knows it.
    pub fn pod(&self, namespace: &str, name: &str) -> Option<&Pod> {
        self.pods.get(&id(namespace, name))
    }

    /// Puts a pod there or replaces it.
    pub fn set_pod(&mut self, namespace: &str, pod: Pod) {
        self.changes += 1;
        self.pods.insert(id(namespace, &pod.name), pod);
    }

    /// Takes a pod away; tells whether it was there.
    pub fn remove_pod(&mut self, namespace: &str, name: &str) -> bool {
        self.changes += 1;
        self.pods.remove(&id(namespace, name)).is_some()
    }

    /// All migration objects by name.
    pub fn migrations(&self) -> &BTreeMap<String, Migration> {
        &self.migrations
    }

    /// Creates a migration object.
    pub fn create_migration(&mut self, migration: Migration) -> Result<(), ApiError> {
        self.call("create storageversionmigrations")?;
        if self.migrations.contains_key(&migration.name) {
            return Err(ApiError::AlreadyExists {
                kind: "storageversionmigrations.migration.k8s.io",
                name: migration.name,
            });
        }
        self.changes += 1;
        self.migrations.insert(migration.name.clone(), migration);
        Ok(())
    }

    /// Deletes a migration object.
    pub fn delete_migration(&mut self, name: &str) -> Result<(), ApiError> {
        self.call("delete storageversionmigrations")?;
        self.changes += 1;
        match self.migrations.remove(name) {
            Some(_) => Ok(()),
            None => Err(ApiError::missing(
                "storageversionmigrations.migration.k8s.io",
                name,
            )),
        }
    }

    /// A migration object, to note its progress.
    pub fn migration_mut(&mut self, name: &str) -> Option<&mut Migration> {
        self.changes += 1;
        self.migrations.get_mut(name)
    }

    /// 32 bytes that no key had before.
    pub(crate) fn new_key(&mut self) -> Vec<u8> {
        self.keys_made += 1;
        let mut state = self.seed ^ self.keys_made.wrapping_mul(0xd1b5_4a32_d192_ed03);
        let mut word = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        (0..4).flat_map(|_| word().to_le_bytes()).collect()
    }
}
