//! Objects as a table: what `kubectl get` asks for.

use std::time::Duration;

use serde_json::{Value, json};

use crate::object::{Body, Object};

/// Whether a client wants tables.
pub fn wanted(accept: &str) -> bool {
    accept
        .split(',')
        .any(|kind| kind.contains("as=Table") && kind.contains("application/json"))
}

/// A table of objects of one kind.
pub fn of<'a>(
    objects: impl IntoIterator<Item = &'a Object>,
    metadata: Value,
    now: Duration,
) -> Value {
    let mut columns = Value::Null;
    let rows: Vec<Value> = objects
        .into_iter()
        .map(|object| {
            if columns.is_null() {
                columns = self::columns(&object.body);
            }
            row(object, now)
        })
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": if columns.is_null() { json!([column("Name", "string")]) } else { columns },
        "rows": rows,
    })
}

fn column(name: &str, kind: &str) -> Value {
    json!({"name": name, "type": kind, "format": "", "description": "", "priority": 0})
}

fn columns(body: &Body) -> Value {
    let own = match body {
        Body::Secret(_) => vec![column("Type", "string"), column("Data", "string")],
        Body::ConfigMap(_) => vec![column("Data", "string")],
        Body::Namespace(_) => vec![column("Status", "string")],
    };
    let mut all = vec![column("Name", "string")];
    all.extend(own);
    all.push(column("Age", "string"));
    Value::Array(all)
}

fn row(object: &Object, now: Duration) -> Value {
    let mut cells = vec![Value::from(object.meta.name.as_str())];
    match &object.body {
        Body::Secret(secret) => {
            cells.extend([secret.kind.as_str().into(), secret.data.len().into()])
        }
        Body::ConfigMap(map) => cells.push((map.data.len() + map.binary_data.len()).into()),
        Body::Namespace(namespace) => cells.push(namespace.status.phase.as_str().into()),
    }
    let created = object.meta.creation_timestamp;
    let age = created.and_then(|created| {
        let now = i64::try_from(now.as_secs()).ok()?;
        u64::try_from(now - created.0).ok()
    });
    cells.push(age.map_or_else(|| "<unknown>".to_owned(), self::age).into());
    let metadata = serde_json::to_value(&object.meta).expect("metadata is plain data");
    json!({
        "cells": cells,
        "object": {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata},
    })
}

/// An age as people read it.
fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}
