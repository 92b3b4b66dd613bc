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

const EVICTED: &str = r#"
title = "The plugin's pod is evicted."
proves = ["KMS2-RT-01"]
arms = ["cluster"]
waives = ["key-id-agrees", "key-id-never-flaps", "key-id-never-returns"]

[phases]
settle = "5s"
baseline = "2s"
fault = "3s"
heal = "1s"
liveness = "2s"

[[fault]]
id = "evict"
kind = "plugin-stop"
at = "1s"

[[expect]]
sometimes = "writes-ok"
"#;

/// An eviction asks pods to end, and a budget that allows none is heeded: the fault is refused then, and nothing ends.
async fn an_eviction_heeds_the_budget(cluster: &Cluster) -> Result<()> {
    running(cluster, "default", "kms-1", "kms").await?;
    running(cluster, "default", "other", "other").await?;
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget = json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "kms", "namespace": "default"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "kms"}}},
    });
    let made = cluster
        .server
        .call(Call::new(Method::Post, budgets).with_body(budget))
        .await?;
    ensure!(made.ok(), "{made:?}");
    // The controller that counts healthy pods is not here.
    let counted = |mut budget: Value, allowed: u32| async move {
        budget["status"] = json!({
            "observedGeneration": budget["metadata"]["generation"],
            "disruptionsAllowed": allowed,
            "currentHealthy": 1,
            "desiredHealthy": 1 - allowed,
            "expectedPods": 1,
        });
        budget
    };
    let put = async |body: Value| -> Result<Value> {
        let call = Call::new(Method::Put, format!("{budgets}/kms/status")).with_body(body);
        let answer = cluster.server.call(call).await?;
        ensure!(answer.ok(), "{answer:?}");
        Ok(answer.json().clone())
    };
    let none = put(counted(made.json().clone(), 0).await).await?;

    let scenario = cluster.scenario("evicted", EVICTED)?;
    let words = cluster.staged(&[&scenario, "--plugin-pods=default/app=kms"]);
    let said = Said::of(cluster.chaos(&words)).await?.ended(3)?;
    said.tells(&["\"refused\"", "TooManyRequests", "disruption budget"])?;
    let ends = async |name: &str| -> Result<bool> {
        let path = format!("/api/v1/namespaces/default/pods/{name}");
        let pod = cluster.server.call(Call::new(Method::Get, path)).await?;
        ensure!(pod.ok(), "{pod:?}");
        Ok(!pod.field("/metadata/deletionTimestamp").is_empty())
    };
    ensure!(!ends("kms-1").await?, "the budget was not heeded");

    put(counted(none, 1).await).await?;
    let said = Said::of(cluster.chaos(&words)).await?.ended(0)?;
    said.tells(&["\"hits\": 1"])?;
    // No kubelet says that it has ended.
    ensure!(ends("kms-1").await?, "it was not asked to end");
    ensure!(!ends("other").await?, "another pod was");
    cluster.is_as_before(&cluster.policy().await?).await
}

/// A pod on `node-1`, which a kubelet would have started.
pub async fn running(cluster: &Cluster, namespace: &str, name: &str, app: &str) -> Result<()> {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": app}},
        "spec": {"containers": [{"name": "kms-plugin", "image": "none"}], "nodeName": "node-1"},
    });
    let collection = format!("/api/v1/namespaces/{namespace}/pods");
    let made = cluster
        .server
        .call(Call::new(Method::Post, &*collection).with_body(pod))
        .await?;
    ensure!(made.ok(), "{made:?}");
    let mut pod = made.json().clone();
    pod["status"] = json!({
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}],
    });
    let path = format!("{collection}/{name}/status");
    let call = Call::new(Method::Put, path).with_body(pod);
    let answer = cluster.server.call(call).await?;
    ensure!(answer.ok(), "{answer:?}");
    Ok(())
}

/// Pods with the labels go, others stay; the NetworkPolicy is for them alone, and goes again.
pub async fn ordinary_pods_are_evicted_ended_and_cut_off(parts: Parts) -> Result<()> {
    let cluster = Cluster::start(&parts).await?;
    an_eviction_heeds_the_budget(&cluster).await?;
    running(&cluster, "default", "kms-2", "kms").await?;
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
