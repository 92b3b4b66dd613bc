//! What others say of a run, and what lies in etcd: events, logs behind a kubelet of the test's own, conditions of operators
//! as OpenShift has them. And that no right of `kms-harness rbac` is left over.

use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kms_apiserver_api::{ApiServer, Call, Method, Target};
use kms_harness::apiserver::etcd::{At, Store};
use kms_harness::child::{Child, Launch};
use kms_harness::vault::certificates::Certificates;
use kms_process::ports::free_ports;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::pods::running;
use crate::rights::{AUDIT, nothing_is_left_over};
use crate::world::{Cluster, Parts, Said, Wish, ended, until};

/// In every text of others here, and never to be seen again.
const PLANTED: &str = "planted-9f3c71d2";

const SCENARIO: &str = r#"
title = "Everything that is done to pods."
proves = ["KMS2-RT-01"]
arms = ["cluster"]

[phases]
settle = "5s"
baseline = "2s"
fault = "12s"
heal = "1s"
liveness = "5s"

[[fault]]
id = "evict"
kind = "plugin-stop"
at = "1s"

[[fault]]
id = "restart"
kind = "plugin-restart"
at = "4s"

[[fault]]
id = "cut"
kind = "net-partition"
edge = "vault"
at = "6s"
for = "3s"

[[expect]]
sometimes = "writes-ok"
"#;

/// Each object is written once, at the beginning.
const QUIET: &str = r#"
title = "Nothing happens, as far as the API shows."
proves = ["KMS2-RT-01"]
arms = ["cluster"]

[load]
writes = "0/min"
objects = 2

[phases]
settle = "5s"
baseline = "2s"
fault = "12s"
heal = "1s"
liveness = "5s"

[[expect]]
sometimes = "writes-ok"
"#;

/// Events, logs and conditions are in the history, without what is secret in them; all that was asked of the server is
/// granted, and all that is granted was asked for. A Secret that etcd holds in clear breaks a run that nothing else breaks.
pub async fn what_others_say_is_kept_and_what_etcd_holds_is_judged(parts: Parts) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (policy, audit) = (
        folder.path().join("audit.yaml"),
        folder.path().join("audit"),
    );
    std::fs::write(&policy, AUDIT)?;
    let cluster = Cluster::with(
        &parts,
        Wish {
            flags: vec![
                format!("--audit-policy-file={}", policy.display()),
                format!("--audit-log-path={}", audit.display()),
            ],
            rights: vec!["--plugin-logs=kube-system"],
            ..Wish::default()
        },
    )
    .await?;
    let log = Arc::new(Mutex::new(format!("vault is sealed {PLANTED}\n")));
    let kubelet = Kubelet::start(folder.path(), Arc::clone(&log)).await?;
    make(&cluster, "/api/v1/nodes", kubelet.node()).await?;
    running(&cluster, "default", "kms-1", "kms").await?;
    running(&cluster, "kube-system", "vault-kms-node-1", "vault-kms").await?;
    operators(&cluster).await?;
    event(&cluster, "default", "FailedMount").await?;

    let scenario = cluster.scenario("others", SCENARIO)?;
    let etcd = format!("--etcd={}", cluster.etcd.address());
    let out = cluster.path("out");
    let option = format!("--out={}", out.display());
    let words = cluster.staged(&[
        "--plugin-pods=default/app=kms",
        "--plugin-logs=kube-system/app=vault-kms",
        &etcd,
        &option,
        &scenario,
    ]);
    let run = cluster.chaos(&words).spawn()?;
    until("a run's lease", async || {
        Ok(!cluster.objects().await?.is_empty())
    })
    .await?;
    until("load", async || {
        Ok(value_of(&cluster, "n0-0000").await?.is_some())
    })
    .await?;
    for namespace in ["default", "kube-system", "kms-harness"] {
        event(&cluster, namespace, "BackOff").await?;
    }
    degrade(&cluster).await?;
    let pod = "/api/v1/namespaces/default/pods/kms-1";
    until("the pod is deleted", async || {
        Ok(cluster.server.call(Call::new(Method::Get, pod)).await?.code == 404)
    })
    .await?;
    running(&cluster, "default", "kms-2", "kms").await?;
    let said = ended(run).await?;
    ensure!(matches!(said.code, Some(0 | 3)), "{said:?}");
    ensure!(!said.out.contains("\"refused\""), "{}", said.out);
    for invariant in ["always:stored-by-provider", "always:no-plaintext-anywhere"] {
        ensure!(
            result(&said, invariant)? == "held",
            "{invariant}: {}",
            said.out
        );
    }
    let history = std::fs::read_to_string(out.join("others-cluster-1.history"))?;
    let seen: Vec<&str> = history
        .lines()
        .filter(|line| line.contains(" seen "))
        .collect();
    let with = |words: &[&str]| {
        let all = |line: &&&str| words.iter().all(|word| line.contains(word));
        seen.iter().filter(all).count()
    };
    for (words, least) in [
        (&["events of", "Warning BackOff", "vault is sealed"][..], 3),
        (&["log of", "before it was ended", "vault is sealed"], 2),
        (&["log of", "vault is sealed"], 4),
        (&["clusteroperator kube-apiserver", "Degraded=False"], 1),
        (&["clusteroperator kube-apiserver", "Degraded=True"], 1),
        (&["kubeapiserver cluster", "Degraded=False"], 1),
    ] {
        ensure!(with(words) >= least, "{words:?}: {seen:#?}");
    }
    ensure!(
        with(&["FailedMount"]) == 0,
        "said before the run: {seen:#?}"
    );
    for entry in std::fs::read_dir(&out)? {
        let path = entry?.path();
        let text = std::fs::read_to_string(&path)?;
        ensure!(!text.contains(PLANTED), "{} holds it", path.display());
    }
    nothing_is_left_over(&audit).await?;

    let said = broken(&cluster, &etcd, &log).await?;
    ensure!(
        result(&said, "always:stored-by-provider")? == "broken",
        "{}",
        said.out
    );
    ensure!(
        result(&said, "always:no-plaintext-anywhere")? == "broken",
        "{}",
        said.out
    );
    said.tells(&["1 of 2 objects; first n0-0001 begins with", "log of"])?;
    cluster.is_as_before(&cluster.policy().await?).await
}

