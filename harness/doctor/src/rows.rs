//! What can be found: the rows of the fault table and the traps, each with what it means, what helps, and what must be
//! seen to find it.

use crate::evidence::Evidence;

/// A part of the evidence that a row is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The APIServer resource.
    Spec,
    /// The operators' resources.
    Operators,
    /// Their ClusterOperators.
    ClusterOperators,
    /// Key secrets and the configurations that operators want.
    Keys,
    /// Migrations.
    Migrations,
    /// The plugin's pods.
    Pods,
    /// Socket or Status of a plugin.
    Plugin,
    /// What API servers say of their providers in `/readyz`.
    Check,
    /// The log of a plugin, or of an API server.
    Logs,
    /// Lists through API servers.
    Lists,
    /// Metrics of API servers.
    Metrics,
    /// What lies in etcd.
    Etcd,
    /// `sys/health`.
    Health,
    /// The Transit key.
    Key,
    /// What the plugin's own token may do.
    Token,
}

/// A row.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its id.
    pub id: &'static str,
    /// What it means.
    pub means: &'static str,
    /// What helps.
    pub remedy: &'static str,
    /// One of these must be seen, all of its parts. None: it cannot be seen by anything.
    pub needs: &'static [&'static [Part]],
}

use Part::{
    Check, ClusterOperators, Etcd, Health, Key, Keys, Lists, Logs, Metrics, Migrations, Operators,
    Plugin, Pods, Spec, Token,
};

/// Why a row without needs is never found.
pub const INVISIBLE: &str = "a refused edit is told to whoever makes it, and nothing of it is stored: read the answer of oc edit";

