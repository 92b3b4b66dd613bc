//! OpenShift's objects on a real API server: what operators, kubelets and people make of them is read as it is meant, and
//! what is collected of it holds nothing that must not be handed on.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kms_apiserver_api::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Parts;
use super::kubelet::{Kubelet, Logs};
use super::objects::{
    self, KAS, LOCAL_KEY, MANAGED, conditions, config, define_kinds, key, namespace, path, pod,
    runs, union,
};
use super::world::{LIMIT, World, shows};
use crate::doctor::said::say;
use crate::doctor::vault::Fault;

const OPERATOR: &str = "openshift-kube-apiserver-operator";
const NODE: &str = "master-a.corp.example";
const SECOND: &str = "master-b.corp.example";
const PLUGIN: (&str, &str, &str) = ("kube-system", "vault-kms-plugin-a", NODE);
const SERVER: (&str, &str, &str) = (KAS, "kube-apiserver-a", NODE);

/// What an operator says, word for word, and the row that it means.
const SAID: [(&str, &str, &str, &str); 8] = [
    (
        "EncryptionKeyControllerDegraded",
        "Error",
        "failed to create key: failed to get secret planted-reference in openshift-config: secrets \"planted-reference\" not found",
        "OCP-FAULT-02",
    ),
    (
        "EncryptionKMSPreflightControllerDegraded",
        "PreflightCheckFailed",
        "preflight check failed for hash zm_s8A==: no route to host",
        "OCP-FAULT-03",
    ),
    (
        "StaticPodFallbackRevisionDegraded",
        "FallbackRevision",
        "a static pod kube-apiserver-a was rolled back to revision 2 due to waiting for kube-apiserver",
        "OCP-FAULT-29",
    ),
    (
        "EncryptionKeyControllerDegraded",
        "Error",
        "unknown encryption mode configured: KMS",
        "OCP-TRAP-03",
    ),
    (
        "EncryptionKeyControllerDegraded",
        "Error",
        "unknown encryption mode configured: secretbox",
        "OCP-TRAP-04",
    ),
    (
        "EncryptionKeyControllerDegraded",
        "Error",
        "secret encryption-key-openshift-kube-apiserver-1 is invalid, new keys cannot be created for encryption target",
        "OCP-TRAP-06",
    ),
    (
        "EncryptionKeyControllerDegraded",
        "Error",
        "unsupported KMS provider type \"\"",
        "OCP-TRAP-09",
    ),
    (
        "EncryptionKMSPreflightControllerDegraded",
        "ImagePullBackOff",
        "preflight pod has not reported config hash after 3m0s: at least one container kms-preflight is waiting: ImagePullBackOff",
        "OCP-TRAP-12",
    ),
];

/// Words that lie in objects and logs and that nobody who gets the bundle may see.
const PLANTED: [&str; 9] = [
    LOCAL_KEY,
    "planted-in-a-secret",
    "planted-in-a-config-map",
    "planted-in-the-environment",
    "planted-in-an-argument",
    "planted-in-an-event",
    "planted-in-a-condition",
    "planted-in-a-log-line",
    "planted-reference",
];

/// Before the first use and after it; conditions; objects that are lost; pods; Vault sealed, by the logs of pods; and the
/// bundle of that.
pub async fn are_read_and_collected(parts: Parts) -> Result<()> {
    let mut world = World::start(&parts).await?;
    let folder = world.scene.folder.path().to_owned();
    let operator_log = folder.join("operator.log");
    fs::write(
        &operator_log,
        "I0101 00:00:00.000001       1 log.go:1] planted-in-a-log-line\n\
         E0101 00:00:00.000002       1 key.go:1] failed to get secret planted-in-a-log-line in openshift-config\n",
    )?;
    let logs = Logs::from([
        (PLUGIN.1, folder.join("plugin.log")),
        (SERVER.1, world.server.log().to_owned()),
        ("kube-apiserver-operator", operator_log),
    ]);
    let kubelet = Kubelet::start(&world.server.files().certificates, logs).await?;
    set_up(&world, kubelet.port).await?;
    let look = world.doctor();
    shows(&look, &[]).await.context("before the first use")?;
    let wrong = "kms-kye".to_owned();
    let other = world
        .started_with("key", |it| drop(it.insert("key", wrong)))
        .await?;
    shows(&world.with_socket(other.socket()), &["OCP-FAULT-03"])
        .await
        .context("another key's name before the first use")?;
    drop(other);

    let name = format!("{MANAGED}/encryption-key-{KAS}-1");
    world.send(Method::Patch, &name, key(true)).await?;
    shows(&look, &[]).await.context("all is migrated")?;
    said(&world).await?;
    lost(&world).await?;
    pods(&world).await?;
    sealed_and_collected(&mut world).await
}

