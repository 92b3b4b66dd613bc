//! README's five commands, carried out as they stand on a real API server, etcd, Vault and plugin. What only a node has is
//! played: folders of the system lie in the test's own, and the kubelet does what the manifest says.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kms_apiserver_api::{ApiServer, Target};
use kms_harness::apiserver::etcd::Etcd;
use kms_harness::apiserver::flags::Settings;
use kms_harness::apiserver::launched::{Launched, Program};
use kms_harness::child::{Child, Launch};
use kms_harness::vault::VaultBackend;
use kms_harness::vault::family::Family;
use kms_harness::vault::provision::{Access, Wanted};
use kms_harness::vault::server::Server;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::page;
use crate::world::Parts;

const HEADING: &str = "Five commands to a proven cluster";
/// Limit for a server to be ready, and for a state that comes soon on a machine that is not loaded.
const LIMIT: Duration = Duration::from_secs(180);
/// What a value begins with that the shipped configuration has written.
const PREFIX: &[u8] = b"k8s:enc:kms:v2:vault:";

/// A node and its control plane. Fields are dropped in this order.
struct Node {
    plugin: Option<Child>,
    server: Launched,
    etcd: Etcd,
    vault: Server,
    variables: Vec<(&'static str, String)>,
    /// Folders of the system, and where they lie here.
    moved: [(&'static str, PathBuf); 4],
    folder: TempDir,
}

/// Each command works, and has done what README says of it.
pub async fn commands_of_readme_are_carried_out(parts: Parts) -> Result<()> {
    let blocks = page::blocks("../../README.md", HEADING)?;
    let [once, then] = blocks.as_slice() else {
        anyhow::bail!("README, {HEADING}: {} blocks of commands", blocks.len());
    };
    let five = commands(then);
    let [deploy, enable, verify, chaos, publish] = five.as_slice() else {
        anyhow::bail!("README, {HEADING}: {} commands: {five:#?}", five.len());
    };
    let mut node = Node::before(&parts).await?;
    for command in commands(once) {
        node.run(&command).await?;
    }
    let plain = Target::secret("default", "from-before");
    let made = node.server.create(&plain, json!({"data": {}})).await?;
    ensure!(made.ok() && !node.is_encrypted(&plain).await?, "{made:?}");

    node.run(deploy).await?;
    node.kubelet().await?;
    node.run(enable).await?;
    node.writes_through_the_plugin().await?;
    let said = node.run(verify).await?;
    ensure!(said.contains("0 findings"), "{said}");
    for resource in ["secrets", "configmaps"] {
        let keys = node
            .etcd
            .store()
            .keys(&format!("/registry/{resource}/"))
            .await?;
        ensure!(!keys.is_empty(), "no {resource}");
        for key in keys {
            let value = node.etcd.store().get(&key).await?.context("it is listed")?;
            ensure!(value.bytes.starts_with(PREFIX), "{key} is stored in clear");
        }
    }
    let said = node.run(chaos).await?;
    ensure!(
        said.contains("pass") && !said.contains("not_applicable"),
        "{said}"
    );
    node.run(publish).await?;
    let page = fs::read_to_string(node.folder.path().join("public/report.html"))?;
    let text = fs::read_to_string(node.folder.path().join("report/report.json"))?;
    let report: Value = serde_json::from_str(&text)?;
    let counts = &report["profiles"][0]["counts"];
    ensure!(
        page.contains("KMS2-RT-01") && counts["pass"].as_u64() > Some(0) && counts["fail"] == 0,
        "{counts}"
    );
    Ok(())
}

/// The commands of a block, one by one: a line that ends in `\` or `&&` goes on, one that begins with `#` is none.
fn commands(block: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut command = String::new();
    for line in block.lines().filter(|line| !line.starts_with('#')) {
        command.push_str(line);
        command.push('\n');
        if !line.ends_with(['\\', '&']) {
            commands.push(std::mem::take(&mut command));
        }
    }
    commands
}

impl Node {
    /// What README says is there before.
    async fn before(parts: &Parts) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("kms-").tempdir()?;
        let place = folder.path();
        let system = place.join("etc-kubernetes");
        for name in ["manifests", "vault-kms"] {
            fs::create_dir_all(system.join(name))?;
        }
        let vault = Server::raft(Family::OpenBao, &parts.bao, place, 1).await?;
        let access = Wanted::default().create(&vault.admin(), place).await?;
        let etcd = Etcd::start(&parts.server.etcd, place).await?;
        let plain = fs::read_to_string(page::folder()?.join("encryption/1-plain.yaml"))?;
        let settings = Settings {
            etcd: etcd.address().to_owned(),
            etcd_prefix: "/registry".into(),
            encryption: Some(plain),
            reload: true,
            more: vec!["--allow-privileged=true".into()],
        };
        let program = Program::real(&parts.server.kube_apiserver);
        let server = Launched::start(&program, &settings, &place.join("server")).await?;
        server.ready(LIMIT).await?;

        let ca = vault.ca().context("it has TLS")?.to_owned();
        fs::copy(&access.password_file, system.join("vault-kms/password"))?;
        fs::copy(&ca, system.join("vault-kms/ca.crt"))?;
        kms_harness::secret_file::replace(&place.join("token"), vault.admin().token())?;
        let kubeconfig = place.join("staging.kubeconfig");
        let text = fs::read_to_string(&server.files().kubeconfig)?;
        let mut config: Value = serde_json::from_str(&text)?;
        config["contexts"][0]["name"] = "staging".into();
        config["current-context"] = "staging".into();
        kms_harness::secret_file::write(&kubeconfig, &config.to_string())?;

        let programs = place.join("programs");
        fs::create_dir(&programs)?;
        let kubectl = parts.server.kubectl.as_ref().context("no kubectl")?;
        for (name, program) in [
            ("kubectl", kubectl.as_path()),
            ("vault", &parts.bao),
            ("kms-harness", Path::new(env!("CARGO_BIN_EXE_kms-harness"))),
        ] {
            symlink(program, programs.join(name))?;
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let admin = vault.admin();
        let variables = vec![
            ("PATH", format!("{}:{path}", programs.display())),
            ("HOME", place.display().to_string()),
            ("XDG_STATE_HOME", place.join("state").display().to_string()),
            ("KUBECONFIG", kubeconfig.display().to_string()),
            ("VAULT_ADDR", vault.addresses().remove(0)),
            ("VAULT_TOKEN", admin.token().to_owned()),
            ("VAULT_CACERT", ca.display().to_string()),
        ];
        let moved = [
            (
                "/etc/kubernetes/encryption.yaml",
                server.files().encryption.clone(),
            ),
            ("/etc/kubernetes", system),
            ("/var/run/kmsplugin", place.join("kmsplugin")),
            ("/vault-kubernetes-kms", parts.plugin.to_path_buf()),
        ];
        let node = Self {
            plugin: None,
            server,
            etcd,
            vault,
            variables,
            moved,
            folder,
        };
        node.checkout(&access)?;
        Ok(node)
    }

    /// The files that README names, as an operator has filled them in.
    fn checkout(&self, access: &Access) -> Result<()> {
        let place = self.folder.path();
        let workspace = page::folder()?.join("../..");
        symlink(workspace.join("scenarios"), place.join("scenarios"))?;
        fs::create_dir_all(place.join("plugin/deploy/encryption"))?;
        for name in ["static-pod.yaml", "encryption/3-write.yaml"] {
            let text = fs::read_to_string(page::folder()?.join(name))?;
            let text = text
                .replace(
                    "https://<vault.example.com>:8200",
                    &self.vault.addresses()[0],
                )
                .replace("        - -vault-namespace=<namespace>\n", "")
                .replace("<username>", &access.username)
                .replace("<registry>", "registry.example")
                .replace("<digest>", &"0".repeat(64));
            fs::write(place.join("plugin/deploy").join(name), self.here(&text))?;
        }
        Ok(())
    }

    /// A text with folders of the system where they lie here.
    fn here(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (system, here) in &self.moved[..3] {
            text = text.replace(system, &here.display().to_string());
        }
        text
    }

    async fn run(&self, command: &str) -> Result<String> {
        page::run(&self.here(command), self.folder.path(), &self.variables).await
    }

    /// Starts what lies in the folder of manifests: volumes first, then the command with their paths.
    async fn kubelet(&mut self) -> Result<()> {
        let manifest = self.moved[1].1.join("manifests/vault-kms-plugin.yaml");
        let read = format!(
            "kubectl create --dry-run=server -o json -f {}",
            manifest.display()
        );
        let pod: Value = serde_json::from_str(&self.run(&read).await?)?;
        let container = &pod["spec"]["containers"][0];
        let list = |at: &Value| at.as_array().cloned().unwrap_or_default();
        let text = |at: &Value| at.as_str().unwrap_or_default().to_owned();
        let mut mounts = Vec::new();
        for volume in list(&pod["spec"]["volumes"]) {
            let host = text(&volume["hostPath"]["path"]);
            match volume["hostPath"]["type"].as_str() {
                Some("DirectoryOrCreate") => fs::create_dir_all(&host)?,
                Some("Directory") => ensure!(Path::new(&host).is_dir(), "no folder {host}"),
                other => anyhow::bail!("a volume of type {other:?}"),
            }
            let inside = list(&container["volumeMounts"]);
            let inside = inside.iter().find(|it| it["name"] == volume["name"]);
            mounts.push((
                text(&inside.context("it is not mounted")?["mountPath"]),
                host,
            ));
        }
        let mut words = list(&container["command"]);
        words.extend(list(&container["args"]));
        let mut words = words.iter().map(|word| {
            let mut word = text(word);
            for (inside, host) in &mounts {
                // a path in the container, not the folder of the node that it may look like
                if !word.contains(host) {
                    word = word.replace(inside, host);
                }
            }
            word
        });
        let (name, program) = &self.moved[3];
        ensure!(
            words.next().as_deref() == Some(*name),
            "another program: {container}"
        );
        let launch = Launch {
            args: words.collect(),
            ..Launch::new("plugin", program, self.folder.path())
        };
        let plugin = self.plugin.insert(Child::spawn(&launch)?);
        let socket = self.moved[2].1.join("kms.sock");
        let start = Instant::now();
        while !socket.exists() {
            plugin.must_run()?;
            ensure!(
                start.elapsed() < LIMIT,
                "no socket: {}",
                plugin.last_words()
            );
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    async fn is_encrypted(&self, target: &Target) -> Result<bool> {
        let stored = self
            .server
            .stored(target)
            .await?
            .context("nothing stored")?;
        Ok(stored.bytes.starts_with(PREFIX))
    }

    /// Waits until what is new is stored so: the server takes a changed configuration up in its own time.
    async fn writes_through_the_plugin(&self) -> Result<()> {
        let start = Instant::now();
        let probe = Target::secret("default", "probe");
        loop {
            let made = self.server.create(&probe, json!({"data": {}})).await?;
            ensure!(made.ok(), "{made:?}");
            if self.is_encrypted(&probe).await? {
                return Ok(());
            }
            self.server.delete(&probe).await?;
            ensure!(start.elapsed() < LIMIT, "new Secrets are stored in clear");
            sleep(Duration::from_millis(500)).await;
        }
    }
}
