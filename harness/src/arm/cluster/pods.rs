//! What happens to the plugin where it is an ordinary pod: a controller keeps it, and the cluster's API reaches it.

use anyhow::{Context, Result, ensure};
use kms_scenario::fault::Fault;
use kms_scenario::world::Order;
use serde_json::{Value, json};

use super::api::Api;
use super::intent::{Count, Intent, Mend};
use super::undo::Undo;
use super::{LABEL, Parts, PluginPods};

/// Deletes the pods at once, as a kill would be, or evicts them, which asks them to end and heeds disruption budgets. Their
/// controller starts them again; there is nothing to undo.
pub fn end(order: &Order, parts: &Parts, api: &Api) -> Result<Intent> {
    let pods = of(parts)?.clone();
    let (api, evict) = (api.clone(), order.fault == Fault::PluginStop);
    let deed = async move {
        let mut ended = 0;
        for name in names(&api, &pods).await? {
            let path = format!("/api/v1/namespaces/{}/pods/{name}", pods.namespace);
            if evict {
                let eviction = json!({
                    "apiVersion": "policy/v1",
                    "kind": "Eviction",
                    "metadata": {"name": name, "namespace": pods.namespace},
                });
                api.create(&format!("{path}/eviction"), eviction).await?;
            } else {
                api.delete(&format!("{path}?gracePeriodSeconds=0")).await?;
            }
            ended += 1;
        }
        ensure!(
            ended > 0,
            "no pod in {} has the labels {}",
            pods.namespace,
            pods.selector
        );
        Ok(ended)
    };
    Ok(Intent {
        undo: Vec::new(),
        deed: Box::pin(deed),
        mend: Mend::Undo,
        count: Count::Changed,
    })
}

/// Lets nothing out of the pods but to the cluster's DNS names that they hold already: a NetworkPolicy without egress.
pub fn partition(order: &Order, parts: &Parts, api: &Api) -> Result<Intent> {
    let pods = of(parts)?.clone();
    let collection = format!(
        "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
        pods.namespace
    );
    let name = format!("kms-harness-{}", order.id);
    let policy = policy(&name, &pods)?;
    let undo = Undo::Object {
        path: format!("{collection}/{name}"),
    };
    let api = api.clone();
    let deed = async move {
        api.create(&collection, policy).await?;
        Ok(1)
    };
    Ok(Intent {
        undo: vec![undo],
        deed: Box::pin(deed),
        mend: Mend::Undo,
        count: Count::Asked,
    })
}

fn of(parts: &Parts) -> Result<&PluginPods> {
    let pods = parts.pods.as_ref();
    pods.context("nobody said which pods the plugin is (--plugin-pods)")
}

/// A selector of equalities, as labels.
pub fn labels(selector: &str) -> Result<Value> {
    let mut labels = serde_json::Map::new();
    for pair in selector.split(',') {
        let (name, value) = pair.split_once('=').unwrap_or_default();
        let value = value.strip_prefix('=').unwrap_or(value);
        ensure!(
            !name.is_empty() && !name.ends_with('!') && !value.is_empty(),
            "the label selector {selector:?} must be NAME=VALUE, several separated by commas"
        );
        labels.insert(name.to_owned(), value.into());
    }
    Ok(labels.into())
}

fn policy(name: &str, pods: &PluginPods) -> Result<Value> {
    let (label, value) = LABEL.split_once('=').unwrap_or_default();
    Ok(json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": pods.namespace, "labels": {label: value}},
        "spec": {
            "podSelector": {"matchLabels": labels(&pods.selector)?},
            "policyTypes": ["Egress"],
            "egress": [],
        },
    }))
}

/// The pods, as the API shows them.
///
/// # Errors
/// They cannot be listed.
pub async fn listed(api: &Api, pods: &PluginPods) -> Result<Vec<Value>> {
    let selector = pods.selector.replace('=', "%3D").replace(',', "%2C");
    let path = format!(
        "/api/v1/namespaces/{}/pods?labelSelector={selector}",
        pods.namespace
    );
    Ok(api.get(&path).await?.items().to_vec())
}

async fn names(api: &Api, pods: &PluginPods) -> Result<Vec<String>> {
    let pods = listed(api, pods).await?;
    let names = pods
        .iter()
        .filter_map(|pod| pod.pointer("/metadata/name").and_then(Value::as_str));
    Ok(names.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_made_of_equalities() {
        let both = labels("app=kms,tier==control").unwrap();
        assert_eq!(both, json!({"app": "kms", "tier": "control"}));
        for bad in ["", "app", "app!=kms", "app in (a,b)", "=b", "a="] {
            assert!(labels(bad).is_err(), "{bad}");
        }
    }
}
