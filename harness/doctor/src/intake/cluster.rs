//! Objects of the cluster.

use std::collections::BTreeMap;

use kms_controlplane::encryption_config::CONFIG_KEY;
use kms_controlplane::key_secret::DATA_PREFIX;
use kms_controlplane::object::{COMPONENT_LABEL, PREFIX};
use serde_json::{Value, json};

use super::config::{self, Item, RESOURCES};
use super::{components, items, log, seen, text, time};
use crate::evidence::{
    Cluster, ClusterOperator, Component, Condition, Config, Event, Form, KeySecret, Management,
    Migration, Operator, Revision, Spec, Why,
};
use crate::raw::Raw;
use crate::sign;
use crate::veil::Veil;

const MODES: &[&str] = &["identity", "aescbc", "aesgcm", "KMS"];

/// Types of conditions that are about encryption and roll-outs, without their suffix.
const CONDITIONS: &[&str] = &[
    "Encrypted",
    "EncryptionKeyController",
    "EncryptionStateController",
    "EncryptionPruneController",
    "EncryptionMigrationController",
    "EncryptionKMSPreflightController",
    "NodeInstaller",
    "StaticPods",
    "StaticPodFallbackRevision",
    "MissingStaticPodController",
    "RevisionController",
    "APIServerDeployment",
];

/// Components with the names of their ClusterOperators.
const CLUSTER_OPERATORS: &[(&str, &str)] = &[
    ("openshift-kube-apiserver", "kube-apiserver"),
    ("openshift-apiserver", "openshift-apiserver"),
    ("openshift-oauth-apiserver", "authentication"),
];

/// Reasons of events that are kept.
const EVENTS: &[&str] = &[
    "EncryptionKeyCreated",
    "EncryptionKeyCreateFailed",
    "EncryptionKeyPromoted",
    "EncryptionKeyRemoved",
    "EncryptionKeysPruned",
    "EncryptionReadKeysChanged",
    "EncryptionResourceAdded",
    "EncryptionResourceRemoved",
    "EncryptionWriteKeyChanged",
    "EncryptionWriteKeyTriggeredExternal",
    "EncryptionWriteKeyTriggeredInternal",
    "InstallerPodFailed",
    "MissingStaticPod",
    "NodeCurrentRevisionChanged",
    "NodeTargetRevisionChanged",
    "ObserveEncryptionConfigChanged",
    "ObserveEncryptionConfigNotFound",
    "RevisionTriggered",
    "SecretCreated",
    "SecretUpdateFailed",
    "SecretUpdated",
    "StartingNewRevision",
    "TargetSecretDeleted",
];

pub(super) fn cluster(raw: &Raw, veil: &Veil) -> Cluster {
    let all = components().map(|name| (name.to_owned(), component(raw, veil, name)));
    let empty = Component::default();
    Cluster {
        spec: seen(raw.json("cluster/apiserver.json").map(|it| spec(&it))),
        components: all.filter(|(_, it)| *it != empty).collect(),
        migrations: seen(migrations(raw, veil)),
    }
}

fn spec(object: &Value) -> Spec {
    let mode = text(object, "/spec/encryption/type");
    let known = mode.is_empty() || MODES.contains(&mode);
    Spec {
        mode: if known { mode } else { "other" }.to_owned(),
        names_vault: object.pointer("/spec/encryption/kms").is_some(),
    }
}

fn component(raw: &Raw, veil: &Veil, name: &str) -> Component {
    let managed = raw.bytes("cluster/secrets.json").and_then(config::secrets);
    let own = raw
        .bytes(&format!("cluster/secrets/{name}.json"))
        .and_then(config::secrets);
    let events = format!("cluster/events/{name}.json");
    let operator = raw.json(&format!("cluster/operators/{name}.json"));
    let target = format!("{CONFIG_KEY}-{name}");
    Component {
        operator: seen(operator.map(|it| self::operator(&it, veil))),
        cluster_operator: seen(cluster_operator(raw, veil, name)),
        target: seen(managed.as_ref().map_err(|why| *why).and_then(|all| {
            let found = all.iter().find(|it| it.metadata.name == target);
            found.ok_or(Why::NotThere)?.config(veil)
        })),
        keys: seen(managed.map(|all| keys(&all, name, veil))),
        revisions: seen(own.map(|all| revisions(&all, veil))),
        events: seen(
            raw.bytes(&events)
                .map(|_| self::events(&items(raw, &events))),
        ),
        log: seen(
            raw.text(&format!("cluster/logs/{name}.log"))
                .map(|text| log::log(&text, raw.taken, veil)),
        ),
    }
}