async fn set_up(world: &World, port: u16) -> Result<()> {
    shows(&world.doctor(), &[])
        .await
        .context("a cluster that has none of OpenShift's kinds")?;
    define_kinds(world).await?;
    let it = json!({
        "apiVersion": "config.openshift.io/v1", "kind": "ClusterOperator", "metadata": {"name": "kube-apiserver"},
        "status": {"conditions": union(None)},
    });
    let list = path("clusteroperators", "");
    world.send(Method::Post, &list, it).await?;
    let spec = json!({
        "apiVersion": "config.openshift.io/v1", "kind": "APIServer", "metadata": {"name": "cluster"},
        "spec": {"encryption": {"type": "KMS"}},
    });
    world
        .send(Method::Post, &path("apiservers", ""), spec)
        .await?;
    let operators = path("kubeapiservers", "");
    world.send(Method::Post, &operators, operator()).await?;
    for name in ["openshift-config-managed", KAS, OPERATOR, "kube-system"] {
        namespace(world, name).await?;
    }
    let target = format!("encryption-config-{KAS}");
    let all = ["kms", "identity", "aescbc"];
    world
        .send(Method::Post, MANAGED, config(&target, &all))
        .await?;
    let own = format!("/api/v1/namespaces/{KAS}/secrets");
    world
        .send(Method::Post, &own, config("encryption-config-3", &all))
        .await?;
    world.send(Method::Post, MANAGED, key(false)).await?;
    let mut beside = json!({"data": {"password": STANDARD.encode("planted-in-a-secret")}});
    beside["metadata"] = json!({"name": "beside"});
    world.send(Method::Post, MANAGED, beside).await?;
    let text = json!({"metadata": {"name": "beside"}, "data": {"text": "planted-in-a-config-map"}});
    let maps = format!("/api/v1/namespaces/{KAS}/configmaps");
    world.send(Method::Post, &maps, text).await?;

    objects::node(world, NODE, port).await?;
    objects::node(world, SECOND, port).await?;
    let revision = json!({"apiserver": "true", "revision": "3"});
    pod(world, SERVER, revision, json!({})).await?;
    plugin_pod(world).await?;
    let operator = (OPERATOR, "kube-apiserver-operator", NODE);
    pod(world, operator, json!({"app": "operator"}), json!({})).await?;
    let event = json!({
        "metadata": {"name": "made"}, "reason": "EncryptionKeyCreated", "type": "Normal", "count": 1,
        "message": "planted-in-an-event", "lastTimestamp": "2026-01-01T00:00:00Z",
        "involvedObject": {"kind": "Deployment", "namespace": OPERATOR, "name": "kube-apiserver-operator"},
    });
    let events = format!("/api/v1/namespaces/{OPERATOR}/events");
    world.send(Method::Post, &events, event).await.map(drop)
}

/// The operator's own resource with nothing wrong.
fn operator() -> Value {
    json!({
        "apiVersion": "operator.openshift.io/v1", "kind": "KubeAPIServer", "metadata": {"name": "cluster"},
        "spec": {"managementState": "Managed"},
        "status": {
            "conditions": conditions(&[]), "latestAvailableRevision": 3,
            "nodeStatuses": [{"nodeName": NODE, "currentRevision": 3, "targetRevision": 0}],
        },
    })
}

/// The plugin's pod with what people put into its manifest.
async fn plugin_pod(world: &World) -> Result<()> {
    let more = json!({
        "args": ["-userpass-password=planted-in-an-argument"],
        "env": [{"name": "VAULT_TOKEN", "value": "planted-in-the-environment"}],
    });
    pod(world, PLUGIN, json!({"app": "vault-kms-plugin"}), more).await
}

