//! `run --apiserver KUBECONFIG --socket URL` on a server that runs already, and every way in which that can go wrong.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kms_apiserver_api::{ApiServer, Call, ListOptions, Method, Resource};
use kms_harness::apiserver::etcd::Etcd;
use kms_harness::apiserver::launched::{Launched, Program};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::world::{IDENTITY, PROVIDER, Parts, READY, configuration, kms, settings};

/// Limit for what takes moments on a machine that is not loaded.
const SOON: Duration = Duration::from_secs(120);

/// A cluster: a server that runs before the harness comes. Fields are dropped in this order.
struct Running {
    server: Launched,
    _etcd: Etcd,
    folder: TempDir,
}

impl Running {
    /// One whose configuration names [`Self::socket`] for these resources, or one without any.
    async fn start(parts: &Parts, encrypts: Option<&str>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("kms-").tempdir()?;
        let etcd = Etcd::start(&parts.server.etcd, folder.path()).await?;
        let socket = folder.path().join("cluster.sock");
        let providers = [kms(PROVIDER, &socket), IDENTITY.to_owned()];
        let text = encrypts.map(|resources| configuration(resources, &providers));
        let settings = settings(&etcd, text);
        let program = Program::real(&parts.server.kube_apiserver);
        let server = Launched::start(&program, &settings, &folder.path().join("server")).await?;
        if encrypts.is_none() {
            server.ready(READY).await?;
        }
        Ok(Self {
            server,
            _etcd: etcd,
            folder,
        })
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("cluster.sock")
    }

    /// A kubeconfig that names the server, after `change`.
    fn kubeconfig(&self, name: &str, change: impl FnOnce(&mut Value)) -> Result<PathBuf> {
        let text = std::fs::read_to_string(&self.server.files().kubeconfig)?;
        let mut config: Value = serde_json::from_str(&text)?;
        change(&mut config);
        let file = self.folder.path().join(format!("{name}.kubeconfig"));
        std::fs::write(&file, config.to_string())?;
        Ok(file)
    }

    /// The same for somebody else, by impersonation.
    fn kubeconfig_of(&self, user: &str) -> Result<PathBuf> {
        self.kubeconfig(user, |config| {
            config["users"][0]["user"]["as"] = user.into()
        })
    }

    fn command(&self, parts: &Parts, kubeconfig: &Path, out: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kms-harness"));
        command
            .args(["run", "--format", "json", "--scenarios", "none", "--plugin"])
            .arg(&*parts.plugin)
            .arg("--apiserver")
            .arg(kubeconfig)
            .arg("--socket")
            .arg(format!("unix://{}", self.socket().display()))
            .arg("--out")
            .arg(self.folder.path().join(out))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    async fn run(&self, parts: &Parts, kubeconfig: &Path, out: &str) -> Result<Said> {
        let output = self.command(parts, kubeconfig, out).output().await?;
        Ok(Said {
            code: output.status.code(),
            report: serde_json::from_slice(&output.stdout).unwrap_or_default(),
            err: String::from_utf8(output.stderr)?,
        })
    }

    /// Namespaces of runs. Here nobody finishes their deletion, so they stay and say that they go.
    async fn namespaces(&self) -> Result<Vec<Value>> {
        let listed = self
            .server
            .list(Resource::Namespaces, ListOptions::default())
            .await?;
        ensure!(listed.ok(), "{listed:?}");
        let ours = listed.items().iter().filter(|one| {
            let name = one["metadata"]["name"].as_str();
            name.is_some_and(|name| name.starts_with("kms-harness-"))
        });
        Ok(ours.cloned().collect())
    }

    /// So many runs made a namespace here, and nothing of them is left that the harness can take away.
    async fn is_clear_after(&self, runs: usize) -> Result<()> {
        let namespaces = self.namespaces().await?;
        ensure!(namespaces.len() == runs, "{namespaces:?}");
        for namespace in &namespaces {
            ensure!(
                namespace["metadata"]["deletionTimestamp"].is_string(),
                "{namespace}"
            );
            let name = namespace["metadata"]["name"].as_str().map(str::to_owned);
            let options = ListOptions {
                namespace: name,
                ..ListOptions::default()
            };
            let secrets = self.server.list(Resource::Secrets, options).await?;
            ensure!(secrets.ok() && secrets.items().is_empty(), "{secrets:?}");
        }
        ensure!(!self.socket().exists(), "the socket is left");
        Ok(())
    }
}

struct Said {
    code: Option<i32>,
    report: Value,
    err: String,
}

impl Said {
    fn ended(self, code: i32) -> Result<Self> {
        ensure!(self.code == Some(code), "{:?}: {}", self.code, self.err);
        Ok(self)
    }