/// A run in which one of its Secrets is put into etcd in clear, and the plugin logs another's value.
async fn broken(cluster: &Cluster, etcd: &str, log: &Mutex<String>) -> Result<Said> {
    let scenario = cluster.scenario("quiet", QUIET)?;
    let logs = "--plugin-logs=kube-system/app=vault-kms";
    let run = cluster
        .chaos(&cluster.staged(&[etcd, logs, &scenario]))
        .spawn()?;
    let mut value = None;
    until("load", async || {
        value = value_of(cluster, "n0-0000").await?;
        Ok(value.is_some() && value_of(cluster, "n0-0001").await?.is_some())
    })
    .await?;
    if let (Ok(mut log), Some(value)) = (log.lock(), value) {
        *log = format!("encrypting {value}\n");
    }
    let target = Target::secret("kms-harness", "n0-0001");
    let read = cluster.server.get(&target).await?;
    let mut clear = read.json().clone();
    let metadata = clear["metadata"].as_object_mut().context("no metadata")?;
    metadata.remove("resourceVersion");
    metadata.remove("managedFields");
    cluster
        .server
        .store(&target, Some(clear.to_string().into_bytes()))
        .await?;
    ended(run).await?.ended(1)
}

/// The result of an invariant.
fn result(said: &Said, id: &str) -> Result<String> {
    let result: Value = serde_json::from_str(&said.out).with_context(|| said.err.clone())?;
    let all = result.pointer("/scenarios/0/invariants");
    let mut all = all
        .and_then(Value::as_array)
        .context("nothing was judged")?
        .iter();
    let row = all.find(|row| row["id"] == id);
    let row = row.with_context(|| format!("no {id} in {}", said.out))?;
    Ok(row["result"].as_str().unwrap_or_default().to_owned())
}

/// What a Secret of the run holds.
async fn value_of(cluster: &Cluster, name: &str) -> Result<Option<String>> {
    let read = cluster
        .server
        .get(&Target::secret("kms-harness", name))
        .await?;
    if !read.ok() {
        return Ok(None);
    }
    let value = STANDARD.decode(read.field("/data/value"))?;
    Ok(Some(String::from_utf8(value)?))
}

async fn make(cluster: &Cluster, path: &str, object: Value) -> Result<()> {
    let call = Call::new(Method::Post, path).with_body(object);
    let made = cluster.server.call(call).await?;
    ensure!(made.ok(), "{path}: {made:?}");
    Ok(())
}

async fn event(cluster: &Cluster, namespace: &str, reason: &str) -> Result<()> {
    let event = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": "e-", "namespace": namespace},
        "involvedObject": {"kind": "Pod", "name": "kms-1", "namespace": namespace},
        "type": "Warning",
        "reason": reason,
        "message": format!("vault is sealed {PLANTED}"),
        "count": 3,
    });
    make(
        cluster,
        &format!("/api/v1/namespaces/{namespace}/events"),
        event,
    )
    .await
}

const OPERATOR: &str = "/apis/config.openshift.io/v1/clusteroperators";

fn conditions(degraded: &str) -> Value {
    json!({"conditions": [{
        "type": "Degraded", "status": degraded, "reason": PLANTED, "message": format!("vault is sealed {PLANTED}"),
    }]})
}