/// All rows, by id.
pub const ROWS: &[Row] = &[
    Row {
        id: "OCP-FAULT-01",
        means: "the API refuses the APIServer resource; nothing has changed",
        remedy: "correct what the refusal names",
        needs: &[],
    },
    Row {
        id: "OCP-FAULT-02",
        means: "the spec names a Secret or ConfigMap in openshift-config that is missing or lacks an entry, so no key is made and everything stays as it was",
        remedy: "create it, with the entry that the message names; the operator tries again within a minute",
        needs: &[&[Operators], &[ClusterOperators]],
    },
    Row {
        id: "OCP-FAULT-03",
        means: "the plugin was told a mount, a key, an address or a role that Vault does not have for it; nothing is encrypted yet, and the roll-out waits at the first node",
        remedy: "correct the plugin's settings so that they reach the intended key; the key that the operator has made goes on by itself, and another type in the spec does not help meanwhile",
        needs: &[
            &[Plugin],
            &[Logs],
            &[Key, Spec],
            &[Operators],
            &[ClusterOperators],
        ],
    },
    Row {
        id: "OCP-FAULT-04",
        means: "no plugin can be reached through the socket of this node: its API servers become un-ready once they are asked to use it, and a roll-out stops there without being Degraded",
        remedy: "put the plugin on that node, with the socket at the path that the configuration names, in a folder that the API server may enter",
        needs: &[&[Plugin], &[Pods, Spec]],
    },
    Row {
        id: "OCP-FAULT-05",
        means: "the plugin of this node does not run, though its socket's file may still be there: reads go on from memory, writes end three minutes after its last good answer",
        remedy: "read the end of its log, correct image or flags, and start it again; a spec of another type makes no key while the roll-out is stuck",
        needs: &[&[Plugin], &[Check], &[Pods]],
    },
    Row {
        id: "OCP-FAULT-06",
        means: "Vault does not let the plugin encrypt: no new seed can be made, so writes end at the next restart or rotation, or within three minutes",
        remedy: "grant update on MOUNT/encrypt/KEY to the plugin's policy",
        needs: &[&[Plugin], &[Check], &[Logs], &[Token]],
    },
    Row {
        id: "OCP-FAULT-07",
        means: "Vault does not let the plugin decrypt: what runs reads from memory, and an API server that restarts reads nothing",
        remedy: "grant update on MOUNT/decrypt/KEY to the plugin's policy, and restart no API server before",
        needs: &[&[Plugin], &[Check], &[Logs], &[Token]],
    },
    Row {
        id: "OCP-FAULT-08",
        means: "Vault does not let the plugin read the key, so it has no key_id to tell: every API server becomes un-ready",
        remedy: "grant read on MOUNT/keys/KEY to the plugin's policy",
        needs: &[&[Plugin], &[Check], &[Logs], &[Token]],
    },
    Row {
        id: "OCP-FAULT-09",
        means: "Vault refuses the plugin's credential: its token has ended, and no new one is given",
        remedy: "give every node a credential that is valid, and restart plugins that read it at their start only",
        needs: &[&[Plugin], &[Check], &[Logs], &[Token]],
    },
    Row {
        id: "OCP-FAULT-10",
        means: "the Transit key is gone: what was encrypted can be read only from the memory of API servers that still run",
        remedy: "restart nothing, save what can still be read, and restore the key from Vault's backup; a new key of the same name opens none of the old data",
        needs: &[&[Key, Spec], &[Plugin], &[Check], &[Logs]],
    },
    Row {
        id: "OCP-FAULT-11",
        means: "min_decryption_version is above a version that stored data was written with: it is unreadable after a restart, and a migration stops at it",
        remedy: "lower min_decryption_version, rewrite everything that is stored, and raise it after that",
        needs: &[&[Lists], &[Logs], &[Key, Etcd]],
    },
    Row {
        id: "OCP-FAULT-12",
        means: "the Transit key is soft-deleted: it can be read, and does not encrypt or decrypt",
        remedy: "write to MOUNT/keys/KEY/soft-delete-restore",
        needs: &[&[Key], &[Plugin], &[Check], &[Logs], &[Token]],
    },
    Row {
        id: "OCP-FAULT-13",
        means: "Vault is sealed: all API servers become un-ready together, and writes end within three minutes",
        remedy: "unseal it; nothing needs a restart",
        needs: &[&[Health], &[Plugin], &[Check], &[Logs]],
    },
    Row {
        id: "OCP-FAULT-14",
        means: "Vault has no leader: seeds that are in use carry writes for about three minutes",
        remedy: "see that a node of Vault can lead, and let the plugins' address lead to it; a short election needs nothing",
        needs: &[&[Health], &[Plugin], &[Check], &[Logs]],
    },
    Row {
        id: "OCP-FAULT-15",
        means: "a rate limit of Vault refuses the plugins' requests",
        remedy: "raise the quota on the Transit mount, with room for all nodes to restart at once",
        needs: &[&[Plugin], &[Check], &[Logs]],
    },
    Row {
        id: "OCP-FAULT-16",
        means: "Vault answers later than the plugins and API servers wait: as good as down",
        remedy: "find out what makes Vault or the way to it slow; the limit of 10 s cannot be changed in the spec",
        needs: &[&[Plugin], &[Logs], &[Token]],
    },
    Row {
        id: "OCP-FAULT-17",
        means: "the node's DNS does not know Vault's name",
        remedy: "give the plugin a name that the host's DNS knows, or an address: names of Services are not known on the host network",
        needs: &[&[Plugin], &[Check], &[Logs]],
    },
    Row {
        id: "OCP-FAULT-18",
        means: "the plugin does not accept Vault's certificate: it has expired, is of another authority, or for another name",
        remedy: "renew the certificate, or give the plugin the right authority and server name; look at the nodes' clocks",
        needs: &[&[Plugin], &[Check], &[Logs]],
    },
    Row {
        id: "OCP-FAULT-19",
        means: "plugins do not reach Vault from their nodes: such a node reads from memory, stops writing within three minutes, and no change of keys makes progress anywhere",
        remedy: "mend route, firewall or proxy between these nodes and Vault; they catch up by themselves",
        needs: &[&[Plugin], &[Check], &[Logs]],
    },
    Row {
        id: "OCP-FAULT-20",
        means: "nodes use different versions of the key longer than a rotation takes to be noticed; everything can be read",
        remedy: "let the node that is behind see Vault, and leave min_decryption_version alone until all agree",
        needs: &[&[Metrics], &[Plugin, Key]],
    },
    Row {
        id: "OCP-FAULT-21",
        means: "the plugins are led to another key than the one that data was written with: a key of the same name in another Vault, or a key_id that flaps",
        remedy: "let the address lead to the right Vault alone, then restart what took the other key up",
        needs: &[&[Logs], &[Plugin, Key]],
    },
    Row {
        id: "OCP-FAULT-22",
        means: "something that is stored cannot be decrypted; a migration repeats itself at it without end, others wait behind, and nothing is Degraded",
        remedy: "put the object back from a backup, or delete it unread; then delete the migration, which is made again",
        needs: &[&[Lists], &[Logs]],
    },
    Row {
        id: "OCP-FAULT-23",
        means: "a migration has been running for longer than 39,000 objects take",
        remedy: "look whether its continue token moves: if it does, wait, or raise what limits it; if not, an object cannot be rewritten",
        needs: &[&[Migrations]],
    },
    Row {
        id: "OCP-FAULT-24",
        means: "the roll-out of a new write key stopped between two nodes: they write with different keys, and all of it can be read",
        remedy: "mend the node that is behind; keep the older key and every plugin until then",
        needs: &[&[Plugin, Keys], &[Pods, Keys]],
    },
    Row {
        id: "OCP-FAULT-25",
        means: "an API server runs a configuration that lacks a key which stored data needs, and its operator did not write it so",
        remedy: "put the operator's configuration back on that node and restart the API server",
        needs: &[&[Lists], &[Keys]],
    },
    Row {
        id: "OCP-FAULT-26",
        means: "KMS was left, but the configuration still lists it as a read key, so its plugin is still needed for readiness",
        remedy: "put the plugin back until no configuration lists a kms provider",
        needs: &[&[Spec, Keys, Plugin], &[Spec, Keys, Pods]],
    },
    Row {
        id: "OCP-FAULT-27",
        means: "a KMS key has lost its Secret, so its provider leaves the configuration while data under it is still stored",
        remedy: "create the Secret again from a backup, annotations and data; before the next revision is on the nodes nothing is lost, after it the data is readable again once the provider is rolled out",
        needs: &[&[Keys, Etcd], &[Keys]],
    },
    Row {
        id: "OCP-FAULT-28",
        means: "the Transit key is not the one that the stored data was written with: it was made anew, or etcd is older than Vault",
        remedy: "restore Vault's key from a backup of the same time as etcd's",
        needs: &[&[Plugin], &[Logs], &[Key, Keys]],
    },
    Row {
        id: "OCP-FAULT-29",
        means: "the only node went back to the revision before, because the new one did not become ready in time",
        remedy: "start the plugin and wait: the operator tries again after ten minutes, then twenty, up to two hours",
        needs: &[&[Operators], &[ClusterOperators]],
    },
    Row {
        id: "OCP-TRAP-01",
        means: "plain text is written, or was left, behind a condition Encrypted that is green: a configuration was lost and rebuilt",
        remedy: "restore the running revision's Secret, and let another change of keys rewrite everything",
        needs: &[&[Keys]],
    },
    Row {
        id: "OCP-TRAP-02",
        means: "the configuration that the operator wants is lost; it is written again only once all nodes agree",
        remedy: "let all nodes become ready; nothing else is needed",
        needs: &[&[Keys]],
    },
    Row {
        id: "OCP-TRAP-03",
        means: "these operators know no KMS mode: their next revision takes the provider away, and data under it becomes unreadable",
        remedy: "put the newer operators back before that revision is on the nodes; before a downgrade leave KMS",
        needs: &[&[Operators], &[ClusterOperators]],
    },
    Row {
        id: "OCP-TRAP-04",
        means: "the spec asks for a type that there is not; Encrypted may stay green, and rotation by age has stopped",
        remedy: "set identity, aescbc, aesgcm or KMS",
        needs: &[&[Operators], &[ClusterOperators]],
    },
    Row {
        id: "OCP-TRAP-05",
        means: "an operator that does not manage says that nothing is encrypted, though data is",
        remedy: "set its managementState to Managed",
        needs: &[&[Operators, Keys]],
    },
    Row {
        id: "OCP-TRAP-06",
        means: "a Secret has the label and number of the next key and is none: no new key can be made",
        remedy: "delete it, once it is clear that no data was written with it",
        needs: &[&[Operators], &[ClusterOperators]],
    },
    Row {
        id: "OCP-TRAP-07",
        means: "a configuration lists identity twice, as after the loss of all keys while nothing was encrypted",
        remedy: "none is needed: it goes with the next change of keys",
        needs: &[&[Keys]],
    },
    Row {
        id: "OCP-TRAP-08",
        means: "a KMS key's Secret cannot be read as one any more, which loses its provider as if the Secret were gone",
        remedy: "write the annotation kms-config, or the data, again before the next revision is on the nodes",
        needs: &[&[Keys, Etcd]],
    },
    Row {
        id: "OCP-TRAP-09",
        means: "these operators cannot read the KMS keys of their predecessors",
        remedy: "put the former operators back before a revision is on the nodes, and leave KMS before the update",
        needs: &[&[Operators, Keys], &[ClusterOperators, Keys]],
    },
    Row {
        id: "OCP-TRAP-10",
        means: "these operators cannot read the KMS keys of their successors",
        remedy: "put the newer operators back before a revision is on the nodes",
        needs: &[&[Keys, Etcd]],
    },
    Row {
        id: "OCP-TRAP-11",
        means: "the only KMS key has lost its Secret while the preflight check does not pass: controllers die at each sync, and the configuration stays",
        remedy: "create the Secret again from a backup, and mend what the preflight check complains of",
        needs: &[&[Keys, Logs]],
    },
    Row {
        id: "OCP-TRAP-12",
        means: "the preflight pod itself came to nothing and stands in the way of a better configuration",
        remedy: "delete the pod kms-preflight",
        needs: &[&[Operators], &[ClusterOperators]],
    },
];

