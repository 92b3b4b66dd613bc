//! A real kube-apiserver, by its kubeconfig: on its own, and with the objects of OpenShift's operators in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kms_apiserver_api::{ApiServer, Call, Method, Target};
use kms_harness::apiserver::etcd::Etcd;
use kms_harness::apiserver::flags::Settings;
use kms_harness::apiserver::launched::{Launched, Program};
use kms_harness::apiserver::parts;
use kms_harness::subject::own::{self, Vocabulary};
use kms_harness::subject::running::Running;
use kms_harness::subject::values;
use kms_harness::vault::VaultBackend as _;
use kms_harness::vault::provision::{Access, Wanted};
use kms_harness::vault::sim::{Front, Sim};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use sim_vault::Flavour;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::common::tier;
use crate::said::say;

/// Limit for a server to be ready, and for it to notice a change, on a machine that does much else.
const LIMIT: Duration = Duration::from_secs(180);
const KAS: &str = "openshift-kube-apiserver";

#[derive(Clone)]
pub struct Parts {
    server: parts::Parts,
    plugin: Arc<PathBuf>,
}

pub fn trials(plugin: &Arc<PathBuf>) -> Vec<Trial> {
    let parts = parts::Parts::find().map_err(|error| format!("{error:#}"));
    let parts = parts.map(|server| Parts {
        server,
        plugin: Arc::clone(plugin),
    });
    vec![
        tier::test("cluster::plugin_and_data", parts.clone(), plugin_and_data),
        tier::test("cluster::operators", parts, operators),
    ]
}

/// Fields are dropped in this order.
struct World {
    server: Launched,
    plugin: Option<Running>,
    _etcd: Etcd,
    access: Access,
    vault: Sim,
    folder: TempDir,
}

impl World {
    async fn start(parts: &Parts) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("kms-").tempdir()?;
        let vault = Sim::start(1, Flavour::OpenBao, Front::Own).await?;
        let access = Wanted::default()
            .create(&vault.admin(), folder.path())
            .await?;
        let values = values(&vault, &access, folder.path());
        let subject = own::describe(&parts.plugin, Vocabulary::StaticPod, &values);
        let plugin = Running::start(subject, values, folder.path().join("plugin.log")).await?;
        let etcd = Etcd::start(&parts.server.etcd, folder.path()).await?;
        let settings = Settings {
            etcd: etcd.address().to_owned(),
            etcd_prefix: "/registry".into(),
            encryption: Some(encryption(plugin.socket())),
            reload: false,
            more: Vec::new(),
        };
        let program = Program::real(&parts.server.kube_apiserver);
        let server = Launched::start(&program, &settings, &folder.path().join("server")).await?;
        server.ready(LIMIT).await?;
        Ok(Self {
            server,
            plugin: Some(plugin),
            _etcd: etcd,
            access,
            vault,
            folder,
        })
    }

    fn look(&self) -> Vec<String> {
        let kubeconfig = self.server.files().kubeconfig.display().to_string();
        vec!["doctor".into(), "--kubeconfig".into(), kubeconfig]
    }

    async fn post(&self, path: &str, body: Value) -> Result<()> {
        let answer = self
            .server
            .call(Call::new(Method::Post, path).with_body(body))
            .await?;
        ensure!(answer.ok(), "{path}: {answer:?}");
        Ok(())
    }

    /// Looks until exactly these are found.
    async fn shows(&self, args: &[String], ids: &[&str]) -> Result<String> {
        let start = Instant::now();
        loop {
            let said = say(args).await?;
            if said.ids() == ids {
                said.found(ids)?;
                return Ok(said.out);
            }
            ensure!(
                start.elapsed() < LIMIT,
                "expected {ids:?}: {:?} {}{}",
                said.code,
                said.out,
                said.err
            );
            sleep(Duration::from_millis(500)).await;
        }
    }
}

