//! What a run may do is what `kms-harness rbac` prints: every other test here runs with it.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use kms_apiserver_api::{ApiServer, Call, Method};
use serde_json::Value;
use tokio::process::Command;

use crate::world::{Cluster, Parts, Said, until};

/// Every right of the service account is used for something: taken away, a run says that it is missing, and does nothing.
pub async fn what_rbac_prints_is_enough_and_all_of_it_is_asked_for(parts: Parts) -> Result<()> {
    let cluster = Cluster::start(&parts).await?;
    let scenario = cluster.scenario(
        "idle",
        "title = \"T.\"\nproves = [\"KMS2-RT-01\"]\narms = [\"cluster\"]\n\
         waives = [\"key-id-agrees\"]\n\n[phases]\nsettle = \"5s\"\n\
         baseline = \"5s\"\nfault = \"1s\"\nheal = \"1s\"\nliveness = \"1s\"\n\n[[expect]]\nsometimes = \"writes-ok\"\n",
    )?;
    let words = cluster.staged(&[&scenario]);
    Said::of(cluster.chaos(&words)).await?.ended(0)?;
    let policy = cluster.policy().await?;
    cluster.is_as_before(&policy).await?;

    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    for (place, missing) in [
        (
            format!("{rbac}/namespaces/kms-harness/rolebindings/kms-harness"),
            &[
                "create secrets in kms-harness",
                "watch configmaps in kms-harness",
                "update leases",
                "list events in kms-harness",
            ][..],
        ),
        (
            format!("{rbac}/namespaces/kms-harness-beside/rolebindings/kms-harness"),
            &["get secrets in kms-harness-beside"][..],
        ),
        (
            format!("{rbac}/clusterrolebindings/kms-harness"),
            // the first thing that is asked for
            &["kube-system"][..],
        ),
    ] {
        let read = cluster
            .server
            .call(Call::new(Method::Get, place.clone()))
            .await?;
        let mut binding = read.json().clone();
        let deleted = cluster
            .server
            .call(Call::new(Method::Delete, place.clone()))
            .await?;
        ensure!(deleted.ok(), "{deleted:?}");
        // the server knows it a moment later
        let mut last = None;
        until(&place, async || {
            let said = Said::of(cluster.chaos(&words)).await?;
            let refused = said.code == Some(3);
            last = Some(said);
            Ok(refused)
        })
        .await?;
        last.context("it was not asked")?.tells(missing)?;
        for field in [
            "resourceVersion",
            "uid",
            "creationTimestamp",
            "managedFields",
        ] {
            binding["metadata"]
                .as_object_mut()
                .context("no metadata")?
                .remove(field);
        }
        let made = cluster.create(&binding).await?;
        ensure!(made == 201, "{made}: {binding}");
    }
    cluster.is_as_before(&policy).await?;
    no_wildcards(&cluster).await
}

/// Nothing is granted by a wildcard, and outside of namespaces only single objects are read, none of them a Secret.
async fn no_wildcards(cluster: &Cluster) -> Result<()> {
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/kms-harness";
    let role = cluster.server.call(Call::new(Method::Get, path)).await?;
    let rules = role.json()["rules"].as_array().context("no rules")?.clone();
    for rule in &rules {
        let words = |field: &str| -> Vec<String> {
            let all = rule[field].as_array().into_iter().flatten();
            all.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let resources = words("resources");
        let one = words("verbs") == ["get"] && words("resourceNames").len() == 1;
        ensure!(resources.is_empty() || one, "{rule}");
        let known = ["namespaces", "clusteroperators", "kubeapiservers"];
        let known = |one: &String| known.contains(&one.as_str());
        ensure!(resources.iter().all(known), "{rule}");
        let all = [words("verbs"), words("apiGroups"), resources].concat();
        ensure!(!all.contains(&"*".to_owned()), "{rule}");
    }
    Ok(())
}

/// Has a server write down what a run asks of it.
pub const AUDIT: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    users: [\"system:serviceaccount:kms-harness:kms-harness\"]
  - level: None
";

/// What was asked is what is granted, neither more nor less.
pub async fn nothing_is_left_over(audit: &Path) -> Result<()> {
    let mut used = BTreeSet::new();
    for line in std::fs::read_to_string(audit)?.lines() {
        let event: Value = serde_json::from_str(line)?;
        ensure!(event["responseStatus"]["code"] != 403, "it may not: {line}");
        let (verb, object) = (
            event["verb"].as_str().unwrap_or_default(),
            &event["objectRef"],
        );
        let of = |field: &str| object[field].as_str().unwrap_or_default();
        let what = match (of("resource"), of("subresource")) {
            ("", _) => {
                let uri = event["requestURI"].as_str().unwrap_or_default();
                let path = uri.split('?').next().unwrap_or_default();
                path.replace("/readyz/kms-providers", "/readyz/*")
            }
            ("selfsubjectaccessreviews", _) => continue,
            (resource, "") => format!("{}/{resource}", of("apiGroup")),
            (resource, sub) => format!("{}/{resource}/{sub}", of("apiGroup")),
        };
        used.insert(format!("{verb} {what} {}", of("namespace")));
    }
    let printed = Command::new(env!("CARGO_BIN_EXE_kms-harness"))
        .args([
            "rbac",
            "--format=json",
            "--plugin-pods=default",
            "--plugin-logs=kube-system",
        ])
        .output()
        .await?;
    let list: Value = serde_json::from_slice(&printed.stdout)?;
    let mut granted = BTreeSet::new();
    let words = |rule: &Value, field: &str| -> Vec<String> {
        let all = rule[field].as_array().into_iter().flatten();
        all.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    for role in list["items"].as_array().context("no list")? {
        let place = role["metadata"]["namespace"].as_str().unwrap_or_default();
        for rule in role["rules"].as_array().into_iter().flatten() {
            for verb in words(rule, "verbs") {
                granted.extend(
                    words(rule, "nonResourceURLs")
                        .iter()
                        .map(|path| format!("{verb} {path} ")),
                );
                for group in words(rule, "apiGroups") {
                    // a namespace is in itself, as the server has it
                    let names = words(rule, "resourceNames");
                    let place = if names == ["kube-system"] {
                        "kube-system"
                    } else {
                        place
                    };
                    let resources = words(rule, "resources");
                    granted.extend(
                        resources
                            .iter()
                            .map(|it| format!("{verb} {group}/{it} {place}")),
                    );
                }
            }
        }
    }
    let over: Vec<&String> = granted.difference(&used).collect();
    ensure!(over.is_empty(), "granted, and never used: {over:#?}");
    let beyond: Vec<&String> = used.difference(&granted).collect();
    ensure!(beyond.is_empty(), "used, and not granted here: {beyond:#?}");
    Ok(())
}
