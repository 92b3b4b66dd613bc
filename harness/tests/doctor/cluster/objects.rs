//! Objects of OpenShift's operators, of nodes and pods, as their owners write them. Nobody acts on them here: what an
//! operator or a kubelet would say, the test says.

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kms_apiserver_api::{ApiServer, Call, Method};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::world::{LIMIT, World};

/// The component that is looked at, which is its namespace.
pub const KAS: &str = "openshift-kube-apiserver";
/// Where operators keep keys and configurations.
pub const MANAGED: &str = "/api/v1/namespaces/openshift-config-managed/secrets";
const PREFIX: &str = "encryption.apiserver.operator.openshift.io";

/// Kinds that an OpenShift cluster has: group, version, plural, kind.
const KINDS: [(&str, &str, &str, &str); 6] = [
    ("config.openshift.io", "v1", "apiservers", "APIServer"),
    (
        "config.openshift.io",
        "v1",
        "clusteroperators",
        "ClusterOperator",
    ),
    (
        "operator.openshift.io",
        "v1",
        "kubeapiservers",
        "KubeAPIServer",
    ),
    (
        "operator.openshift.io",
        "v1",
        "openshiftapiservers",
        "OpenShiftAPIServer",
    ),
    (
        "operator.openshift.io",
        "v1",
        "authentications",
        "Authentication",
    ),
    (
        "migration.k8s.io",
        "v1alpha1",
        "storageversionmigrations",
        "StorageVersionMigration",
    ),
];

/// The path of an object of one of these kinds that is called `cluster`, or of their list.
pub fn path(plural: &str, name: &str) -> String {
    let found = KINDS.iter().find(|(_, _, it, _)| *it == plural);
    let (group, version, ..) = found.expect("one of the kinds");
    let slash = if name.is_empty() { "" } else { "/" };
    format!("/apis/{group}/{version}/{plural}{slash}{name}")
}

/// Defines the kinds, and waits until they are served.
pub async fn define_kinds(world: &World) -> Result<()> {
    let any = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    for (group, version, plural, kind) in KINDS {
        let body = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{group}"), "annotations": {
                "api-approved.kubernetes.io": "unapproved, for a test",
            }},
            "spec": {
                "group": group, "scope": "Cluster",
                "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List")},
                "versions": [{"name": version, "served": true, "storage": true, "schema": any}],
            },
        });
        let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        world.send(Method::Post, definitions, body).await?;
    }
    for (_, _, plural, _) in KINDS {
        let start = Instant::now();
        let list = path(plural, "");
        while !world.server.call(Call::new(Method::Get, &list)).await?.ok() {
            ensure!(start.elapsed() < LIMIT, "{plural} are not served");
            sleep(std::time::Duration::from_millis(200)).await;
        }
    }
    Ok(())
}

/// A namespace; the service account of its pods is made by a controller elsewhere.
pub async fn namespace(world: &World, name: &str) -> Result<()> {
    let call = Call::new(Method::Post, "/api/v1/namespaces")
        .with_body(json!({"metadata": {"name": name}}));
    let made = world.server.call(call).await?;
    ensure!(made.ok() || made.code == 409, "{name}: {made:?}");
    Ok(())
}

/// Conditions of an operator with encryption done: those that hold besides, by type, reason and message.
pub fn conditions(more: &[(&str, &str, &str)]) -> Value {
    let mut all = vec![
        json!({"type": "Encrypted", "status": "True", "reason": "EncryptionCompleted",
               "message": "All resources encrypted: secrets, configmaps"}),
        json!({"type": "EncryptionStateControllerDegraded", "status": "False"}),
    ];
    all.extend(more.iter().map(|(kind, reason, message)| {
        json!({"type": kind, "status": "True", "reason": reason, "message": message,
               "lastTransitionTime": "2026-01-01T00:00:00Z"})
    }));
    Value::Array(all)
}

/// Conditions of the ClusterOperator over an operator with one of its own that holds: type, reason and message. Another
/// one, which nobody may read about, holds as well.
pub fn union(holds: Option<(&str, &str, &str)>) -> Value {
    let known = holds.map(|(kind, reason, message)| {
        let base = kind.trim_end_matches("Degraded");
        (format!("::{base}_{reason}"), format!("\n{kind}: {message}"))
    });
    let (reason, message) = known.unwrap_or_default();
    let since = "2026-01-01T00:00:00Z";
    json!([
        {"type": "Available", "status": "True", "reason": "AsExpected", "lastTransitionTime": since},
        {"type": "Degraded", "status": "True", "reason": format!("Some_Error{reason}"),
         "message": format!("SomeDegraded: planted-in-a-condition{message}"), "lastTransitionTime": since},
    ])
}