fn operator(object: &Value, veil: &Veil) -> Operator {
    let status = &object["status"];
    let all = status["conditions"].as_array().into_iter().flatten();
    let conditions = all
        .filter(|it| CONDITIONS.contains(&base(text(it, "/type"))))
        .map(|it| (text(it, "/type").to_owned(), condition(it, veil)))
        .collect();
    let latest = [
        "/latestAvailableRevision",
        "/oauthAPIServer/latestAvailableRevision",
    ];
    let latest = latest
        .iter()
        .find_map(|at| status.pointer(at).and_then(Value::as_u64));
    let nodes = status["nodeStatuses"].as_array().into_iter().flatten();
    let revision = |value: &Value| {
        value
            .as_u64()
            .and_then(|it| u32::try_from(it).ok())
            .unwrap_or(0)
    };
    Operator {
        management: match text(object, "/spec/managementState") {
            "Unmanaged" => Management::Unmanaged,
            "Removed" => Management::Removed,
            _ => Management::Managed,
        },
        conditions,
        latest: latest.and_then(|it| u32::try_from(it).ok()),
        nodes: nodes
            .map(|it| {
                let revision = Revision {
                    current: revision(&it["currentRevision"]),
                    target: revision(&it["targetRevision"]),
                };
                (veil.node(text(it, "/nodeName")), revision)
            })
            .collect(),
    }
}

/// A condition's type without the suffix by which it goes into the ClusterOperator.
fn base(kind: &str) -> &str {
    let suffixes = ["Degraded", "Progressing", "Available"];
    let base = suffixes.iter().find_map(|it| kind.strip_suffix(it));
    base.unwrap_or(kind)
}

fn cluster_operator(raw: &Raw, veil: &Veil, component: &str) -> Result<ClusterOperator, Why> {
    let document = "cluster/clusteroperators.json";
    raw.json(document)?;
    let named = CLUSTER_OPERATORS.iter().find(|(it, _)| *it == component);
    let all = items(raw, document);
    let mut all = all.iter();
    let object = all.find(|it| named.is_some_and(|(_, name)| text(it, "/metadata/name") == *name));
    let conditions = object.ok_or(Why::NotThere)?.pointer("/status/conditions");
    let mut told = ClusterOperator {
        conditions: BTreeMap::new(),
        parts: BTreeMap::new(),
    };
    for it in conditions.and_then(Value::as_array).into_iter().flatten() {
        let kind = text(it, "/type");
        if !["Available", "Degraded", "Progressing"].contains(&kind) {
            continue;
        }
        let shown = condition(it, veil);
        if shown.holds && kind != "Available" {
            told.parts.extend(parts(it, kind, veil));
        }
        told.conditions.insert(kind.to_owned(), shown);
    }
    Ok(told)
}

/// The conditions that one is made of. Each line of its message begins with a type, and its reason has one part for each,
/// such as `EncryptionKeyController_Error`.
fn parts(whole: &Value, suffix: &str, veil: &Veil) -> BTreeMap<String, Condition> {
    let mut said: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in text(whole, "/message").lines() {
        let (kind, message) = line.split_once(": ").unwrap_or((line, ""));
        if kind.ends_with(suffix) && CONDITIONS.contains(&base(kind)) {
            said.entry(kind).or_default().push(message);
        }
    }
    let reasons = |kind: &str| {
        let mut all = text(whole, "/reason").split("::");
        let reason = all.find_map(|it| it.strip_prefix(base(kind))?.strip_prefix('_'));
        reason.unwrap_or_default().to_owned()
    };
    said.into_iter()
        .map(|(kind, lines)| {
            let part =
                json!({"status": "True", "reason": reasons(kind), "message": lines.join("; ")});
            (kind.to_owned(), condition(&part, veil))
        })
        .collect()
}

fn condition(it: &Value, veil: &Veil) -> Condition {
    let (reason, message) = (text(it, "/reason"), text(it, "/message"));
    Condition {
        holds: text(it, "/status") == "True",
        reason: veil.text(reason),
        message: veil.text(message),
        signs: sign::signs(&format!("{reason} {message}")),
        since: time(text(it, "/lastTransitionTime")),
    }
}