fn encryption(socket: &Path) -> String {
    let socket = socket.display();
    format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  providers:\n  - kms: {{apiVersion: v2, name: 1_secrets, endpoint: \"unix://{socket}\", timeout: 10s}}\n  - identity: {{}}\n"
    )
}

/// Well; a damaged Secret; a value of a provider that is not configured; Vault sealed; the plugin gone; nobody there.
async fn plugin_and_data(parts: Parts) -> Result<()> {
    let mut world = World::start(&parts).await?;
    let look = world.look();
    let mut with_plugin = look.clone();
    let socket = world
        .plugin
        .as_ref()
        .context("it runs")?
        .socket()
        .to_owned();
    with_plugin.extend([
        "--socket".to_owned(),
        format!("unix://{}", socket.display()),
    ]);
    let target = Target::secret("default", "canary");
    let written = world
        .server
        .create(&target, json!({"data": {"key": "dmFsdWU="}}))
        .await?;
    ensure!(written.ok(), "{written:?}");
    world.shows(&look, &[]).await?;
    world.shows(&with_plugin, &[]).await?;

    let value = world
        .server
        .stored(&target)
        .await?
        .context("it was written")?;
    let mut damaged = value.bytes.clone();
    let last = damaged.last_mut().context("a value has bytes")?;
    *last ^= 1;
    world.server.store(&target, Some(damaged)).await?;
    world.shows(&look, &["OCP-FAULT-22"]).await?;
    let foreign = [b"k8s:enc:kms:v2:9_secrets:".as_slice(), b"x"].concat();
    world.server.store(&target, Some(foreign)).await?;
    world.shows(&look, &["OCP-FAULT-25"]).await?;
    world.server.store(&target, Some(value.bytes)).await?;
    world.shows(&look, &[]).await?;

    let admin = world.vault.admin();
    let rule = format!("sys/policies/acl/{}", world.access.policy);
    let text = Wanted::default().policy_text();
    let kept: String = text
        .split_inclusive("}\n")
        .filter(|it| !it.contains("/keys/"))
        .collect();
    admin.write(&rule, json!({"policy": kept})).await?;
    world.shows(&with_plugin, &["OCP-FAULT-08"]).await?;
    admin.write(&rule, json!({"policy": text})).await?;
    world.shows(&with_plugin, &[]).await?;

    world.plugin = None;
    world.shows(&look, &["OCP-FAULT-05"]).await?;
    let gone = if socket.exists() {
        "OCP-FAULT-05"
    } else {
        "OCP-FAULT-04"
    };
    world.shows(&with_plugin, &[gone]).await?;
    // nobody is there any more
    world.server.stop(LIMIT).await?;
    let said = say(&look).await?;
    ensure!(
        said.code == Some(3) && said.err.contains("reach the cluster"),
        "{:?} {}",
        said.code,
        said.err
    );
    Ok(())
}

/// Kinds of OpenShift that are looked at: group, version, plural, kind, namespaced.
const KINDS: [(&str, &str, &str, &str); 5] = [
    ("config.openshift.io", "v1", "apiservers", "APIServer"),
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

/// The operators' objects in a real API: a healthy cluster, one fault of an operator, one of a node, one of a key.
async fn operators(parts: Parts) -> Result<()> {
    let world = World::start(&parts).await?;
    let look = world.look();
    for (group, version, plural, kind) in KINDS {
        define(&world, group, version, plural, kind).await?;
    }
    let custom =
        |group: &str, version: &str, plural: &str| format!("/apis/{group}/{version}/{plural}");
    let apiservers = custom("config.openshift.io", "v1", "apiservers");
    world
        .post(&apiservers, json!({
            "apiVersion": "config.openshift.io/v1", "kind": "APIServer", "metadata": {"name": "cluster"},
            "spec": {"encryption": {"type": "KMS"}},
        }))
        .await?;
    let condition = |message: &str| {
        let status = if message.is_empty() { "False" } else { "True" };
        json!([
            {"type": "EncryptionKeyControllerDegraded", "status": status, "reason": "Error", "message": message,
             "lastTransitionTime": "2026-01-01T00:00:00Z"},
            {"type": "Encrypted", "status": "True", "reason": "EncryptionCompleted"},
        ])
    };
    let operator = |message: &str| {
        json!({
            "apiVersion": "operator.openshift.io/v1", "kind": "KubeAPIServer", "metadata": {"name": "cluster"},
            "spec": {"managementState": "Managed"},
            "status": {
                "conditions": condition(message), "latestAvailableRevision": 3,
                "nodeStatuses": [{"nodeName": "master-a.corp.example", "currentRevision": 3, "targetRevision": 0}],
            },
        })
    };
    let kas = custom("operator.openshift.io", "v1", "kubeapiservers");
    world.post(&kas, operator("")).await?;
    for namespace in ["openshift-config-managed", KAS, "kube-system"] {
        namespace_there(&world, namespace).await?;
    }
    let config = r#"{"kind":"EncryptionConfiguration","apiVersion":"apiserver.config.k8s.io/v1","resources":[{"resources":["secrets"],"providers":[{"kms":{"apiVersion":"v2","name":"1_secrets","endpoint":"unix:///var/run/kmsplugin/kms.sock"}},{"identity":{}}]}]}"#;
    let prefix = "encryption.apiserver.operator.openshift.io";
    let managed = "/api/v1/namespaces/openshift-config-managed/secrets";
    let config_of = |name: &str| json!({"metadata": {"name": name}, "data": {"encryption-config": STANDARD.encode(config)}});
    world
        .post(managed, config_of(&format!("encryption-config-{KAS}")))
        .await?;
    world
        .post(
            &format!("/api/v1/namespaces/{KAS}/secrets"),
            config_of("encryption-config-3"),
        )
        .await?;
    let key = json!({
        "metadata": {
            "name": format!("encryption-key-{KAS}-1"), "labels": {format!("{prefix}/component"): KAS},
            "annotations": {
                format!("{prefix}/mode"): "KMS",
                format!("{prefix}/kms-config"): r#"{"apiVersion":"v2","name":"1","endpoint":"unix:///var/run/kmsplugin/kms.sock","timeout":"10s"}"#,
                format!("{prefix}/migrated-timestamp"): "2026-01-01T00:00:00Z",
                format!("{prefix}/migrated-resources"): r#"{"resources":[{"Group":"","Resource":"secrets"}]}"#,
            },
        },
        "data": {format!("{prefix}-key"): STANDARD.encode([0_u8; 16])},
    });
    world.post(managed, key.clone()).await?;
    pod(
        &world,
        KAS,
        "kube-apiserver-a",
        json!({"apiserver": "true", "revision": "3"}),
    )
    .await?;
    pod(
        &world,
        "kube-system",
        "vault-kms-plugin-a",
        json!({"app": "vault-kms-plugin"}),
    )
    .await?;
    world.shows(&look, &[]).await?;

    let change = |body: Value| patch(format!("{kas}/cluster"), body);
    let missing = "failed to create key: failed to get secret vault-approle in openshift-config: secrets \"vault-approle\" not found";
    let patched = world
        .server
        .call(change(
            json!({"status": {"conditions": condition(missing)}}),
        ))
        .await?;
    ensure!(patched.ok(), "{patched:?}");
    let out = world.shows(&look, &["OCP-FAULT-02"]).await?;
    ensure!(
        !out.contains("vault-approle"),
        "the name of a Secret is told: {out}"
    );
    let patched = world
        .server
        .call(change(json!({"status": {"conditions": condition("")}})))
        .await?;
    ensure!(patched.ok(), "{patched:?}");

    let plugin = "/api/v1/namespaces/kube-system/pods/vault-kms-plugin-a?gracePeriodSeconds=0";
    let deleted = world.server.call(Call::new(Method::Delete, plugin)).await?;
    ensure!(deleted.ok(), "{deleted:?}");
    let out = world.shows(&look, &["OCP-FAULT-04"]).await?;
    ensure!(out.contains("master-a.corp.example"), "{out}");
    pod(
        &world,
        "kube-system",
        "vault-kms-plugin-b",
        json!({"app": "vault-kms-plugin"}),
    )
    .await?;
    world.shows(&look, &[]).await?;

    let name = format!("{managed}/encryption-key-{KAS}-1");
    let deleted = world.server.call(Call::new(Method::Delete, &name)).await?;
    ensure!(deleted.ok(), "{deleted:?}");
    world.shows(&look, &["OCP-FAULT-27"]).await?;

    let out = world.folder.path().join("bundle");
    let mut collect = look.clone();
    "collect".clone_into(&mut collect[0]);
    collect.extend(["--out".to_owned(), out.display().to_string()]);
    let said = say(&collect).await?;
    ensure!(
        said.code == Some(1),
        "{:?} {}{}",
        said.code,
        said.out,
        said.err
    );
    let bundle = out.display().to_string();
    let said = say(["doctor", "--bundle", bundle.as_str()]).await?;
    said.found(&["OCP-FAULT-27"])?;
    let node = std::fs::read_to_string(out.join("nodes/node-2.json"));
    let cluster = std::fs::read_to_string(out.join("cluster.json"))?;
    ensure!(
        !cluster.contains("corp.example") && node.is_ok(),
        "{cluster}"
    );
    Ok(())
}

fn patch(path: String, body: Value) -> Call {
    let mut call = Call::new(Method::Patch, path).with_body(body);
    call.content_type = Some("application/merge-patch+json");
    call
}

async fn define(world: &World, group: &str, version: &str, plural: &str, kind: &str) -> Result<()> {
    let any = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    world
        .post(path, json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{group}"), "annotations": {
                "api-approved.kubernetes.io": "unapproved, a test",
            }},
            "spec": {
                "group": group, "scope": "Cluster",
                "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List")},
                "versions": [{"name": version, "served": true, "storage": true, "schema": any}],
            },
        }))
        .await?;
    let start = Instant::now();
    loop {
        let path = format!("/apis/{group}/{version}/{plural}");
        let listed = world.server.call(Call::new(Method::Get, path)).await?;
        if listed.ok() {
            return Ok(());
        }
        ensure!(
            start.elapsed() < LIMIT,
            "{plural} are not served: {listed:?}"
        );
        sleep(Duration::from_millis(200)).await;
    }
}