/// An EncryptionConfiguration in a Secret, each kind of provider in this order.
pub fn config(name: &str, providers: &[&str]) -> Value {
    let providers: Vec<Value> = providers
        .iter()
        .map(|provider| match *provider {
            "kms" => json!({"kms": {"apiVersion": "v2", "name": "1_secrets", "endpoint": "unix:///var/run/kmsplugin/kms.sock"}}),
            "aescbc" => json!({"aescbc": {"keys": [{"name": "7", "secret": STANDARD.encode(LOCAL_KEY)}]}}),
            _ => json!({"identity": {}}),
        })
        .collect();
    let text = json!({
        "kind": "EncryptionConfiguration", "apiVersion": "apiserver.config.k8s.io/v1",
        "resources": [
            {"resources": ["secrets"], "providers": providers},
            {"resources": ["configmaps"], "providers": providers},
        ],
    });
    json!({"metadata": {"name": name}, "data": {"encryption-config": STANDARD.encode(text.to_string())}})
}

/// A local key that a configuration holds: 32 bytes that must not be shown.
pub const LOCAL_KEY: &str = "planted-local-aes-key-0123456789";

/// The Secret of KMS key 1 with which everything is rewritten, or nothing yet.
pub fn key(migrated: bool) -> Value {
    let mut annotations = json!({
        format!("{PREFIX}/mode"): "KMS",
        format!("{PREFIX}/internal-reason"): "key-does-not-exist",
        format!("{PREFIX}/kms-config"): r#"{"apiVersion":"v2","name":"1","endpoint":"unix:///var/run/kmsplugin/kms.sock","timeout":"10s"}"#,
    });
    if migrated {
        annotations[format!("{PREFIX}/migrated-timestamp")] = "2026-01-01T00:00:00Z".into();
        annotations[format!("{PREFIX}/migrated-resources")] =
            r#"{"resources":[{"Group":"","Resource":"configmaps"},{"Group":"","Resource":"secrets"}]}"#.into();
    }
    json!({
        "metadata": {
            "name": format!("encryption-key-{KAS}-1"), "annotations": annotations,
            "labels": {format!("{PREFIX}/component"): KAS},
        },
        "data": {format!("{PREFIX}-key"): STANDARD.encode([0_u8; 16])},
    })
}

/// A node whose kubelet is on this port of loopback.
pub async fn node(world: &World, name: &str, port: u16) -> Result<()> {
    let made = json!({"metadata": {"name": name}});
    world.send(Method::Post, "/api/v1/nodes", made).await?;
    let status = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }});
    let path = format!("/api/v1/nodes/{name}/status");
    world.send(Method::Patch, &path, status).await.map(drop)
}

/// A pod on a node, running and ready, as a kubelet tells it. `more` goes into its container.
pub async fn pod(world: &World, at: (&str, &str, &str), labels: Value, more: Value) -> Result<()> {
    let (namespace, name, node) = at;
    let mut container = json!({"name": "main", "image": "none"});
    for (field, value) in more.as_object().into_iter().flatten() {
        container[field] = value.clone();
    }
    let body = json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {"nodeName": node, "containers": [container]},
    });
    let pods = format!("/api/v1/namespaces/{namespace}/pods");
    world.send(Method::Post, &pods, body).await?;
    runs(
        world,
        at,
        json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}}),
    )
    .await
}

/// The kubelet says of a pod's container that it is in this state; ready if it runs.
pub async fn runs(world: &World, at: (&str, &str, &str), state: Value) -> Result<()> {
    let (namespace, name, _) = at;
    let ready = state.get("running").is_some();
    let status = json!({"status": {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
        "containerStatuses": [{
            "name": "main", "ready": ready, "restartCount": if ready { 0 } else { 7 }, "image": "none", "imageID": "none",
            "state": state,
        }],
    }});
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/status");
    world.send(Method::Patch, &path, status).await.map(drop)
}
