//! `rbac`: the namespaces, the service account and the rights that the cluster arm needs, and nothing else.

use anyhow::anyhow;
#[cfg(feature = "kube")]
use serde_json::{Value, json};

use crate::cli::RbacArgs;
use crate::exit::{Failure, OrUsage};

/// Prints them.
#[cfg(not(feature = "kube"))]
pub fn rbac(_: &RbacArgs) -> Result<u8, Failure> {
    Err(anyhow!("rbac: build kms-harness with `--features kube`")).or_usage()
}

/// Prints them.
#[cfg(feature = "kube")]
pub fn rbac(args: &RbacArgs) -> Result<u8, Failure> {
    let named = [
        ("--plugin-pods", args.plugin_pods.as_deref()),
        ("--plugin-logs", args.plugin_logs.as_deref()),
    ];
    for (option, namespace) in named {
        if namespace.is_some_and(|namespace| namespace.is_empty() || namespace.contains('/')) {
            return Err(anyhow!("{option}: here it is a namespace alone")).or_usage();
        }
    }
    let comment = "What `kms-harness chaos --arm cluster` may do in a staging cluster:\n\
                   kms-harness rbac | kubectl apply -f -\n\
                   kubectl -n kms-harness create token kms-harness --duration=8h";
    super::manifest::print(comment, &objects(named[0].1, named[1].1), args.format)
}

#[cfg(feature = "kube")]
fn objects(pods: Option<&str>, watched: Option<&str>) -> Vec<Value> {
    use std::collections::BTreeMap;

    use crate::arm::cluster::rights::{PATHS, rules};
    use crate::arm::cluster::{BESIDE, NAMESPACE};

    const NAME: &str = "kms-harness";
    const GROUP: &str = "rbac.authorization.k8s.io";
    let mut objects = Vec::new();
    for (namespace, what) in [
        (NAMESPACE, "objects of a run, and its Lease"),
        (BESIDE, "what must not suffer: a run stops when it does"),
    ] {
        objects.push(json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": namespace, "annotations": {"kms-harness/holds": what}},
        }));
    }
    objects.push(json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
    }));
    let mut by_place: BTreeMap<Option<String>, Vec<Value>> = BTreeMap::new();
    for rule in rules(pods, watched) {
        let mut entry = json!({
            "apiGroups": [rule.group],
            "resources": [rule.resource],
            "verbs": rule.verbs,
        });
        if let Some(name) = rule.name {
            entry["resourceNames"] = json!([name]);
        }
        by_place.entry(rule.namespace).or_default().push(entry);
    }
    let paths = json!({"nonResourceURLs": PATHS, "verbs": ["get"]});
    by_place.entry(None).or_default().push(paths);
    for (namespace, rules) in by_place {
        let (role, binding) = match &namespace {
            Some(_) => ("Role", "RoleBinding"),
            None => ("ClusterRole", "ClusterRoleBinding"),
        };
        let mut metadata = json!({"name": NAME});
        if let Some(namespace) = &namespace {
            metadata["namespace"] = namespace.as_str().into();
        }
        objects.push(json!({
            "apiVersion": format!("{GROUP}/v1"),
            "kind": role,
            "metadata": metadata,
            "rules": rules,
        }));
        objects.push(json!({
            "apiVersion": format!("{GROUP}/v1"),
            "kind": binding,
            "metadata": metadata,
            "roleRef": {"apiGroup": GROUP, "kind": role, "name": NAME},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}],
        }));
    }
    objects
}