    fn tells(&self, words: &[&str]) -> Result<()> {
        for word in words {
            ensure!(self.err.contains(word), "no {word:?} in {}", self.err);
        }
        Ok(())
    }

    /// Requirement, status and explanation of what the passage showed.
    fn passage(&self) -> Vec<(&str, &str, &str)> {
        let rows = self.report["requirements"].as_array().into_iter().flatten();
        rows.flat_map(|row| {
            let checks = row["checks"].as_array().into_iter().flatten();
            checks
                .filter(|check| check["checkId"] == "through-an-apiserver")
                .map(|check| {
                    (
                        row["id"].as_str().unwrap_or_default(),
                        check["status"].as_str().unwrap_or_default(),
                        check["explanation"].as_str().unwrap_or_default(),
                    )
                })
        })
        .collect()
    }
}

/// The cluster's server was there before the plugin, finds it, and its Secrets outlive a rotation.
pub async fn a_running_cluster_uses_the_plugin(parts: Parts) -> Result<()> {
    let cluster = Running::start(&parts, Some("secrets")).await?;
    let kubeconfig = cluster.server.files().kubeconfig.clone();
    let said = cluster.run(&parts, &kubeconfig, "out").await?.ended(0)?;
    let seen: Vec<_> = said.passage().iter().map(|row| (row.0, row.1)).collect();
    let expected = [
        ("KMS2-ROT-01", "pass"),
        ("KMS2-ROT-03", "not_applicable"),
        ("KMS2-RT-01", "pass"),
        ("KMS2-RT-02", "not_applicable"),
    ];
    ensure!(seen == expected, "{:?}", said.passage());
    let version = &said.report["environment"]["kubernetes"]["version"];
    ensure!(
        version.as_str().is_some_and(|text| text.starts_with("v1.")),
        "{version}"
    );
    let history = std::fs::read_to_string(cluster.folder.path().join("out/history.jsonl"))?;
    for kind in ["status-calls", "encrypt-calls"] {
        ensure!(history.contains(kind), "no {kind} in the transcript");
    }
    cluster.is_clear_after(1).await
}

/// A signal in the middle takes everything away again.
pub async fn an_interrupted_run_leaves_nothing_in_it(parts: Parts) -> Result<()> {
    let cluster = Running::start(&parts, None).await?;
    let kubeconfig = cluster.server.files().kubeconfig.clone();
    let run = cluster.command(&parts, &kubeconfig, "broken-off").spawn()?;
    let start = Instant::now();
    while cluster.namespaces().await?.is_empty() {
        ensure!(start.elapsed() < SOON, "no namespace was made");
        sleep(Duration::from_millis(100)).await;
    }
    let id = run.id().context("it ended")?;
    kill(Pid::from_raw(i32::try_from(id)?), Signal::SIGINT)?;
    let output = run.wait_with_output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(130),
        "{}: {said}",
        output.status
    );
    cluster.is_clear_after(1).await
}

