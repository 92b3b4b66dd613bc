//! How kube-apiserver's pod gets at the one socket (before v2): a host path, mounted if the feature gate is on, whether
//! anything is encrypted or not.

use serde_json::{Value, json};

/// Feature gate `KMSEncryption`, as the operator knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// On.
    On,
    /// Off.
    Off,
    /// Not read yet; the pod stays as it is.
    Unobserved,
}

/// Adds volume and mount to a pod spec.
///
/// # Errors
///
/// The pod has no container of that name.
pub fn add_socket(pod_spec: &mut Value, container: &str, gate: Gate) -> Result<(), String> {
    if gate != Gate::On {
        return Ok(());
    }
    let found = pod_spec["containers"]
        .as_array_mut()
        .into_iter()
        .flatten()
        .find(|entry| entry["name"] == container)
        .ok_or_else(|| format!("container {container} not found"))?;
    push(
        found,
        "volumeMounts",
        json!({"name": "kms-plugin-socket", "mountPath": "/var/run/kmsplugin"}),
    );
    let path = json!({"path": "/var/run/kmsplugin", "type": "DirectoryOrCreate"});
    push(
        pod_spec,
        "volumes",
        json!({"name": "kms-plugin-socket", "hostPath": path}),
    );
    Ok(())
}

fn push(object: &mut Value, list: &str, entry: Value) {
    match object[list].as_array_mut() {
        Some(entries) => entries.push(entry),
        None => object[list] = json!([entry]),
    }
}
