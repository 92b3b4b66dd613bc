//! A staging cluster: store, API server, relay, plugin, Vault, and the service account of `kms-harness rbac`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kms_apiserver_api::{ApiServer, Call, Method};
use kms_harness::apiserver::etcd::Etcd;
use kms_harness::apiserver::flags::Settings;
use kms_harness::apiserver::launched::{Launched, Program};
use kms_harness::apiserver::parts;
use kms_harness::child::{Child, Launch};
use kms_harness::subject::own::{self, Vocabulary};
use kms_harness::subject::running::Running;
use kms_harness::subject::{place, values};
use kms_harness::vault::VaultBackend;
use kms_harness::vault::admin::Admin;
use kms_harness::vault::family::Family;
use kms_harness::vault::provision::{Access, Wanted};
use kms_harness::vault::server::Server;
use kms_process::ports::free_ports;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use crate::programs;

/// Limit for a server to be ready: many start at once on few cores.
const READY: Duration = Duration::from_secs(240);
/// Limit for a state that comes soon on a machine that is not loaded.
pub const SOON: Duration = Duration::from_secs(120);
/// Starts its words again whenever they end, as a kubelet does, if not as slowly.
const SUPERVISOR: &str = "while :; do \"$@\"; sleep 0.2; done";
/// The mark's value of the relays' token.
const RELAY_TOKEN: &str = "relay-token-of-the-test";

/// The real parts of this tier.
#[derive(Clone)]
pub struct Parts {
    pub server: parts::Parts,
    pub plugin: Arc<PathBuf>,
    pub bao: PathBuf,
}

impl Parts {
    /// Finds the servers, and builds the plugin alone where they are there.
    pub fn find() -> Result<Self, String> {
        let why = |error: anyhow::Error| format!("{error:#}");
        let server = parts::Parts::find().map_err(why)?;
        let bao = Family::OpenBao.part().find().map_err(why)?;
        let build = async {
            let workspace = own::workspace().context("the checkout with the plugin is gone")?;
            own::build(&workspace).await
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime starts");
        match runtime.block_on(build) {
            Ok(plugin) => Ok(Self {
                server,
                plugin: Arc::new(plugin),
                bao,
            }),
            Err(error) => panic!("{error:#}"),
        }
    }
}

/// What a test wants besides.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// The plugin is a process with an executable of its own, which a supervisor starts again, and its relay may break it.
    pub supervised: bool,
    /// More flags of the API server.
    pub flags: Vec<String>,
    /// More words of `kms-harness rbac`.
    pub rights: Vec<&'static str>,
}

/// All of it. Fields are dropped in this order: first the server, then what it leans on.
pub struct Cluster {
    pub server: Launched,
    pub etcd: Etcd,
    _relay: Child,
    pub relay: String,
    _plugin: Running,
    pub access: Access,
    pub vault: Server,
    pub folder: TempDir,
}

impl Cluster {
    /// A cluster whose staging key is marked, with the service account's kubeconfig.
    pub async fn start(parts: &Parts) -> Result<Self> {
        Self::with(parts, Wish::default()).await
    }

    /// The same with more.
    pub async fn with(parts: &Parts, wish: Wish) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("kms-").tempdir()?;
        let vault = Server::dev(Family::OpenBao, &parts.bao, folder.path()).await?;
        let access = Wanted::default()
            .create(&vault.admin(), folder.path())
            .await?;
        let mark = format!("transit/keys/{}-kms-harness-staging", access.key);
        vault.admin().write(&mark, Value::Null).await?;

        let [to_vault, control] = free_ports()?;
        let relay_token = folder.path().join("relay-token");
        std::fs::write(&relay_token, RELAY_TOKEN)?;
        let front = folder.path().join("front.sock");
        let mut given = values(&vault, &access, folder.path());
        place(&mut given, &folder.path().join("plugin"))?;
        let address = vault.addresses().remove(0);
        let mut launch = Launch {
            args: vec![
                "relay".into(),
                format!("--listen=127.0.0.1:{to_vault}"),
                format!("--vault={address}"),
                format!("--socket=unix://{}", front.display()),
                format!("--plugin-socket=unix://{}", given["socket"]),
                format!("--control=127.0.0.1:{control}"),
                format!("--control-token-path={}", relay_token.display()),
            ],
            ..Launch::new(
                "relay",
                Path::new(env!("CARGO_BIN_EXE_kms-harness")),
                folder.path(),
            )
        };
        let mut executable = parts.plugin.as_ref().clone();
        if wish.supervised {
            // Others run the same binary; this one is nobody else's.
            executable = folder.path().join("the-plugin");
            programs::copied(&parts.plugin, &executable, "")?;
            let named = format!("--plugin-executable={}", executable.display());
            launch.args.extend([named, "--allow-node-faults".into()]);
        }
        let relay = Child::spawn(&launch)?;
        until("the relay's socket", async || Ok(front.exists())).await?;

