//! Raw documents: what gatherers bring, under names that say what each is.
//!
//! They are as the servers gave them and hold secrets: they stay in memory and are wiped. A folder of files of these
//! names can be diagnosed like anything else. [`DOCUMENTS`] lists the names.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use crate::evidence::Why;

/// Names of documents with what each is. `COMPONENT` is the namespace of an API server, `NODE` a node's name.
pub const DOCUMENTS: &[(&str, &str)] = &[
    ("cluster/apiserver.json", "oc get apiserver cluster -o json"),
    (
        "cluster/operators/COMPONENT.json",
        "the operator's resource: kubeapiserver, openshiftapiserver or authentication.operator",
    ),
    (
        "cluster/clusteroperators.json",
        "oc get clusteroperators -o json",
    ),
    (
        "cluster/secrets.json",
        "oc get secrets -n openshift-config-managed -o json",
    ),
    (
        "cluster/secrets/COMPONENT.json",
        "oc get secrets -n COMPONENT -o json",
    ),
    (
        "cluster/pods/COMPONENT.json",
        "oc get pods -n COMPONENT -o json",
    ),
    ("cluster/pods.json", "oc get pods -n kube-system -o json"),
    (
        "cluster/migrations.json",
        "oc get storageversionmigrations -o json",
    ),
    (
        "cluster/events/COMPONENT.json",
        "events of the operator's namespace",
    ),
    ("cluster/logs/COMPONENT.log", "the operator's log"),
    ("nodes/NODE/COMPONENT.log", "the API server's log"),
    (
        "nodes/NODE/COMPONENT.config.json",
        "the EncryptionConfiguration that lies on the node for it",
    ),
    ("nodes/NODE/COMPONENT.readyz.txt", "/readyz?verbose"),
    (
        "nodes/NODE/COMPONENT.check.txt",
        "/readyz/CHECK of the check of KMS providers, while it fails: it says why, which /readyz?verbose does not",
    ),
    ("nodes/NODE/COMPONENT.metrics.txt", "/metrics"),
    (
        "nodes/NODE/COMPONENT.lists.json",
        "by resource, HTTP code and message of a list",
    ),
    ("nodes/NODE/plugin.log", "the plugin's log"),
    (
        "nodes/NODE/plugin.socket.json",
        "{there, socket, mode} of the plugin's socket",
    ),
    (
        "nodes/NODE/plugin.status.json",
        "answer to Status: {version, healthz, key_id} or {code, message} or {connect}, took_ms",
    ),
    ("etcd/COMPONENT.json", "etcdctl get --prefix / -w json"),
    ("vault/health.json", "{status, body} of sys/health"),
    ("vault/leader.json", "{status, body} of sys/leader"),
    ("vault/key.json", "{status, body} of MOUNT/keys/KEY"),
    (
        "vault/plugin.json",
        "by operation, {status, body, took_ms} with the plugin's own token",
    ),
];

/// Documents.
#[derive(Default)]
pub struct Raw {
    /// When they were taken, in seconds since 1970.
    pub taken: i64,
    documents: BTreeMap<String, Result<Zeroizing<Vec<u8>>, Why>>,
}

impl std::fmt::Debug for Raw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.documents.keys()).finish()
    }
}

impl Raw {
    /// None, at a time in seconds since 1970.
    pub fn new(taken: i64) -> Self {
        Self {
            taken,
            documents: BTreeMap::new(),
        }
    }

    /// Adds a document, or why there is none.
    pub fn add(&mut self, name: impl Into<String>, document: Result<Vec<u8>, Why>) {
        self.documents
            .insert(name.into(), document.map(Zeroizing::new));
    }

    /// A document as bytes.
    ///
    /// # Errors
    /// Why it is not there.
    pub fn bytes(&self, name: &str) -> Result<&[u8], Why> {
        match self.documents.get(name) {
            None => Err(Why::NotAsked),
            Some(Err(why)) => Err(*why),
            Some(Ok(bytes)) => Ok(bytes),
        }
    }

    /// A document as text, what is no UTF-8 replaced.
    ///
    /// # Errors
    /// Why it is not there.
    pub fn text(&self, name: &str) -> Result<String, Why> {
        self.bytes(name)
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// A document as JSON.
    ///
    /// # Errors
    /// Why it is not there, or that it is none.
    pub fn json(&self, name: &str) -> Result<serde_json::Value, Why> {
        let bytes = self.bytes(name)?;
        serde_json::from_slice(bytes).map_err(|_| Why::Unreadable)
    }

    /// Names of the documents.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.documents.keys().map(String::as_str)
    }
}
