//! What a recording shows of a cluster: observables with their values, and the lines for those that changed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kms_controlplane::cluster::{Cluster, Component, target_config_name};
use kms_controlplane::encryption_config::{CONFIG_KEY, EncryptionConfiguration, Provider};
use kms_controlplane::key_secret::KEY_DATA;
use kms_controlplane::object::{
    COMPONENT_LABEL, MANAGED_NAMESPACE, Migration, MigrationState, Secret,
};
use kms_controlplane::preflight::PreflightPod;
use serde_json::{Map, Value, json};

/// Where an observable stands in the order of lines: group, kind, component, name.
pub type Id = (u8, String, String, String);

/// All observables of a cluster.
pub fn things(cluster: &Cluster, now: Timestamp) -> BTreeMap<Id, Value> {
    let mut out = BTreeMap::new();
    for component in &cluster.components {
        let mut add = |order: u8, what: &str, name: &str, value: Value| {
            out.insert(
                (
                    order,
                    what.to_owned(),
                    component.name.clone(),
                    name.to_owned(),
                ),
                value,
            );
        };
        for secret in
            cluster
                .api
                .cached_secrets(MANAGED_NAMESPACE, COMPONENT_LABEL, &component.name)
        {
            let number = secret.name.rsplit('-').next().unwrap();
            add(1, "key", number, key(secret, now));
        }
        let target = cluster
            .api
            .cached_secret(MANAGED_NAMESPACE, &target_config_name(&component.name));
        if let Some(secret) = target {
            add(2, "config", "target", config(secret));
        }
        if let Some(secret) = cluster.api.cached_secret(&component.name, CONFIG_KEY) {
            add(2, "copy", "operand", config(secret));
        }
        for (name, condition) in &component.conditions {
            let mut value = json!({"status": condition.status.as_str()});
            if !condition.reason.is_empty() || !condition.message.is_empty() {
                value["reason"] = json!(condition.reason);
                value["message"] = json!(condition.message);
            }
            add(4, "condition", name, value);
        }
        preflight(component, &mut add);
    }
    for (name, migration) in cluster.api.migrations() {
        out.insert(
            (3, "migration".to_owned(), String::new(), name.clone()),
            migration_view(migration),
        );
    }
    out
}

fn preflight(component: &Component, add: &mut impl FnMut(u8, &str, &str, Value)) {
    let status = &component.preflight;
    if !status.observed_hash.is_empty() || status.result.is_some() {
        let mut value = json!({"observedConfigHash": status.observed_hash});
        if let Some(result) = &status.result {
            let word = if result.succeeded {
                "Succeeded"
            } else {
                "Failed"
            };
            value["result"] = json!(format!(
                "{word} {} remoteKeyID={:?}",
                result.hash, result.remote_key_id
            ));
        }
        add(5, "preflight", "status", value);
    }
    if let Some(pod) = component
        .deployer
        .pod
        .as_ref()
        .filter(|_| component.deployer.real)
    {
        add(5, "preflight", "pod", pod_view(pod));
    }
}

fn pod_view(pod: &PreflightPod) -> Value {
    let mut value = json!({"phase": format!("{:?}", pod.phase)});
    if let Some(hash) = &pod.reported_hash {
        value["KMSPreflightConfigHash"] = json!(format!("True {hash}"));
    }
    if let Some(id) = &pod.remote_key_id {
        value["KMSPreflightRemoteKeyID"] = json!(format!("True {id}"));
    }
    match &pod.result {
        Some(Ok(())) => value["KMSPreflightResult"] = json!("True"),
        Some(Err(why)) => value["KMSPreflightResult"] = json!(format!("False {why}")),
        None => {}
    }
    value
}

fn migration_view(migration: &Migration) -> Value {
    let state = match migration.state {
        MigrationState::New | MigrationState::Running => "running",
        MigrationState::Succeeded(_) => "succeeded",
        MigrationState::Failed(..) => "failed",
    };
    json!({"writeKey": migration.write_key, "version": migration.version, "state": state})
}