async fn namespace_there(world: &World, name: &str) -> Result<()> {
    let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let made = world
        .server
        .call(Call::new(Method::Post, "/api/v1/namespaces").with_body(body))
        .await?;
    ensure!(made.ok() || made.code == 409, "{made:?}");
    Ok(())
}

/// A pod on the node, running and ready, as a kubelet tells it.
async fn pod(world: &World, namespace: &str, name: &str, labels: Value) -> Result<()> {
    let path = format!("/api/v1/namespaces/{namespace}/pods");
    let start = Instant::now();
    // the namespace's service account comes by a controller that nobody runs here
    let body = json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "nodeName": "master-a.corp.example", "automountServiceAccountToken": false,
            "containers": [{"name": "main", "image": "none"}],
        },
    });
    loop {
        let made = world
            .server
            .call(Call::new(Method::Post, &path).with_body(body.clone()))
            .await?;
        if made.ok() {
            break;
        }
        ensure!(start.elapsed() < LIMIT, "{name}: {made:?}");
        let account = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        let default = json!({"metadata": {"name": "default"}});
        let _ = world
            .server
            .call(Call::new(Method::Post, account).with_body(default))
            .await?;
        sleep(Duration::from_millis(200)).await;
    }
    let status = json!({"status": {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [{
            "name": "main", "ready": true, "restartCount": 0, "image": "none", "imageID": "none",
            "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
        }],
    }});
    let told = world
        .server
        .call(patch(format!("{path}/{name}/status"), status))
        .await?;
    ensure!(told.ok(), "{name}: {told:?}");
    Ok(())
}
