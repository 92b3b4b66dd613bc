//! Everything that a run may do in the cluster: what `kms-harness rbac` prints, and what is asked for before a run.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::{Value, json};

use super::api::Api;
use super::{BESIDE, NAMESPACE, PluginPods};

/// One right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// In this namespace; in none where the resource has none.
    pub namespace: Option<String>,
    /// The API group; empty for the core.
    pub group: &'static str,
    /// The resource.
    pub resource: &'static str,
    /// What is done with it.
    pub verbs: &'static [&'static str],
    /// Only with objects of this name.
    pub name: Option<&'static str>,
}

/// Paths besides resources, all by `get`.
pub const PATHS: [&str; 3] = ["/readyz", "/readyz/*", "/metrics"];

/// All rights: with those for faults on the plugin's pods in a namespace, where there are any, and those for keeping logs
/// and events of pods in another.
#[must_use]
pub fn rules(pods: Option<&str>, watched: Option<&str>) -> Vec<Rule> {
    const SECRETS: &[&str] = &[
        "create",
        "get",
        "list",
        "watch",
        "update",
        "deletecollection",
    ];
    const CONFIG_MAPS: &[&str] = &["create", "get", "watch", "update", "deletecollection"];
    const CANARIES: &[&str] = &["create", "get", "deletecollection"];
    let rule = |namespace: &str, group, resource, verbs| Rule {
        namespace: Some(namespace.to_owned()),
        group,
        resource,
        verbs,
        name: None,
    };
    let one = |group, resource, name| Rule {
        namespace: None,
        group,
        resource,
        verbs: &["get"],
        name: Some(name),
    };
    let mut rules = vec![
        one("", "namespaces", "kube-system"),
        // On OpenShift alone; where these are not, the right to them is of no use to anybody.
        one("config.openshift.io", "clusteroperators", "kube-apiserver"),
        one("operator.openshift.io", "kubeapiservers", "cluster"),
        rule(NAMESPACE, "", "events", &["list"]),
        rule(NAMESPACE, "", "secrets", SECRETS),
        rule(NAMESPACE, "", "configmaps", CONFIG_MAPS),
        rule(
            NAMESPACE,
            "coordination.k8s.io",
            "leases",
            &["create", "get", "update", "delete"],
        ),
        rule(BESIDE, "", "secrets", CANARIES),
        rule(BESIDE, "", "configmaps", CANARIES),
    ];
    if let Some(namespace) = pods {
        rules.extend([
            rule(namespace, "", "pods", &["list", "delete"]),
            rule(namespace, "", "pods/eviction", &["create"]),
            rule(
                namespace,
                "networking.k8s.io",
                "networkpolicies",
                &["create", "delete"],
            ),
        ]);
    }
    for namespace in BTreeSet::from_iter(pods.into_iter().chain(watched)) {
        if pods != Some(namespace) {
            rules.push(rule(namespace, "", "pods", &["list"]));
        }
        rules.extend([
            rule(namespace, "", "pods/log", &["get"]),
            rule(namespace, "", "events", &["list"]),
        ]);
    }
    rules
}

/// What this user may not do of it, in words; the server is asked.
///
/// # Errors
/// It does not say.
pub async fn missing(
    api: &Api,
    pods: Option<&PluginPods>,
    watched: Option<&PluginPods>,
) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    let of = |pods: Option<&'_ PluginPods>| pods.map(|pods| pods.namespace.clone());
    for rule in rules(of(pods).as_deref(), of(watched).as_deref()) {
        let (resource, sub) = rule.resource.split_once('/').unwrap_or((rule.resource, ""));
        for verb in rule.verbs {
            let attributes = json!({"resourceAttributes": {
                "verb": verb,
                "group": rule.group,
                "resource": resource,
                "subresource": sub,
                "namespace": rule.namespace.as_deref().unwrap_or_default(),
                "name": rule.name.unwrap_or_default(),
            }});
            if !allowed(api, attributes).await? {
                let place = rule.namespace.as_deref();
                let place = place.map(|name| format!(" in {name}")).unwrap_or_default();
                missing.push(format!("{verb} {}{place}", rule.resource));
            }
        }
    }
    for path in PATHS {
        let path = path.replace('*', "kms-providers");
        let attributes = json!({"nonResourceAttributes": {"verb": "get", "path": path}});
        if !allowed(api, attributes).await? {
            missing.push(format!("get {path}"));
        }
    }
    Ok(missing)
}

async fn allowed(api: &Api, spec: Value) -> Result<bool> {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": spec,
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer = api.create(path, review).await?;
    Ok(answer.json()["status"]["allowed"] == true)
}