/// A key secret without its material.
fn key(secret: &Secret, now: Timestamp) -> Value {
    let note = |name: &str| secret.note(name).unwrap_or_default();
    let mut value = json!({"mode": note("mode"), "reason": note("internal-reason")});
    if !note("external-reason").is_empty() {
        value["external"] = json!(note("external-reason"));
    }
    let text = note("migrated-resources");
    if !text.is_empty() {
        value["migrated"] = migrated(text).map_or(json!(format!("invalid: {text}")), Value::Array);
    }
    let text = note("migrated-timestamp");
    if !text.is_empty() {
        value["migratedAt"] = match text.parse::<Timestamp>() {
            Err(_) => json!(format!("invalid: {text}")),
            Ok(at) => match (now.duration_since(at).as_secs() + 1800) / 3600 {
                ..=0 => json!("now"),
                hours => json!(format!("-{hours}h")),
            },
        };
    }
    value["bytes"] = json!(size(secret.data.get(KEY_DATA).map_or(&[], Vec::as_slice)));
    if secret.deleting {
        value["deleting"] = json!(true);
    }
    if secret.finalizers.is_empty() {
        value["finalizer"] = json!("none");
    }
    value
}

/// Names of the resources in the annotation, read as the recorder reads it: cases do not matter, null is empty.
fn migrated(text: &str) -> Option<Vec<Value>> {
    fn field<'a>(value: &'a Value, name: &str) -> Option<Option<&'a Value>> {
        let object = match value {
            Value::Null => return Some(None),
            Value::Object(object) => object,
            _ => return None,
        };
        let found = object
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        Some(
            found
                .map(|(_, value)| value)
                .filter(|value| !value.is_null()),
        )
    }
    let list: Value = serde_json::from_str(text).ok()?;
    let entries = match field(&list, "resources")? {
        None => return Some(Vec::new()),
        Some(entries) => entries.as_array()?,
    };
    let part = |entry: &Value, name: &str| match field(entry, name)? {
        None => Some(String::new()),
        Some(part) => part.as_str().map(str::to_owned),
    };
    entries
        .iter()
        .map(|entry| {
            let whole = format!("{}.{}", part(entry, "Resource")?, part(entry, "Group")?);
            Some(json!(whole.trim_end_matches('.')))
        })
        .collect()
}

fn size(bytes: &[u8]) -> String {
    let kind = if bytes.iter().all(|b| *b == 0) {
        "zero"
    } else {
        "random"
    };
    format!("{} {kind}", bytes.len())
}

/// Providers of each resource in order; equal lists are one entry.
pub fn config(secret: &Secret) -> Value {
    let config = match EncryptionConfiguration::from_secret(secret) {
        Err(_) => return json!("undecodable"),
        Ok(None) => return json!("no data"),
        Ok(Some(config)) => config,
    };
    let mut by: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in &config.resources {
        let labels: Vec<String> = entry.providers.iter().map(label).collect();
        by.entry(labels.join(","))
            .or_default()
            .push(entry.resources.join("+"));
    }
    let mut out: Map<String, Value> = by
        .into_iter()
        .map(|(text, names)| (names.join(" "), json!(text)))
        .collect();
    let extra: Vec<&str> = secret
        .data
        .keys()
        .map(String::as_str)
        .filter(|key| *key != CONFIG_KEY)
        .collect();
    if !extra.is_empty() {
        out.insert("plugin data".to_owned(), json!(extra.join(" ")));
    }
    if secret.deleting {
        out.insert("deleting".to_owned(), json!("yes"));
    }
    Value::Object(out)
}

fn label(provider: &Provider) -> String {
    let label = provider.label();
    let Provider::Kms(kms) = provider else {
        return label;
    };
    let number = kms.name.split('_').next().unwrap();
    match kms.endpoint.strip_prefix("unix:///var/run/kmsplugin/kms") {
        Some(rest) if rest == ".sock" || rest == format!("-{number}.sock") => label,
        _ => format!("{label}@{}", kms.endpoint),
    }
}

/// A whole object; bytes become sizes, times a word.
pub fn object(secret: &Secret) -> Value {
    let notes: Map<String, Value> = secret
        .annotations
        .iter()
        .map(|(k, v)| {
            let value = if k.ends_with("timestamp") {
                "<RFC3339 time>"
            } else {
                v.as_str()
            };
            (k.clone(), json!(value))
        })
        .collect();
    let data: Map<String, Value> = secret
        .data
        .iter()
        .map(|(k, v)| {
            let value = if k == CONFIG_KEY {
                "<EncryptionConfiguration, JSON>".to_owned()
            } else if k.ends_with("-kms-encryption-config") || k.contains("kms-plugin-") {
                String::from_utf8_lossy(v).into_owned()
            } else {
                format!("<{}>", size(v))
            };
            (k.clone(), json!(value))
        })
        .collect();
    json!({
        "kind": "Secret", "type": "Opaque", "data": data,
        "metadata": {"name": secret.name, "namespace": secret.namespace, "labels": secret.labels,
            "finalizers": secret.finalizers, "annotations": notes},
    })
}