        given.insert("vault", format!("http://127.0.0.1:{to_vault}"));
        let subject = own::describe(&executable, Vocabulary::Sidecar, &given);
        let mut subject = own::with_metrics(subject);
        if wish.supervised {
            let words = ["sh", "-c", SUPERVISOR, "supervisor"];
            let words = words.map(str::parse).into_iter();
            let words = words.collect::<Result<Vec<_>>>()?;
            subject.command.splice(0..0, words);
        }
        let log = folder.path().join("plugin.log");
        let plugin = Running::start(subject, given, log).await?;

        let etcd = Etcd::start(&parts.server.etcd, folder.path()).await?;
        let settings = Settings {
            etcd: etcd.address().to_owned(),
            etcd_prefix: "/registry".into(),
            encryption: Some(encryption(&front)),
            reload: true,
            more: wish.flags,
        };
        let program = Program::real(&parts.server.kube_apiserver);
        let server = Launched::start(&program, &settings, &folder.path().join("server")).await?;
        server.ready(READY).await?;
        let cluster = Self {
            server,
            etcd,
            _relay: relay,
            relay: format!("http://127.0.0.1:{control}"),
            _plugin: plugin,
            access,
            vault,
            folder,
        };
        cluster.apply_rights(&wish.rights).await?;
        Ok(cluster)
    }

    /// Makes what `kms-harness rbac` prints, and a kubeconfig of that service account.
    async fn apply_rights(&self, more: &[&str]) -> Result<()> {
        let printed = Command::new(env!("CARGO_BIN_EXE_kms-harness"))
            .args(["rbac", "--format=json", "--plugin-pods=default"])
            .args(more)
            .output()
            .await?;
        ensure!(printed.status.success(), "rbac: {printed:?}");
        let list: Value = serde_json::from_slice(&printed.stdout)?;
        for object in list["items"].as_array().context("no list")? {
            let made = self.create(object).await?;
            ensure!(made == 201, "{made}: {object}");
        }
        let path = "/api/v1/namespaces/kms-harness/serviceaccounts/kms-harness/token";
        let wanted = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 7200},
        });
        let call = Call::new(Method::Post, path).with_body(wanted);
        let answer = self.server.call(call).await?;
        ensure!(answer.ok(), "a token: {answer:?}");
        let token = answer.field("/status/token").to_owned();
        self.kubeconfig("staging", |config| {
            config["users"][0]["user"] = json!({"token": token});
        })?;
        Ok(())
    }

    /// Creates an object of any of the kinds that manifests here have; the code.
    pub async fn create(&self, object: &Value) -> Result<u16> {
        Ok(self.send(object, "").await?.0)
    }

    /// The same with a query; code and message.
    pub async fn send(&self, object: &Value, query: &str) -> Result<(u16, String)> {
        let version = object["apiVersion"].as_str().context("no apiVersion")?;
        let kind = object["kind"].as_str().context("no kind")?;
        let group = if version == "v1" {
            "/api/v1".to_owned()
        } else {
            format!("/apis/{version}")
        };
        let plural = format!("{}s", kind.to_lowercase());
        let place = match object["metadata"]["namespace"].as_str() {
            Some(namespace) => format!("{group}/namespaces/{namespace}/{plural}{query}"),
            None => format!("{group}/{plural}{query}"),
        };
        let call = Call::new(Method::Post, place).with_body(object.clone());
        let answer = self.server.call(call).await?;
        Ok((answer.code, answer.message().to_owned()))
    }

    /// A kubeconfig of the administrator, after `change`, whose context is `staging`.
    pub fn kubeconfig(&self, name: &str, change: impl FnOnce(&mut Value)) -> Result<PathBuf> {
        let text = std::fs::read_to_string(&self.server.files().kubeconfig)?;
        let mut config: Value = serde_json::from_str(&text)?;
        config["contexts"][0]["name"] = "staging".into();
        config["current-context"] = "staging".into();
        change(&mut config);
        let file = self.path(&format!("{name}.kubeconfig"));
        std::fs::write(&file, config.to_string())?;
        Ok(file)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where undo files lie.
    pub fn undo(&self) -> PathBuf {
        self.path("undo")
    }

    pub fn vault_address(&self) -> String {
        self.vault.addresses().remove(0)
    }

    pub fn admin(&self) -> Admin {
        self.vault.admin()
    }

    /// `chaos --arm cluster` on it, in the words of an operator.
    pub fn chaos(&self, more: &[&str]) -> Command {
        let admin = self.admin();
        let mut command = Command::new(env!("CARGO_BIN_EXE_kms-harness"));
        let vault = self.vault.addresses().remove(0);
        let path = |option: &str, path: PathBuf| format!("--{option}={}", path.display());
        command
            .args(["chaos", "--arm=cluster", "--format=json"])
            .arg(path("kubeconfig", self.path("staging.kubeconfig")))
            .arg(path("undo", self.undo()))
            .arg(format!("--vault={vault}"))
            .env("VAULT_TOKEN", admin.token())
            .env_remove("VAULT_CACERT")
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// What every run here says besides.
    pub fn staged<'a>(&self, more: &[&'a str]) -> Vec<&'a str> {
        let mut words = vec!["--staging=staging", "--staging-vault-key=transit/kms-key"];
        words.extend(more);
        words
    }

    /// Options of the relay.
    pub fn relayed(&self) -> [String; 2] {
        [
            format!("--relay={}", self.relay),
            format!("--relay-token-path={}", self.path("relay-token").display()),
        ]
    }

    /// A scenario of the test's own.
    pub fn scenario(&self, id: &str, text: &str) -> Result<String> {
        let file = self.path(&format!("{id}.toml"));
        std::fs::write(&file, format!("id = \"{id}\"\n{text}"))?;
        Ok(file.display().to_string())
    }

    /// The text of the plugin's policy.
    pub async fn policy(&self) -> Result<String> {
        let path = format!("sys/policies/acl/{}", self.access.policy);
        let policy = self.admin().read(&path).await?.ok()?;
        let text = policy.pointer("/data/policy").and_then(Value::as_str);
        Ok(text.unwrap_or_default().to_owned())
    }

    /// Names of what lies in the harness's namespaces, and its leases.
    pub async fn objects(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for path in [
            "/api/v1/namespaces/kms-harness/secrets",
            "/api/v1/namespaces/kms-harness/configmaps",
            "/api/v1/namespaces/kms-harness-beside/secrets",
            "/api/v1/namespaces/kms-harness-beside/configmaps",
            "/apis/coordination.k8s.io/v1/namespaces/kms-harness/leases",
        ] {
            let list = self.server.call(Call::new(Method::Get, path)).await?;
            ensure!(list.ok(), "{path}: {list:?}");
            let found = list.items().iter().map(|object| {
                let name = object["metadata"]["name"].as_str();
                format!("{path}/{}", name.unwrap_or_default())
            });
            names.extend(found);
        }
        Ok(names)
    }

    /// Nothing of any run is left: objects, lease, undo files, and the policy is as it was.
    pub async fn is_as_before(&self, policy: &str) -> Result<()> {
        let objects = self.objects().await?;
        ensure!(objects.is_empty(), "left: {objects:?}");
        let files = self.undo_files()?;
        ensure!(files.is_empty(), "undo files are left: {files:?}");
        let now = self.policy().await?;
        ensure!(now == policy, "the policy is {now:?}");
        Ok(())
    }

    pub fn undo_files(&self) -> Result<Vec<String>> {
        let Ok(entries) = std::fs::read_dir(self.undo()) else {
            return Ok(Vec::new());
        };
        let mut texts = Vec::new();
        for entry in entries {
            texts.push(std::fs::read_to_string(entry?.path())?);
        }
        Ok(texts)
    }
}

