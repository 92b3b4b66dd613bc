//! The cluster's objects, key material and free texts left out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Log, Seen};
use crate::sign::Sign;

/// Objects of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// What the APIServer resource asks for.
    pub spec: Seen<Spec>,
    /// Operators with what is theirs, by the name of the component.
    pub components: BTreeMap<String, Component>,
    /// Storage version migrations of encryption.
    pub migrations: Seen<Vec<Migration>>,
}

/// `.spec.encryption` of the APIServer resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// A type that there is, or `other`; empty if none is set.
    pub mode: String,
    /// It says which Vault.
    pub names_vault: bool,
}

/// One operator and what belongs to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// The operator's own resource.
    pub operator: Seen<Operator>,
    /// What its ClusterOperator says.
    pub cluster_operator: Seen<ClusterOperator>,
    /// Key secrets, oldest first.
    pub keys: Seen<Vec<KeySecret>>,
    /// The configuration that the operator wants.
    pub target: Seen<Config>,
    /// Configurations by revision.
    pub revisions: Seen<BTreeMap<u32, Config>>,
    /// Events of the operator that are about encryption.
    pub events: Seen<Vec<Event>>,
    /// The operator's log.
    pub log: Seen<Log>,
}

/// Whether an operator does its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Management {
    /// It does.
    Managed,
    /// It looks on.
    Unmanaged,
    /// Its operand is to go.
    Removed,
}

/// What an operator's resource says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    /// Its management state.
    pub management: Management,
    /// Conditions about encryption and roll-outs, by type.
    pub conditions: BTreeMap<String, Condition>,
    /// Newest revision, if it says so.
    pub latest: Option<u32>,
    /// Revisions by node.
    pub nodes: BTreeMap<String, Revision>,
}

/// What a ClusterOperator says. It is made of the operator's own conditions, minutes later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterOperator {
    /// Available, Degraded and Progressing.
    pub conditions: BTreeMap<String, Condition>,
    /// What Degraded and Progressing are made of where they hold, by the types that the operator itself has. None tells
    /// since when.
    pub parts: BTreeMap<String, Condition>,
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// It is True.
    pub holds: bool,
    /// Its reason, words that are not known hashed.
    pub reason: String,
    /// Its message, the same.
    pub message: String,
    /// What the message is known for.
    pub signs: Vec<Sign>,
    /// When it last changed, if that is told.
    pub since: Option<i64>,
}

/// `.status.nodeStatuses[]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revision {
    /// Last ready there.
    pub current: u32,
    /// On the way to; 0 if to none.
    pub target: u32,
}

/// Whose form a KMS key's secret has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// With the annotation `kms-config`: the operators of the procedure.
    Annotation,
    /// With the plugin's configuration as data: their successors.
    Data,
    /// Neither, or it cannot be read: no operator can use it.
    Broken,
}

/// A key secret without its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySecret {
    /// Its number.
    pub number: u64,
    /// A mode that there is, or `other`.
    pub mode: String,
    /// For mode KMS.
    pub form: Option<Form>,
    /// Resources that were rewritten with it.
    pub migrated: Vec<String>,
    /// When the last of them was.
    pub migrated_at: Option<i64>,
    /// Marked for deletion.
    pub deleting: bool,
    /// Why it was made, words that are not known hashed.
    pub reason: String,
}

/// An EncryptionConfiguration without keys: by resource its providers, such as `kms:1` and `identity`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Providers, the first one writes.
    pub resources: BTreeMap<String, Vec<String>>,
    /// Marked for deletion.
    pub deleting: bool,
}

impl Config {
    /// Whether a provider of this label is listed for a resource.
    pub fn lists(&self, resource: &str, label: &str) -> bool {
        let providers = self.resources.get(resource);
        providers.is_some_and(|all| all.iter().any(|known| known == label))
    }

    /// Whether any KMS provider is listed.
    pub fn has_kms(&self) -> bool {
        let mut all = self.resources.values().flatten();
        all.any(|label| label.starts_with("kms:"))
    }

    /// Labels of the providers that write, by resource.
    pub fn writers(&self) -> BTreeMap<&str, &str> {
        let all = self.resources.iter();
        all.filter_map(|(resource, all)| Some((resource.as_str(), all.first()?.as_str())))
            .collect()
    }
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Its reason, one of those that are known.
    pub reason: String,
    /// When it was last seen.
    pub at: Option<i64>,
    /// How often.
    pub count: u64,
}

/// A StorageVersionMigration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Migration {
    /// What is rewritten.
    pub resource: String,
    /// Number of the key that it writes with.
    pub write_key: String,
    /// It is neither done nor failed.
    pub runs: bool,
    /// It failed.
    pub failed: bool,
    /// When it was made.
    pub created: Option<i64>,
}