/// Conditions, by the operator itself and then by its ClusterOperator alone, and a state that an operator is put into.
async fn said(world: &World) -> Result<()> {
    let operator = path("kubeapiservers", "cluster");
    let above = path("clusteroperators", "kube-apiserver");
    for (kind, reason, message, id) in SAID {
        let status = json!({"status": {"conditions": conditions(&[(kind, reason, message)])}});
        world.send(Method::Patch, &operator, status).await?;
        let told = shows(&world.doctor(), &[id]).await.context(message)?;
        ensure!(
            !told.out.contains("planted"),
            "a name is told: {}",
            told.out
        );
    }
    world.delete(&operator).await?;
    for (kind, reason, message, id) in SAID {
        let status = json!({"status": {"conditions": union(Some((kind, reason, message)))}});
        world.send(Method::Patch, &above, status).await?;
        let told = shows(&world.doctor(), &[id]).await;
        let told = told.with_context(|| format!("by the ClusterOperator: {message}"))?;
        ensure!(
            !told.out.contains("planted"),
            "a name is told: {}",
            told.out
        );
    }
    // it is late, which the operator's own resource shows
    let operators = path("kubeapiservers", "");
    world
        .send(Method::Post, &operators, self::operator())
        .await?;
    shows(&world.doctor(), &[]).await.context("it is late")?;
    for (state, ids) in [("Unmanaged", &["OCP-TRAP-05"][..]), ("Managed", &[])] {
        let spec = json!({"spec": {"managementState": state}});
        world.send(Method::Patch, &operator, spec).await?;
        shows(&world.doctor(), ids).await.context(state)?;
    }
    Ok(())
}

/// Secrets of keys and configurations that are deleted or written by hand.
async fn lost(world: &World) -> Result<()> {
    let look = world.doctor();
    let own = format!("/api/v1/namespaces/{KAS}/secrets");
    let target = format!("encryption-config-{KAS}");
    let key_name = format!("encryption-key-{KAS}-1");
    let usual = ["kms", "identity", "aescbc"];
    for (list, name, whole, id) in [
        (
            MANAGED,
            target.as_str(),
            config(&target, &usual),
            "OCP-TRAP-02",
        ),
        (
            own.as_str(),
            "encryption-config-3",
            config("encryption-config-3", &usual),
            "OCP-TRAP-01",
        ),
        (MANAGED, key_name.as_str(), key(true), "OCP-FAULT-27"),
    ] {
        world.delete(&format!("{list}/{name}")).await?;
        shows(&look, &[id])
            .await
            .with_context(|| format!("{name} is deleted"))?;
        world.send(Method::Post, list, whole).await?;
        shows(&look, &[])
            .await
            .with_context(|| format!("{name} is back"))?;
    }
    for (providers, ids) in [
        (&["identity", "kms"][..], &["OCP-TRAP-01"][..]),
        (&["kms", "identity", "identity"], &["OCP-TRAP-07"]),
        (&usual, &[]),
    ] {
        let body = config(&target, providers);
        world
            .send(Method::Patch, &format!("{MANAGED}/{target}"), body)
            .await?;
        shows(&look, ids)
            .await
            .with_context(|| format!("{providers:?}"))?;
    }
    Ok(())
}

/// Pods of the plugin and of a second API server.
async fn pods(world: &World) -> Result<()> {
    let look = world.doctor();
    let plugin = format!("/api/v1/namespaces/{}/pods/{}", PLUGIN.0, PLUGIN.1);
    let waits = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}});
    runs(world, PLUGIN, waits).await?;
    shows(&look, &["OCP-FAULT-05"])
        .await
        .context("it crashes")?;
    world.delete(&plugin).await?;
    let told = shows(&look, &["OCP-FAULT-04"]).await.context("no pod")?;
    ensure!(
        told.out.contains(NODE),
        "the node is not named: {}",
        told.out
    );
    let apiserver = path("apiservers", "cluster");
    for (mode, ids) in [("aescbc", &["OCP-FAULT-26"]), ("KMS", &["OCP-FAULT-04"])] {
        let spec = json!({"spec": {"encryption": {"type": mode}}});
        world.send(Method::Patch, &apiserver, spec).await?;
        shows(&look, ids).await.context(mode)?;
    }
    plugin_pod(world).await?;
    shows(&look, &[]).await.context("it runs again")?;

    let own = format!("/api/v1/namespaces/{KAS}/secrets");
    let old = config("encryption-config-2", &["identity", "kms"]);
    world.send(Method::Post, &own, old).await?;
    let second = (KAS, "kube-apiserver-b", SECOND);
    let revision = json!({"apiserver": "true", "revision": "2"});
    pod(world, second, revision, json!({})).await?;
    shows(&look, &["OCP-FAULT-24"])
        .await
        .context("two writers")?;
    world
        .delete(&format!("/api/v1/namespaces/{KAS}/pods/{}", second.1))
        .await?;
    shows(&look, &[]).await.map(drop)
}