/// A cluster that never calls the socket: undecided, and told what to change.
pub async fn one_that_calls_nobody_shows_nothing(parts: Parts) -> Result<()> {
    let cluster = Running::start(&parts, None).await?;
    let kubeconfig = cluster.server.files().kubeconfig.clone();
    let said = cluster.run(&parts, &kubeconfig, "unused").await?.ended(3)?;
    let socket = format!("unix://{}", cluster.socket().display());
    let name = kubeconfig.display().to_string();
    said.tells(&[&socket, &name, "EncryptionConfiguration", "start it again"])?;
    let rows = said.passage();
    for (id, status, explanation) in &rows {
        let expected = match *id {
            "KMS2-RT-01" | "KMS2-ROT-01" => ("inconclusive", socket.as_str()),
            _ => ("not_applicable", "restart"),
        };
        ensure!(
            *status == expected.0 && explanation.contains(expected.1),
            "{rows:?}"
        );
    }
    ensure!(rows.len() == 4, "{rows:?}");
    cluster.is_clear_after(1).await
}

/// It calls the plugin for other things, and reads back every Secret that it keeps in clear.
pub async fn one_that_keeps_secrets_in_clear_shows_nothing(parts: Parts) -> Result<()> {
    let cluster = Running::start(&parts, Some("configmaps")).await?;
    let kubeconfig = cluster.server.files().kubeconfig.clone();
    let said = cluster.run(&parts, &kubeconfig, "clear").await?.ended(3)?;
    let rows = said.passage();
    let undecided = rows.iter().filter(|(_, status, explanation)| {
        *status == "inconclusive" && explanation.contains("did not become stale")
    });
    ensure!(undecided.count() == 2, "{rows:?}");
    cluster.is_clear_after(1).await
}

/// Who may not do what a run does is told so at once, with what is missing; nothing is made in the cluster then.
pub async fn what_a_user_may_not_do_is_said(parts: Parts) -> Result<()> {
    let cluster = Running::start(&parts, None).await?;
    let all = [
        "create namespaces",
        "delete namespaces",
        "create secrets",
        "get secrets",
        "list secrets",
        "update secrets",
        "delete secrets",
    ];
    let nobody = cluster.kubeconfig_of("nobody")?;
    let name = nobody.display().to_string();
    let said = cluster.run(&parts, &nobody, "nobody").await?.ended(3)?;
    said.tells(&all)?;
    said.tells(&[&name])?;

    may_read(&cluster.server, "reader").await?;
    let reader = cluster.kubeconfig_of("reader")?;
    let said = cluster.run(&parts, &reader, "reader").await?.ended(3)?;
    said.tells(&["create namespaces", "update secrets"])?;
    ensure!(!said.err.contains("get secrets"), "{}", said.err);

    let unknown = cluster.kubeconfig("unknown", |config| {
        config["users"][0]["user"]["token"] = "not-a-token".into();
    })?;
    let said = cluster.run(&parts, &unknown, "unknown").await?.ended(3)?;
    said.tells(&["refuses this user", "valid credentials"])?;

    let nowhere = cluster.kubeconfig("nowhere", |config| {
        config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9".into();
    })?;
    let name = nowhere.display().to_string();
    let said = cluster.run(&parts, &nowhere, "nowhere").await?.ended(3)?;
    said.tells(&["reach the cluster", "start its API server", &name])?;
    cluster.is_clear_after(0).await
}

/// Lets a user read everything, and waits until the server knows it.
async fn may_read(server: &Launched, user: &str) -> Result<()> {
    let group = "/apis/rbac.authorization.k8s.io/v1";
    let role = json!({
        "metadata": {"name": user},
        "rules": [{"apiGroups": [""], "resources": ["*"], "verbs": ["get", "list", "watch"]}],
    });
    let binding = json!({
        "metadata": {"name": user},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    });
    for (kind, object) in [("clusterroles", role), ("clusterrolebindings", binding)] {
        let call = Call::new(Method::Post, format!("{group}/{kind}")).with_body(object);
        let made = server.call(call).await?;
        ensure!(made.ok(), "{kind}: {made:?}");
    }
    let start = Instant::now();
    loop {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": user, "resourceAttributes": {"verb": "get", "resource": "secrets"}},
        });
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let answer = server
            .call(Call::new(Method::Post, path).with_body(review))
            .await?;
        if answer.json()["status"]["allowed"] == true {
            return Ok(());
        }
        ensure!(start.elapsed() < SOON, "{user} may not read: {answer:?}");
        sleep(Duration::from_millis(200)).await;
    }
}
