//! The rows: data only.

use sim_vault::Flavour;

use crate::options::{Category, Mode, Procedure};

/// A row of the fault table, or a trap.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its id.
    pub id: &'static str,
    /// The category of troubleshooting that leads to it.
    pub category: Category,
    /// What goes wrong.
    pub title: &'static str,
    /// How the procedure's own means find it.
    pub detect: &'static str,
    /// What helps.
    pub remedy: &'static str,
    /// What the procedure does not say and would have helped.
    pub note: &'static str,
    /// Where it happens if nothing else is said: procedure and step.
    pub procedure: Procedure,
    /// See above.
    pub at: &'static str,
    /// The operators that it needs.
    pub mode: Mode,
    /// The Vault that it needs.
    pub flavour: Flavour,
    /// Nodes that it needs.
    pub nodes: Option<usize>,
}

const NORMAL: Row = Row {
    id: "",
    category: Category::Degraded,
    title: "",
    detect: "",
    remedy: "",
    note: "",
    procedure: Procedure::Verify,
    at: "type",
    mode: Mode::Seed,
    flavour: Flavour::Vault,
    nodes: None,
};

/// All of them, by id.
pub const ROWS: &[Row] = &[
    Row {
        id: "OCP-FAULT-01",
        category: Category::InvalidConfig,
        title: "the APIServer resource is refused: a type that there is not",
        detect: "the message of oc edit itself",
        remedy: "correct the spec",
        note: "upper and lower case matter: KMS, but aescbc; a refused edit changes nothing, so nothing has to be undone",
        procedure: Procedure::Enable,
        at: "edit",
        ..NORMAL
    },
    Row {
        id: "OCP-FAULT-02",
        category: Category::InvalidConfig,
        title: "the spec is accepted, but a Secret that it names is missing: nothing happens",
        detect: "the operator's log with grep -i \"kms\\|validation\\|error\", and the condition EncryptionKeyControllerDegraded",
        remedy: "create the Secret in openshift-config; the operator looks again within a minute",
        note: "Encrypted stays as it was; only the key controller's condition says why there is no key",
        procedure: Procedure::Enable,
        at: "edit",
        mode: Mode::V2,
        ..NORMAL
    },
    Row {
        id: "OCP-FAULT-03",
        category: Category::InvalidConfig,
        title: "the plugin's manifest names a Transit key that there is not",
        detect: "the first node stays on its way (target is never reached), readyz of its API server fails in kms-providers, and that server's log names the key",
        remedy: "correct the manifest on every node: the key that the operator has made is kept and goes on by itself",
        note: "the pods are Running and the socket is there all the same; with a policy that allows create, Vault makes the mistyped key without a word; another type in the spec does not help while the first key is stuck",
        procedure: Procedure::Enable,
        at: "pods",
        ..NORMAL
    },
    Row {
        id: "OCP-FAULT-04",
        category: Category::InvalidConfig,
        title: "one node has no plugin: no socket",
        detect: "the listing of the socket on every node, not on one",
        remedy: "put the manifest on that node",
        note: "the rollout stops at that node and says so only by its age: nothing is Degraded",
        procedure: Procedure::Enable,
        at: "pods",
        ..NORMAL
    },
    Row {
        id: "OCP-FAULT-05",
        category: Category::InvalidConfig,
        title: "the plugin crashes again and again on one node",
        detect: "restarts in the pod list; the socket's file is still there",
        remedy: "correct image or flags",
        note: "a socket file that is left over looks healthy in ls; writes on that node go on for three minutes and then fail",
        procedure: Procedure::Verify,
        at: "type",
        ..NORMAL
    },
    Row {
        id: "OCP-FAULT-06",
        category: Category::Permissions,
        title: "the policy does not allow encrypt",
        detect: "the plugin's log shows 403 permission denied for encrypt",
        remedy: "give update on transit/encrypt/kms-key back",
        note: "this plugin tries encrypt in its Status, so it shows within a minute; one that only reads the key's metadata shows it when an API server restarts or the key is rotated",
        procedure: Procedure::Verify,
        at: "type",
        ..NORMAL
    },
    Row {
        id: "OCP-FAULT-07",
        category: Category::Permissions,
        title: "the policy does not allow decrypt",
        detect: "the plugin's log shows 403 for decrypt; a restarted API server does not become ready",
        remedy: "give update on transit/decrypt/kms-key back",
        note: "this plugin tries decrypt in its Status; with another one API servers that run read from what they have cached, and it shows at the next restart",
        procedure: Procedure::Verify,
        at: "type",
        ..NORMAL
    },
    Row {
        id: "OCP-FAULT-08",
        category: Category::Permissions,
        title: "the policy does not allow to read the key",
        detect: "Status fails on all nodes at once; the plugin's log names transit/keys",
        remedy: "give read on transit/keys/kms-key back",
        note: "without a key_id no plugin can answer Status: all API servers leave the load balancer together",
        procedure: Procedure::Verify,
        at: "type",
        ..NORMAL
    },
    Row {
        id: "OCP-FAULT-09",
        category: Category::Permissions,
        title: "the plugins' credential is changed and their tokens are revoked",
        detect: "the plugin's log shows refused logins",
        remedy: "put the new credential into the manifest on every node",
        note: "it works until the token ends, which may be weeks after the password was changed; look at its time to live",
        procedure: Procedure::Verify,
        at: "type",
        ..NORMAL
    },
    Row {
        id: "OCP-FAULT-10",
        category: Category::Key,
        title: "the Transit key is deleted",
        detect: "vault read finds no key; Status fails on all nodes",
        remedy: "put Vault's own snapshot back; a new key of the same name does not help",
        note: "until an API server restarts everything can still be read from memory: do not restart anything, save what can be read first",
        procedure: Procedure::Verify,
        at: "type",
        ..NORMAL
    },
    Row {
        id: "OCP-FAULT-11",
        category: Category::Key,
        title: "min_decryption_version is raised above what data was written with",
        detect: "decrypt is refused as too old in the plugin's log, once an API server restarts",
        remedy: "lower it, rewrite everything, then raise it",
        note: "a rotation rewrites nothing: objects keep the version that was newest when their API server last made a seed",
        procedure: Procedure::Rotate,
        at: "secrets",
        ..NORMAL
    },
    Row {
        id: "OCP-FAULT-12",
        category: Category::Key,
        title: "the Transit key is soft-deleted",
        detect: "encrypt and decrypt are refused, though the key can be read",
        remedy: "restore it in OpenBao",
        note: "a plugin whose Status only reads the key's metadata would say that all is well",
        procedure: Procedure::Verify,
        at: "type",
        flavour: Flavour::OpenBao,
        ..NORMAL
    },
    Row {
        id: "OCP-FAULT-13",
        category: Category::Degraded,
        title: "Vault is sealed",
        detect: "the plugin's log says sealed; every API server is un-ready at once",
        remedy: "unseal it; nothing has to be restarted",
        note: "reads go on from memory, writes for three minutes; who reaches a server past the load balancer can still read",
        procedure: Procedure::Verify,
        at: "type",
        ..NORMAL
    },
    Row {
        id: "OCP-FAULT-14",
        category: Category::Degraded,
        title: "Vault is without a leader for two minutes",
        detect: "sys/health answers 429, 472, 473 or 503",
        remedy: "none is needed below three minutes",
        note: "writes go on with the seed that the API servers have, and standbys answer what only reads: there may be no line about it in any log of the cluster",
        procedure: Procedure::Verify,
        at: "type",
        flavour: Flavour::OpenBao,
        ..NORMAL
    },
    Row {
        id: "OCP-FAULT-15",
        category: Category::Degraded,
        title: "Vault's rate limit is hit",
        detect: "429 in the plugin's log and in Vault's audit log",
        remedy: "raise the limit",
        note: "requests grow with seeds and restarts, not with objects: a limit that was enough in peace is hit when all nodes restart",
        procedure: Procedure::Verify,
        at: "type",
        ..NORMAL
    },
    Row {
        id: "OCP-FAULT-16",
        category: Category::Degraded,
        title: "Vault answers slower than the API server waits",
        detect: "DeadlineExceeded in the API server's log",
        remedy: "mend the network or the server; the 10 s of the provider cannot be changed in the spec",
        note: "below the limit only restarts and rotations get slower; above it is as good as down",
        procedure: Procedure::Verify,
        at: "type",
        ..NORMAL
    },
    Row {
        id: "OCP-FAULT-17",
        category: Category::Degraded,
        title: "the nodes' DNS does not know Vault's name",
        detect: "no such host in the plugin's log",
        remedy: "a name that the host's DNS knows, or an address",
        note: "static pods use the host's DNS: names of Services inside the cluster are not known there",
        procedure: Procedure::Verify,
        at: "type",
        ..NORMAL
    },
    Row {
        id: "OCP-FAULT-18",
        category: Category::Degraded,
        title: "Vault's certificate has expired",
        detect: "the certificate's error in the plugin's log, on all nodes from one moment on",
        remedy: "renew the certificate",
        note: "open connections go on; it shows when the next one is made",
        procedure: Procedure::Verify,
        at: "type",
        ..NORMAL
    },
    Row {
        id: "OCP-FAULT-19",
        category: Category::Degraded,
        title: "one node does not reach Vault",
        detect: "one pod of kube-apiserver is un-ready; timeouts in that node's plugin log",
        remedy: "mend the network; the node catches up by itself",
        note: "while one node is un-ready no encryption change makes any progress, and nothing is Degraded",
        procedure: Procedure::Verify,
        at: "type",
        ..NORMAL
    },
    Row {
        id: "OCP-FAULT-20",
        category: Category::Key,
        title: "one node does not see a rotation",
        detect: "new values of the nodes have different key_ids, longer than a minute after the rotation",
        remedy: "let the plugin see Vault again; never raise min_decryption_version meanwhile",
        note: "all of it can be read on all nodes: Transit keeps its versions",
        procedure: Procedure::Rotate,
        at: "settle",
        ..NORMAL
    },
    Row {
        id: "OCP-FAULT-21",
        category: Category::Key,
        title: "the name leads to another Vault with a key of the same name",
        detect: "the key_id changes; what was written before cannot be decrypted after a restart",
        remedy: "lead the name back, and restart what has taken the other key up",
        note: "name and version of two keys can be the same: only their material or creation time tells them apart",
        procedure: Procedure::Verify,
        at: "type",
        ..NORMAL
    },
    Row {
        id: "OCP-FAULT-22",
        category: Category::Migration,
        title: "one object cannot be decrypted: the migration stands still",
        detect: "Progressing says Migrating for hours; the age of the StorageVersionMigration",
        remedy: "put the object back from the backup, or delete it",
        note: "the migrator tries again for ever without a word, and the other operators' migrations wait behind it; nothing is Degraded",
        procedure: Procedure::MigrateFromLocal,
        at: "edit",
        ..NORMAL
    },
    Row {
        id: "OCP-FAULT-23",
        category: Category::Migration,
        title: "the migration is slow",
        detect: "Progressing says Migrating, and its counter moves",
        remedy: "wait, or raise what limits it",
        note: "one worker rewrites one object after the other: 39,000 take half an hour",
        procedure: Procedure::MigrateFromLocal,
        at: "edit",
        ..NORMAL
    },
    Row {
        id: "OCP-FAULT-24",
        category: Category::Migration,
        title: "the plugin of the second node dies while the new write key is rolled out",
        detect: "nodes write with different keys: two prefixes in etcd, revisions that differ",
        remedy: "start the plugin",
        note: "both prefixes can be read everywhere; the older key and the plugin must stay",
        procedure: Procedure::Enable,
        at: "rollout",
        ..NORMAL
    },
    Row {
        id: "OCP-FAULT-25",
        category: Category::Key,
        title: "one node's configuration is edited by hand and loses the KMS provider",
        detect: "what that API server answers past the load balancer: no matching prefix found",
        remedy: "put the operator's configuration back and restart",
        note: "the operators never look at what lies on the node",
        procedure: Procedure::Verify,
        at: "type",
        ..NORMAL
    },
    Row {
        id: "OCP-FAULT-26",
        category: Category::Degraded,
        title: "the plugin is removed after KMS was left",
        detect: "readyz fails in kms-providers, though nothing is encrypted with KMS any more",
        remedy: "put the plugin back until no configuration lists a kms provider",
        note: "the old provider stays in the configuration as a read key for as long as no third key has been made",
        procedure: Procedure::Disable,
        at: "plugin",
        ..NORMAL
    },
    Row {
        id: "OCP-FAULT-27",
        category: Category::Key,
        title: "a KMS key's secret is deleted by force",
        detect: "the configuration has lost its kms provider while etcd still has its prefix",
        remedy: "create the secret again from the backup before the next revision is on the nodes",
        note: "Encrypted may be green over it; put back in time nothing is lost, put back late the data is unreadable until the provider is rolled out again",
        procedure: Procedure::Verify,
        at: "type",
        ..NORMAL
    },
    Row {
        id: "OCP-FAULT-28",
        category: Category::Key,
        title: "an etcd backup is put back, and its Transit key is gone",
        detect: "API servers do not become ready; decrypt is refused in the plugin's log",
        remedy: "put Vault's snapshot of the same time back",
        note: "an etcd backup is worth nothing without the key: keep both for the same time",
        procedure: Procedure::Verify,
        at: "type",
        ..NORMAL
    },
    Row {
        id: "OCP-FAULT-29",
        category: Category::Degraded,
        title: "the only node's plugin is down during the rollout",
        detect: "StaticPodFallbackRevisionDegraded; the pod runs the revision before",
        remedy: "start the plugin and wait for the next try",
        note: "the next try is ten minutes later, then twenty, up to two hours",
        procedure: Procedure::Enable,
        at: "pods",
        nodes: Some(1),
        ..NORMAL
    },
    Row {
        id: "OCP-TRAP-01",
        category: Category::Key,
        title: "the configuration that runs is lost: plain text behind a green condition",
        detect: "etcd prefixes; the condition stays EncryptionCompleted",
        remedy: "another change of keys rewrites everything",
        note: "what was written between the two revisions stays plain: no migration follows",
        ..NORMAL
    },
    Row {
        id: "OCP-TRAP-02",
        category: Category::Migration,
        title: "the target configuration is lost while nodes differ",
        detect: "TargetSecretDeleted in the operator's log, again and again",
        remedy: "none but patience: it is written again once all nodes agree",
        note: "the operand's copy stays marked for deletion, and works",
        procedure: Procedure::MigrateFromLocal,
        at: "rollout",
        ..NORMAL
    },
    Row {
        id: "OCP-TRAP-03",
        category: Category::Key,
        title: "operators without a KMS mode take the cluster over",
        detect: "unknown encryption mode configured: KMS; the configuration becomes identity",
        remedy: "put the newer operators back before the revision is on the nodes",
        note: "before a downgrade leave KMS, and wait until everything is rewritten",
        ..NORMAL
    },
    Row {
        id: "OCP-TRAP-04",
        category: Category::InvalidConfig,
        title: "an unknown type hides behind EncryptionCompleted",
        detect: "EncryptionKeyControllerDegraded alone",
        remedy: "a type that there is",
        note: "rotation by age stops, too",
        ..NORMAL
    },
    Row {
        id: "OCP-TRAP-05",
        category: Category::Degraded,
        title: "an operator that is Unmanaged says that nothing is encrypted",
        detect: "Encrypted is False without a reason, while etcd holds encrypted values",
        remedy: "Managed again",
        note: "believe what lies in etcd",
        ..NORMAL
    },
    Row {
        id: "OCP-TRAP-06",
        category: Category::InvalidConfig,
        title: "a foreign secret has the label and the next number",
        detect: "EncryptionKeyControllerDegraded: … is invalid, new keys cannot be created",
        remedy: "delete it",
        note: "a valid one would become the write key, whoever made it",
        procedure: Procedure::BackToLocal,
        at: "edit",
        ..NORMAL
    },
    Row {
        id: "OCP-TRAP-07",
        category: Category::Migration,
        title: "configuration and keys are lost on identity: identity stands there twice",
        detect: "the configuration's text",
        remedy: "none is needed: API servers take it",
        note: "it goes when KMS is enabled again",
        procedure: Procedure::Disable,
        at: "plugin",
        ..NORMAL
    },
    Row {
        id: "OCP-TRAP-08",
        category: Category::Key,
        title: "the annotation kms-config of a key secret is removed",
        detect: "the configuration loses its kms provider at the next sync",
        remedy: "write the annotation again before the next revision is on the nodes",
        note: "the same loss as that of the whole secret; Encrypted ends green over it",
        ..NORMAL
    },
    Row {
        id: "OCP-TRAP-09",
        category: Category::Key,
        title: "the next generation's operators take a cluster over that the present one encrypted",
        detect: "EncryptionKeyControllerDegraded and panics of the state controller, or a configuration without the old provider",
        remedy: "put the former operators back before the revision is on the nodes",
        note: "the generations do not read each other's key secrets: leave KMS before the update",
        ..NORMAL
    },
    Row {
        id: "OCP-TRAP-10",
        category: Category::Key,
        title: "the former generation's operators take the cluster over",
        detect: "a configuration without the old provider",
        remedy: "put the newer operators back before the revision is on the nodes",
        note: "the generations do not read each other's key secrets",
        mode: Mode::V2,
        ..NORMAL
    },
    Row {
        id: "OCP-TRAP-11",
        category: Category::Key,
        title: "the only KMS key's secret is lost while the preflight check does not pass",
        detect: "panics of the state and migration controllers at every sync",
        remedy: "create the secret again from the backup, and mend what the check complains of",
        note: "the configuration stays meanwhile, and so does everything that can be read",
        mode: Mode::V2,
        ..NORMAL
    },
    Row {
        id: "OCP-TRAP-12",
        category: Category::InvalidConfig,
        title: "a preflight pod crashed: it stands in the way of a better configuration",
        detect: "EncryptionKMSPreflightControllerDegraded with the old pod's reason under the new hash",
        remedy: "delete the pod",
        note: "a pod that reported its hash is replaced; one that crashed before is not",
        procedure: Procedure::Enable,
        at: "edit",
        mode: Mode::V2,
        ..NORMAL
    },
];
