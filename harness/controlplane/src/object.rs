//! The few kinds of cluster object that the controllers read and write.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;

use crate::resource::GroupResource;

/// Namespace of key secrets and target configs.
pub const MANAGED_NAMESPACE: &str = "openshift-config-managed";
/// Namespace of what an administrator refers to in the spec.
pub const CONFIG_NAMESPACE: &str = "openshift-config";
/// Prefix of every annotation and label of the encryption controllers.
pub const PREFIX: &str = "encryption.apiserver.operator.openshift.io/";
/// Finalizer on key secrets and configs.
pub const FINALIZER: &str = "encryption.apiserver.operator.openshift.io/deletion-protection";
/// Label that says which component a key secret belongs to.
pub const COMPONENT_LABEL: &str = "encryption.apiserver.operator.openshift.io/component";
/// Annotation that warns whoever looks at the object.
pub const DESCRIPTION: &str = "kubernetes.io/description";
/// The warning itself, spelling as in the real objects.
pub const DO_NOT_EDIT: &str = "WARNING: DO NOT EDIT.\nAltering of the encryption secrets will render you cluster inaccessible.\nCatastrophic data loss can occur from the most minor changes.";

/// A secret (always of type Opaque) or, with text values, a config map.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Which object of that name it is: the API gives a new one to each that is created.
    pub uid: u64,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Finalizers.
    pub finalizers: Vec<String>,
    /// Marked for deletion, held by a finalizer.
    pub deleting: bool,
    /// Content.
    pub data: BTreeMap<String, Vec<u8>>,
}

impl Secret {
    /// An empty secret.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// An annotation of the encryption controllers, by its name without the prefix.
    pub fn note(&self, name: &str) -> Option<&str> {
        self.annotations
            .get(&format!("{PREFIX}{name}"))
            .map(String::as_str)
    }

    /// Sets an annotation of the encryption controllers, by its name without the prefix.
    pub fn set_note(&mut self, name: &str, value: &str) {
        self.annotations
            .insert(format!("{PREFIX}{name}"), value.to_owned());
    }
}

/// Shows sizes, never content.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes: BTreeMap<&str, usize> = self
            .data
            .iter()
            .map(|(k, v)| (k.as_str(), v.len()))
            .collect();
        f.debug_struct("Secret")
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .field("annotations", &self.annotations)
            .field("finalizers", &self.finalizers)
            .field("deleting", &self.deleting)
            .field("bytes", &sizes)
            .finish_non_exhaustive()
    }
}

/// Phase of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodPhase {
    /// Not started.
    Pending,
    /// Running, ready or not.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// The node does not answer.
    Unknown,
}

/// An API server's pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Name.
    pub name: String,
    /// Node it runs on.
    pub node: String,
    /// Revision it was started from, as its label says it.
    pub revision: String,
    /// Phase.
    pub phase: PodPhase,
    /// Its readiness probe passes.
    pub ready: bool,
}

/// How far a storage version migration has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MigrationState {
    /// Nobody has touched it yet.
    New,
    /// The migrator works on it.
    Running,
    /// Done, at that time.
    Succeeded(Timestamp),
    /// Failed at that time, with that text.
    Failed(Timestamp, String),
}

/// A StorageVersionMigration object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// `encryption-migration-<group>-<resource>`.
    pub name: String,
    /// What is rewritten.
    pub resource: GroupResource,
    /// Version that is written.
    pub version: String,
    /// Annotation: number of the key that it writes with.
    pub write_key: String,
    /// Progress.
    pub state: MigrationState,
}

/// Status of a condition. `Empty` is what an operator leaves behind that dies while it works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// No status at all.
    #[default]
    Empty,
    /// True.
    True,
    /// False.
    False,
}

impl Status {
    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "",
            Self::True => "True",
            Self::False => "False",
        }
    }
}

/// A condition of an operator, its type left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Status.
    pub status: Status,
    /// Reason, one word.
    pub reason: String,
    /// Message.
    pub message: String,
}

impl Condition {
    /// False, and nothing else.
    pub fn no() -> Self {
        Self {
            status: Status::False,
            ..Self::default()
        }
    }

    /// A condition with all its parts.
    pub fn new(status: Status, reason: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            reason: reason.to_owned(),
            message: message.into(),
        }
    }

    /// What every controller says of a failed call: True, `Error`, the text.
    pub fn error(text: impl Into<String>) -> Self {
        Self::new(Status::True, "Error", text)
    }
}

/// An event in an operator's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Type is Warning, not Normal.
    pub warning: bool,
    /// Reason.
    pub reason: String,
    /// Text.
    pub text: String,
}

impl Event {
    /// A normal event.
    pub fn normal(reason: &str, text: impl Into<String>) -> Self {
        Self {
            warning: false,
            reason: reason.to_owned(),
            text: text.into(),
        }
    }

    /// A warning.
    pub fn warning(reason: &str, text: impl Into<String>) -> Self {
        Self {
            warning: true,
            reason: reason.to_owned(),
            text: text.into(),
        }
    }
}

/// Names in a set, as Go prints a slice of strings: `[a b]`.
pub(crate) fn go_list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    format!("[{}]", names.into_iter().collect::<Vec<_>>().join(" "))
}

/// Errors as Go's aggregate prints them: one as it is, several in brackets without repeats.
pub(crate) fn aggregate(errors: &[String]) -> String {
    let mut seen = BTreeSet::new();
    let kept: Vec<&str> = errors
        .iter()
        .map(String::as_str)
        .filter(|e| seen.insert(*e))
        .collect();
    match kept.as_slice() {
        [one] => (*one).to_owned(),
        several => format!("[{}]", several.join(", ")),
    }
}
