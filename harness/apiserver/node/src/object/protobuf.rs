//! Objects as they lie in the store: `k8s\0` and a protobuf envelope, byte for byte as a kube-apiserver writes them;
//! reading takes JSON too.

use kms_apiserver_api::Resource;
use prost::Message;
use serde_json::{Value, json};

use super::meta::{ManagedFields, Meta, OwnerReference, Time};
use super::{
    Blob, Body, ConfigMap, Namespace, NamespaceSpec, NamespaceStatus, Object, Secret, wire,
};

/// What stored protobuf begins with.
pub const MAGIC: &[u8] = b"k8s\0";

/// The stored form. The resource version is not part of it.
pub fn encode(object: &Object) -> Vec<u8> {
    let metadata = Some(meta(&object.meta));
    let raw = match &object.body {
        Body::Secret(secret) => wire::Secret {
            metadata,
            data: secret.data.iter().map(bytes).collect(),
            kind: Some(secret.kind.clone()),
            string_data: Vec::new(),
            immutable: secret.immutable,
        }
        .encode_to_vec(),
        Body::ConfigMap(map) => wire::ConfigMap {
            metadata,
            data: map.data.iter().map(text).collect(),
            binary_data: map.binary_data.iter().map(bytes).collect(),
            immutable: map.immutable,
        }
        .encode_to_vec(),
        Body::Namespace(namespace) => wire::Namespace {
            metadata,
            spec: Some(wire::NamespaceSpec {
                finalizers: namespace.spec.finalizers.clone(),
            }),
            status: Some(wire::NamespaceStatus {
                phase: Some(namespace.status.phase.clone()),
            }),
        }
        .encode_to_vec(),
    };
    let type_meta = wire::TypeMeta {
        api_version: Some("v1".to_owned()),
        kind: Some(object.resource().kind().to_owned()),
    };
    let envelope = wire::Unknown {
        type_meta: Some(type_meta),
        raw: Some(raw),
        content_encoding: Some(String::new()),
        content_type: Some(String::new()),
    };
    let mut stored = Vec::with_capacity(MAGIC.len() + envelope.encoded_len());
    stored.extend_from_slice(MAGIC);
    envelope.encode(&mut stored).expect("a vector grows");
    stored
}

/// Reads a stored object; its resource version becomes the store's revision.
///
/// # Errors
/// It is not an object of this kind.
pub fn decode(resource: Resource, stored: &[u8], mod_revision: i64) -> Result<Object, String> {
    let mut object = match stored.strip_prefix(MAGIC) {
        Some(envelope) => from_envelope(resource, envelope)?,
        None => {
            let json: Value = serde_json::from_slice(stored)
                .map_err(|_| "couldn't get version/kind; neither protobuf nor json".to_owned())?;
            Object::from_json(resource, &json)?
        }
    };
    object.meta.resource_version = mod_revision.to_string();
    Ok(object)
}

/// Reads an object that a client sent as protobuf.
///
/// # Errors
/// It is not an object of this kind.
pub fn sent(resource: Resource, body: &[u8]) -> Result<Object, String> {
    from_envelope(resource, body.strip_prefix(MAGIC).unwrap_or(body))
}

/// Reads what a client sent as protobuf about a deletion, as the JSON that it would be.
///
/// # Errors
/// It cannot be read.
pub fn sent_delete_options(body: &[u8]) -> Result<Value, String> {
    let bad = |error: prost::DecodeError| format!("DeleteOptions cannot be read: {error}");
    let envelope = wire::Unknown::decode(body.strip_prefix(MAGIC).unwrap_or(body)).map_err(bad)?;
    let options = wire::DeleteOptions::decode(envelope.raw.unwrap_or_default().as_slice());
    let options = options.map_err(bad)?;
    let wanted = options.preconditions.unwrap_or_default();
    Ok(json!({
        "preconditions": {"uid": wanted.uid, "resourceVersion": wanted.resource_version},
        "ignoreStoreReadErrorWithClusterBreakingPotential": options.ignore_store_read_error,
    }))
}

fn from_envelope(resource: Resource, envelope: &[u8]) -> Result<Object, String> {
    let bad =
        |error: prost::DecodeError| format!("stored {} cannot be read: {error}", resource.kind());
    let envelope = wire::Unknown::decode(envelope).map_err(bad)?;
    let kind = envelope
        .type_meta
        .and_then(|meta| meta.kind)
        .unwrap_or_default();
    if kind != resource.kind() {
        return Err(format!(
            "stored object is a {kind:?}, not a {}",
            resource.kind()
        ));
    }
    let raw = envelope.raw.unwrap_or_default();
    Ok(match resource {
        Resource::Secrets => {
            let secret = wire::Secret::decode(raw.as_slice()).map_err(bad)?;
            let body = Secret {
                data: secret.data.into_iter().map(of_bytes).collect(),
                string_data: secret.string_data.into_iter().map(of_text).collect(),
                kind: secret.kind.unwrap_or_default(),
                immutable: secret.immutable,
            };
            Object {
                meta: of_meta(secret.metadata.unwrap_or_default()),
                body: Body::Secret(body),
            }
        }
        Resource::ConfigMaps => {
            let map = wire::ConfigMap::decode(raw.as_slice()).map_err(bad)?;
            let body = ConfigMap {
                data: map.data.into_iter().map(of_text).collect(),
                binary_data: map.binary_data.into_iter().map(of_bytes).collect(),
                immutable: map.immutable,
            };
            Object {
                meta: of_meta(map.metadata.unwrap_or_default()),
                body: Body::ConfigMap(body),
            }
        }
        Resource::Namespaces => {
            let namespace = wire::Namespace::decode(raw.as_slice()).map_err(bad)?;
            let phase = namespace
                .status
                .and_then(|status| status.phase)
                .unwrap_or_default();
            let body = Namespace {
                spec: NamespaceSpec {
                    finalizers: namespace.spec.unwrap_or_default().finalizers,
                },
                status: NamespaceStatus { phase },
            };
            Object {
                meta: of_meta(namespace.metadata.unwrap_or_default()),
                body: Body::Namespace(body),
            }
        }
    })
}