/// The row of an id that is in the table.
pub fn row(id: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.id == id)
}

impl Row {
    /// Why it could not be looked for, if it could not.
    pub fn blind(&self, seen: &Evidence) -> Option<String> {
        if self.needs.is_empty() {
            return Some(INVISIBLE.to_owned());
        }
        let all_seen = |parts: &&[Part]| parts.iter().all(|part| part.is_seen(seen));
        if self.needs.iter().any(all_seen) {
            return None;
        }
        let ways: Vec<String> = self
            .needs
            .iter()
            .map(|parts| {
                let missing = parts.iter().filter(|part| !part.is_seen(seen));
                missing
                    .map(|part| part.text())
                    .collect::<Vec<_>>()
                    .join(" and ")
            })
            .collect();
        Some(format!("not seen: {}", ways.join(", or ")))
    }
}

impl Part {
    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Spec => "the APIServer resource",
            Self::Operators => "the operators' resources",
            Self::ClusterOperators => "the ClusterOperators",
            Self::Keys => "key secrets and configurations",
            Self::Migrations => "migrations",
            Self::Pods => "the plugins' pods",
            Self::Plugin => "a plugin's socket and Status",
            Self::Check => "what API servers say of their providers",
            Self::Logs => "logs of plugins or API servers",
            Self::Lists => "lists through API servers",
            Self::Metrics => "metrics of API servers",
            Self::Etcd => "what lies in etcd",
            Self::Health => "Vault's sys/health",
            Self::Key => "the Transit key",
            Self::Token => "what the plugin's own token may do",
        }
    }

    fn is_seen(self, seen: &Evidence) -> bool {
        let mut components = seen.cluster.components.values();
        let mut nodes = seen.nodes.values();
        let mut servers = seen.nodes.values().flat_map(|node| node.servers.values());
        let vault = &seen.vault;
        match self {
            Self::Spec => seen.cluster.spec.get().is_some(),
            Self::Operators => components.any(|it| it.operator.get().is_some()),
            Self::ClusterOperators => components.any(|it| it.cluster_operator.get().is_some()),
            Self::Keys => components.any(|it| it.keys.get().is_some()),
            Self::Migrations => seen.cluster.migrations.get().is_some(),
            Self::Pods => nodes.any(|it| it.plugin.pods.get().is_some()),
            Self::Plugin => {
                nodes.any(|it| it.plugin.status.get().is_some() || it.plugin.socket.get().is_some())
            }
            // one that passes has nothing more to tell
            Self::Check => servers
                .any(|it| it.readyz.get().is_some_and(|it| it.passes) || it.check.get().is_some()),
            Self::Logs => {
                servers.any(|it| it.log.get().is_some())
                    || nodes.any(|it| it.plugin.log.get().is_some())
            }
            Self::Lists => servers.any(|it| it.lists.get().is_some()),
            Self::Metrics => servers.any(|it| it.metrics.get().is_some()),
            Self::Etcd => seen.etcd.values().any(|it| it.get().is_some()),
            Self::Health => vault.health.get().is_some(),
            // that there is none is an answer, too
            Self::Key => {
                vault.key.get().is_some() || vault.key.why() == Some(crate::evidence::Why::NotThere)
            }
            Self::Token => vault.plugin.get().is_some(),
        }
    }
}
