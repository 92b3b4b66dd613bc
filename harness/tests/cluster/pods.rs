//! Faults on a plugin that is an ordinary pod. No kubelet runs here: a pod is an object, and what happens to it is seen.

use anyhow::{Context, Result, ensure};
use kms_apiserver_api::{ApiServer, Call, Method};
use serde_json::{Value, json};

use crate::world::{Cluster, Parts, Said, until};

const SCENARIO: &str = r#"
title = "The plugin's pod ends."
proves = ["KMS2-RT-01"]
arms = ["cluster"]

[phases]
settle = "5s"
baseline = "2s"
fault = "50s"
heal = "1s"
liveness = "5s"

[[fault]]
id = "cut"
kind = "net-partition"
edge = "vault"
at = "1s"
for = "40s"

[[fault]]
id = "end"
kind = "plugin-restart"
at = "45s"

[[expect]]
sometimes = "writes-ok"
"#;

/// Pods with the labels go, others stay; the NetworkPolicy is for them alone, and goes again.
pub async fn ordinary_pods_are_ended_and_cut_off(parts: Parts) -> Result<()> {
    let cluster = Cluster::start(&parts).await?;
    for (name, app) in [("kms-1", "kms"), ("kms-2", "kms"), ("other", "other")] {
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "labels": {"app": app}},
            "spec": {"containers": [{"name": "main", "image": "none"}], "nodeName": "node-1"},
        });
        let made = cluster.create(&pod).await?;
        ensure!(made == 201, "{made}: {pod}");
    }
    let scenario = cluster.scenario("pods", SCENARIO)?;
    let without = Said::of(cluster.chaos(&cluster.staged(&[&scenario]))).await?;
    without.ended(3)?.tells(&["not_applicable", "no relay"])?;

    let words = cluster.staged(&[&scenario, "--plugin-pods=default/app=kms"]);
    let run = cluster.chaos(&words).spawn()?;
    let policies = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies";
    let mut seen = Value::Null;
    until("the NetworkPolicy", async || {
        let list = cluster
            .server
            .call(Call::new(Method::Get, policies))
            .await?;
        seen = list.items().first().cloned().unwrap_or_default();
        Ok(!seen.is_null())
    })
    .await?;
    ensure!(
        seen["spec"]["podSelector"]["matchLabels"] == json!({"app": "kms"})
            && seen["spec"]["policyTypes"] == json!(["Egress"]),
        "{seen}"
    );
    Said::output(&run.wait_with_output().await?)?.ended(0)?;
    let list = cluster
        .server
        .call(Call::new(Method::Get, policies))
        .await?;
    ensure!(list.items().is_empty(), "{list:?}");
    let pods = "/api/v1/namespaces/default/pods";
    let left = cluster.server.call(Call::new(Method::Get, pods)).await?;
    let names: Vec<&str> = left
        .items()
        .iter()
        .filter_map(|pod| pod["metadata"]["name"].as_str())
        .collect();
    ensure!(names == ["other"], "{names:?}");
    cluster
        .is_as_before(&cluster.policy().await?)
        .await
        .context("after the pods")
}