/// The plugin's log, which comes by way of API server and kubelet, says that Vault is sealed; all of it is collected, and
/// says the same where it is read.
async fn sealed_and_collected(world: &mut World) -> Result<()> {
    let look = world.doctor();
    world.scene.make(Fault::Sealed).await?;
    world.look_again()?;
    runs(world, SERVER, json!({"waiting": {"reason": "Error"}})).await?;
    // the node's log says so at once, the API server once it asks its plugin again
    let start = Instant::now();
    loop {
        let told = shows(&look, &["OCP-FAULT-13"]).await?;
        let saw = told.json["findings"][0]["saw"].as_str();
        if saw.is_some_and(|saw| saw.starts_with("all nodes: ")) {
            break;
        }
        ensure!(start.elapsed() < LIMIT, "not both tell it: {}", told.out);
        sleep(Duration::from_millis(500)).await;
    }

    let plugin = world.plugin.as_ref().context("it runs")?;
    let folder = world.scene.folder.path();
    let (words, out) = (folder.join("words"), folder.join("bundle"));
    let mut secrets: Vec<&str> = PLANTED.to_vec();
    let admin = world.scene.vault.admin();
    secrets.extend([NODE, &world.scene.access.token, admin.token()]);
    fs::write(&words, secrets.join("\n"))?;
    let mut collect = world.with_everything(plugin.socket());
    "collect".clone_into(&mut collect[0]);
    for (option, path) in [("--secrets", &words), ("--out", &out)] {
        collect.extend([option.to_owned(), path.display().to_string()]);
    }
    let said = say(&collect).await?;
    ensure!(
        said.code == Some(1),
        "{:?} {}{}",
        said.code,
        said.out,
        said.err
    );
    said.found(&["OCP-FAULT-13"])?;
    let searched = said.json["secrets_searched"].as_u64();
    ensure!(searched >= Some(secrets.len() as u64 + 3), "{}", said.out);
    let bundle = out.display().to_string();
    say(["doctor", "--bundle", &bundle])
        .await?
        .found(&["OCP-FAULT-13"])?;
    holds_nothing(&out, &secrets)?;
    holds_what_was_seen(&out)
}

/// Looked at without the harness's own search.
fn holds_nothing(folder: &Path, secrets: &[&str]) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            holds_nothing(&path, secrets)?;
            continue;
        }
        let text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
        for secret in secrets {
            let encoded = STANDARD.encode(secret);
            let encoded = encoded.trim_end_matches('=');
            let there = text.contains(secret) || text.contains(&encoded[..encoded.len() - 1]);
            ensure!(!there, "{} holds {secret}", path.display());
        }
    }
    Ok(())
}

/// Logs, events, configurations and metrics of the real server are in it.
fn holds_what_was_seen(folder: &Path) -> Result<()> {
    let read = |name: &str| -> Result<Value> {
        let text = fs::read_to_string(folder.join(name)).with_context(|| name.to_owned())?;
        Ok(serde_json::from_str(&text)?)
    };
    let cluster = read("cluster.json")?;
    let component = &cluster["components"][KAS];
    let seen = |at: &str| component.pointer(at).cloned().unwrap_or_default();
    ensure!(
        seen("/target/seen/resources/secrets") == json!(["kms:1", "identity", "aescbc:7"]),
        "{component}"
    );
    ensure!(
        seen("/cluster_operator/seen/conditions/Degraded/holds") == true
            && seen("/cluster_operator/seen/parts/EncryptionKMSPreflightControllerDegraded/reason")
                == "ImagePullBackOff",
        "{component}"
    );
    ensure!(
        seen("/events/seen/0/reason") == "EncryptionKeyCreated",
        "{component}"
    );
    let line = seen("/log/seen/lines/0/text");
    ensure!(
        line.as_str()
            .is_some_and(|it| it.starts_with("failed to get secret ~")),
        "{component}"
    );
    let mut nodes = Vec::new();
    for entry in fs::read_dir(folder.join("nodes"))? {
        let name = entry?.file_name().into_string().unwrap_or_default();
        nodes.push(read(&format!("nodes/{name}"))?);
    }
    for at in [
        "/plugin/log/seen/lines/0".to_owned(),
        "/plugin/status/seen".to_owned(),
        format!("/servers/{KAS}/check/seen/text"),
        format!("/servers/{KAS}/metrics/seen/status/1"),
        format!("/servers/{KAS}/pod/seen/revision"),
    ] {
        let there = nodes.iter().any(|node| node.pointer(&at).is_some());
        ensure!(there, "no node has {at}: {nodes:?}");
    }
    Ok(())
}