fn encryption(socket: &Path) -> String {
    format!(
        "kind: EncryptionConfiguration
apiVersion: apiserver.config.k8s.io/v1
resources:
  - resources: [secrets, configmaps]
    providers:
      - kms: {{apiVersion: v2, name: vault-kms, endpoint: \"unix://{}\", timeout: 3s}}
      - identity: {{}}
",
        socket.display()
    )
}

/// What a run said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Said {
    pub async fn of(mut command: Command) -> Result<Self> {
        let output = command.output().await?;
        Self::output(&output)
    }

    pub fn output(output: &std::process::Output) -> Result<Self> {
        Ok(Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout.clone())?,
            err: String::from_utf8(output.stderr.clone())?,
        })
    }

    pub fn ended(self, code: i32) -> Result<Self> {
        ensure!(
            self.code == Some(code),
            "ended with {:?}, not {code}: {}{}",
            self.code,
            self.err,
            self.out
        );
        Ok(self)
    }

    pub fn tells(&self, words: &[&str]) -> Result<()> {
        for word in words {
            let told = self.err.contains(word) || self.out.contains(word);
            ensure!(told, "no {word:?} in {}{}", self.err, self.out);
        }
        Ok(())
    }
}

/// Sends a signal to a run.
pub fn signal(run: &tokio::process::Child, signal: Signal) -> Result<()> {
    let id = run.id().context("it ended")?;
    Ok(kill(Pid::from_raw(i32::try_from(id)?), signal)?)
}

/// Waits for a run's end, which must come soon.
pub async fn ended(run: tokio::process::Child) -> Result<Said> {
    let output = timeout(SOON, run.wait_with_output()).await;
    let output = output.with_context(|| format!("it runs on after {} s", SOON.as_secs()))??;
    Said::output(&output)
}

/// Waits for a state.
pub async fn until(what: &str, mut seen: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !seen().await? {
        ensure!(
            start.elapsed() < SOON,
            "{what}: not after {} s",
            SOON.as_secs()
        );
        sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}