fn meta(meta: &Meta) -> wire::ObjectMeta {
    wire::ObjectMeta {
        name: Some(meta.name.clone()),
        generate_name: Some(meta.generate_name.clone()),
        namespace: Some(meta.namespace.clone()),
        self_link: Some(String::new()),
        uid: Some(meta.uid.clone()),
        resource_version: Some(String::new()),
        generation: Some(meta.generation),
        creation_timestamp: Some(
            meta.creation_timestamp
                .map_or_else(wire::Timestamp::default, time),
        ),
        deletion_timestamp: meta.deletion_timestamp.map(time),
        deletion_grace_period_seconds: meta.deletion_grace_period_seconds,
        labels: meta.labels.iter().map(text).collect(),
        annotations: meta.annotations.iter().map(text).collect(),
        owner_references: meta.owner_references.iter().map(owner).collect(),
        finalizers: meta.finalizers.clone(),
        managed_fields: meta.managed_fields.iter().map(managed).collect(),
    }
}

fn of_meta(meta: wire::ObjectMeta) -> Meta {
    Meta {
        name: meta.name.unwrap_or_default(),
        generate_name: meta.generate_name.unwrap_or_default(),
        namespace: meta.namespace.unwrap_or_default(),
        uid: meta.uid.unwrap_or_default(),
        resource_version: meta.resource_version.unwrap_or_default(),
        generation: meta.generation.unwrap_or_default(),
        creation_timestamp: meta.creation_timestamp.and_then(of_time),
        deletion_timestamp: meta.deletion_timestamp.and_then(of_time),
        deletion_grace_period_seconds: meta.deletion_grace_period_seconds,
        labels: meta.labels.into_iter().map(of_text).collect(),
        annotations: meta.annotations.into_iter().map(of_text).collect(),
        owner_references: meta.owner_references.into_iter().map(of_owner).collect(),
        finalizers: meta.finalizers,
        managed_fields: meta.managed_fields.into_iter().map(of_managed).collect(),
    }
}

fn time(time: Time) -> wire::Timestamp {
    wire::Timestamp {
        seconds: Some(time.0),
        nanos: Some(0),
    }
}

fn of_time(time: wire::Timestamp) -> Option<Time> {
    time.seconds.map(Time)
}

fn text((key, value): (&String, &String)) -> wire::Text {
    wire::Text {
        key: Some(key.clone()),
        value: Some(value.clone()),
    }
}

fn of_text(entry: wire::Text) -> (String, String) {
    (
        entry.key.unwrap_or_default(),
        entry.value.unwrap_or_default(),
    )
}

fn bytes((key, value): (&String, &Blob)) -> wire::Bytes {
    wire::Bytes {
        key: Some(key.clone()),
        value: Some(value.0.clone()),
    }
}

fn of_bytes(entry: wire::Bytes) -> (String, Blob) {
    (
        entry.key.unwrap_or_default(),
        Blob(entry.value.unwrap_or_default()),
    )
}

fn owner(owner: &OwnerReference) -> wire::OwnerReference {
    wire::OwnerReference {
        kind: Some(owner.kind.clone()),
        name: Some(owner.name.clone()),
        uid: Some(owner.uid.clone()),
        api_version: Some(owner.api_version.clone()),
        controller: owner.controller,
        block_owner_deletion: owner.block_owner_deletion,
    }
}

fn of_owner(owner: wire::OwnerReference) -> OwnerReference {
    OwnerReference {
        api_version: owner.api_version.unwrap_or_default(),
        kind: owner.kind.unwrap_or_default(),
        name: owner.name.unwrap_or_default(),
        uid: owner.uid.unwrap_or_default(),
        controller: owner.controller,
        block_owner_deletion: owner.block_owner_deletion,
    }
}

fn managed(entry: &ManagedFields) -> wire::ManagedFields {
    wire::ManagedFields {
        manager: Some(entry.manager.clone()),
        operation: Some(entry.operation.clone()),
        api_version: Some(entry.api_version.clone()),
        time: entry.time.map(time),
        fields_type: Some(entry.fields_type.clone()),
        fields: entry.fields.as_ref().map(|fields| wire::Fields {
            raw: Some(fields.to_string().into_bytes()),
        }),
        subresource: Some(entry.subresource.clone()),
    }
}

fn of_managed(entry: wire::ManagedFields) -> ManagedFields {
    let raw = entry.fields.and_then(|fields| fields.raw);
    ManagedFields {
        manager: entry.manager.unwrap_or_default(),
        operation: entry.operation.unwrap_or_default(),
        api_version: entry.api_version.unwrap_or_default(),
        time: entry.time.and_then(of_time),
        fields_type: entry.fields_type.unwrap_or_default(),
        fields: raw.and_then(|raw| serde_json::from_slice(&raw).ok()),
        subresource: entry.subresource.unwrap_or_default(),
    }
}