fn keys(all: &[Item<'_>], component: &str, veil: &Veil) -> Vec<KeySecret> {
    let prefix = format!("encryption-key-{component}-");
    let mine = all.iter().filter(|it| {
        it.metadata
            .labels
            .get(COMPONENT_LABEL)
            .is_none_or(|label| label == component)
    });
    let mut keys: Vec<KeySecret> = mine
        .filter_map(|it| {
            let number = it.metadata.name.strip_prefix(&prefix)?.parse().ok()?;
            Some(key(it, number, veil))
        })
        .collect();
    keys.sort_by_key(|key| key.number);
    keys
}

fn key(it: &Item<'_>, number: u64, veil: &Veil) -> KeySecret {
    let note = |name: &str| {
        let found = it.metadata.annotations.get(&format!("{PREFIX}{name}"));
        found.map(String::as_str).unwrap_or_default()
    };
    let mode = note("mode");
    let migrated: Value = serde_json::from_str(note("migrated-resources")).unwrap_or_default();
    let migrated = migrated["resources"].as_array().into_iter().flatten();
    let name = |it: &Value| {
        // written with capital letters by one generation and with small ones by another
        let part = |big: &str, small: &str| {
            let found = it[big].as_str().or_else(|| it[small].as_str());
            found.unwrap_or_default().to_owned()
        };
        let (group, resource) = (part("Group", "group"), part("Resource", "resource"));
        let whole = if group.is_empty() {
            resource
        } else {
            format!("{resource}.{group}")
        };
        veil.one_of(RESOURCES, &whole)
    };
    KeySecret {
        number,
        mode: if MODES.contains(&mode) { mode } else { "other" }.to_owned(),
        form: (mode == "KMS").then(|| form(it, note("kms-config"))),
        migrated: migrated.map(name).collect(),
        migrated_at: time(note("migrated-timestamp")),
        deleting: it.metadata.deletion_timestamp.is_some(),
        reason: veil.text(note("internal-reason")),
    }
}

fn form(it: &Item<'_>, annotation: &str) -> Form {
    let read: Option<Value> = serde_json::from_str(annotation).ok();
    if read.is_some_and(|it| it["endpoint"].is_string()) {
        return Form::Annotation;
    }
    let whole = ["kms-encryption-config", "kms-plugin-config"]
        .iter()
        .all(|name| it.has(&format!("{DATA_PREFIX}{name}")));
    if whole { Form::Data } else { Form::Broken }
}

fn revisions(all: &[Item<'_>], veil: &Veil) -> BTreeMap<u32, Config> {
    let prefix = format!("{CONFIG_KEY}-");
    all.iter()
        .filter_map(|it| {
            let revision = it.metadata.name.strip_prefix(&prefix)?.parse().ok()?;
            Some((revision, it.config(veil).ok()?))
        })
        .collect()
}

fn events(all: &[Value]) -> Vec<Event> {
    let mut kept: BTreeMap<&str, Event> = BTreeMap::new();
    for it in all {
        let Some(reason) = EVENTS.iter().find(|known| **known == text(it, "/reason")) else {
            continue;
        };
        let at = ["/lastTimestamp", "/eventTime"]
            .iter()
            .find_map(|at| time(text(it, at)));
        let event = kept.entry(reason).or_insert_with(|| Event {
            reason: (*reason).to_owned(),
            at,
            count: 0,
        });
        event.count += it["count"].as_u64().unwrap_or(1);
        event.at = event.at.max(at);
    }
    kept.into_values().collect()
}

fn migrations(raw: &Raw, veil: &Veil) -> Result<Vec<Migration>, Why> {
    let name = "cluster/migrations.json";
    raw.bytes(name)?;
    let all = items(raw, name);
    let ours = all
        .iter()
        .filter(|it| text(it, "/metadata/name").starts_with("encryption-migration-"));
    Ok(ours
        .map(|it| {
            let conditions = it.pointer("/status/conditions").and_then(Value::as_array);
            let holds = |kind: &str| {
                let mut all = conditions.into_iter().flatten();
                all.any(|it| text(it, "/type") == kind && text(it, "/status") == "True")
            };
            let (group, resource) = (
                text(it, "/spec/resource/group"),
                text(it, "/spec/resource/resource"),
            );
            let whole = if group.is_empty() {
                resource.to_owned()
            } else {
                format!("{resource}.{group}")
            };
            let annotations = &it["metadata"]["annotations"];
            let key = annotations[format!("{PREFIX}write-key")]
                .as_str()
                .unwrap_or_default();
            Migration {
                resource: veil.one_of(RESOURCES, &whole),
                write_key: config::number(key, veil),
                runs: !holds("Succeeded") && !holds("Failed"),
                failed: holds("Failed"),
                created: time(text(it, "/metadata/creationTimestamp")),
            }
        })
        .collect())
}