/// The operators' resources as OpenShift has them, and what they say.
async fn operators(cluster: &Cluster) -> Result<()> {
    for (group, plural, kind, name) in [
        (
            "config.openshift.io",
            "clusteroperators",
            "ClusterOperator",
            "kube-apiserver",
        ),
        (
            "operator.openshift.io",
            "kubeapiservers",
            "KubeAPIServer",
            "cluster",
        ),
    ] {
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {
                "name": format!("{plural}.{group}"),
                // the group is one of those that are asked for this
                "annotations": {"api-approved.kubernetes.io": "unapproved, a test"},
            },
            "spec": {
                "group": group,
                "scope": "Cluster",
                "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List")},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                }}}],
            },
        });
        let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        make(cluster, definitions, definition).await?;
        let collection = format!("/apis/{group}/v1/{plural}");
        let object = json!({
            "apiVersion": format!("{group}/v1"),
            "kind": kind,
            "metadata": {"name": name},
            "status": conditions("False"),
        });
        until("the resource is served", async || {
            let call = Call::new(Method::Post, &*collection).with_body(object.clone());
            let code = cluster.server.call(call).await?.code;
            Ok(code == 201 || code == 409)
        })
        .await?;
    }
    Ok(())
}

async fn degrade(cluster: &Cluster) -> Result<()> {
    let path = format!("{OPERATOR}/kube-apiserver");
    let read = cluster.server.call(Call::new(Method::Get, &*path)).await?;
    let mut operator = read.json().clone();
    operator["status"] = conditions("True");
    let call = Call::new(Method::Put, path).with_body(operator);
    let answer = cluster.server.call(call).await?;
    ensure!(answer.ok(), "{answer:?}");
    Ok(())
}

/// The part of a kubelet that gives logs. Dropped, it is gone.
struct Kubelet {
    port: u16,
    _serving: JoinSet<()>,
}

impl Kubelet {
    async fn start(folder: &Path, log: Arc<Mutex<String>>) -> Result<Self> {
        let files = Certificates::create(folder)?;
        let chain = CertificateDer::pem_file_iter(&files.certificate)?.collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_file(&files.key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let text = log.lock().map(|log| log.clone()).unwrap_or_default();
                // who hangs up gets nothing
                let answer = async {
                    let mut stream = BufReader::new(acceptor.accept(stream).await?);
                    let mut line = String::new();
                    while stream.read_line(&mut line).await? > 2 {
                        line.clear();
                    }
                    let head = format!(
                        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                        text.len()
                    );
                    stream.write_all((head + &text).as_bytes()).await?;
                    stream.shutdown().await
                };
                let _ = answer.await;
            }
        });
        Ok(Self {
            port,
            _serving: serving,
        })
    }

    fn node(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": "node-1"},
            "status": {
                "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": self.port}},
            },
        })
    }
}

/// An etcd that wants to see a certificate is read with one, and with none it is not.
pub async fn etcd_asks_who_looks(parts: Parts) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let files = Certificates::create(folder.path())?;
    let [port, peer] = free_ports()?;
    let (address, peer) = (
        format!("https://127.0.0.1:{port}"),
        format!("http://127.0.0.1:{peer}"),
    );
    let launch = Launch {
        args: vec![
            "--name=etcd".into(),
            format!("--data-dir={}", folder.path().join("data").display()),
            format!("--listen-client-urls={address}"),
            format!("--advertise-client-urls={address}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=etcd={peer}"),
            format!("--cert-file={}", files.certificate.display()),
            format!("--key-file={}", files.key.display()),
            format!("--trusted-ca-file={}", files.ca.display()),
            "--client-cert-auth".into(),
            "--unsafe-no-fsync".into(),
        ],
        ..Launch::new("etcd", &parts.server.etcd, folder.path())
    };
    let _etcd = Child::spawn(&launch)?;
    let known = At {
        address: address.clone(),
        ca: Some(files.ca.clone()),
        identity: Some((files.certificate.clone(), files.key.clone())),
    };
    let store = Store::reach(&known)?;
    until("etcd", async || {
        Ok(store.put("a", Some(b"b")).await.is_ok())
    })
    .await?;
    let found = store.get("a").await?.context("it is not there")?;
    ensure!(found.bytes == b"b", "{found:?}");
    let nobody = At {
        identity: None,
        ..known.clone()
    };
    ensure!(
        Store::reach(&nobody)?.get("a").await.is_err(),
        "anybody is let in"
    );
    let strange = At { ca: None, ..known };
    ensure!(
        Store::reach(&strange)?.get("a").await.is_err(),
        "any server is believed"
    );
    Ok(())
}
