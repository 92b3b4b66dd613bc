//! A real OpenBao on loopback: in dev mode, or on raft storage with TLS, one node or three.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use http::Method;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use super::admin::Admin;
use super::certificates::Certificates;
use super::{Product, VaultBackend};
use crate::child::{Child, Launch, describe, find_program, log_tail};

/// Limit for a node to answer, and for a cluster to have a leader.
const COMES_UP: Duration = Duration::from_secs(30);
/// Limit for all nodes to vote, on a machine that does other things, too.
const VOTES: Duration = Duration::from_secs(60);
/// How often a state is looked at while it is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Time a node has to stop on SIGTERM before it is killed.
const STOPS: Duration = Duration::from_secs(10);

/// The version that `ci/openbao` installs; the cache's folder carries it.
pub const CACHED: &str = "openbao-2.7.2-1";

/// Looks for a server binary as `ci/openbao --find` does: `$BAO`, `bao` on PATH, the cache.
pub fn find() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("BAO").filter(|value| !value.is_empty()) {
        let path = PathBuf::from(named);
        return find_program(&path)
            .with_context(|| format!("$BAO is {}, which is no executable file", path.display()));
    }
    if let Some(on_path) = find_program(Path::new("bao")).filter(|file| !is_script(file)) {
        return Ok(on_path);
    }
    cache_folder()
        .map(|cache| cache.join(CACHED).join("bin/bao"))
        .filter(|file| file.is_file())
        .context("no OpenBao found: set $BAO, put bao on PATH, or run ci/openbao")
}

/// Some wrapper: it needs its own HOME and PATH, and signals end it rather than the server.
fn is_script(file: &Path) -> bool {
    let mut start = [0; 2];
    std::fs::File::open(file)
        .and_then(|mut open| std::io::Read::read_exact(&mut open, &mut start))
        .is_ok_and(|()| &start == b"#!")
}

pub(crate) fn cache_folder() -> Option<PathBuf> {
    let set = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("KMS_CACHE").or_else(|| {
        let base = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?;
        Some(base.join("kms-real-parts"))
    })
}

/// A running OpenBao of one or more nodes. Dropping it kills all of them.
#[derive(Debug)]
pub struct OpenBao {
    binary: PathBuf,
    product: Product,
    root_token: Zeroizing<String>,
    unseal_key: Zeroizing<String>,
    ca: Option<PathBuf>,
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    name: String,
    address: String,
    launch: Launch,
    child: Option<Child>,
}

impl OpenBao {
    /// Dev mode: plain HTTP, storage in memory, unsealed.
    pub async fn dev(binary: &Path, folder: &Path) -> Result<Self> {
        let root_token = Zeroizing::new(format!("root-{}", uuid::Uuid::new_v4().simple()));
        let [port] = free_ports()?;
        let mut launch = launch(binary, folder, "bao");
        launch.args = vec![
            "server".into(),
            "-dev".into(),
            "-dev-no-store-token".into(),
            format!("-dev-listen-address=127.0.0.1:{port}"),
        ];
        // In the environment rather than among the arguments, where every user could read it.
        launch
            .environment
            .insert("BAO_DEV_ROOT_TOKEN_ID".into(), root_token.to_string());
        let mut bao = Self {
            binary: binary.to_owned(),
            product: version(binary)?,
            root_token,
            unseal_key: Zeroizing::default(),
            ca: None,
            nodes: vec![Node {
                name: "bao".into(),
                address: format!("http://127.0.0.1:{port}"),
                launch,
                child: None,
            }],
        };
        bao.start(0).await?;
        bao.wait_active(0).await?;
        Ok(bao)
    }

    /// Raft storage and TLS, `nodes` of them, initialised with one unseal key, unsealed, all voting.
    pub async fn raft(binary: &Path, folder: &Path, nodes: usize) -> Result<Self> {
        ensure!(nodes > 0, "a cluster has at least one node");
        let certificates = Certificates::create(folder)?;
        let mut bao = Self {
            binary: binary.to_owned(),
            product: version(binary)?,
            root_token: Zeroizing::default(),
            unseal_key: Zeroizing::default(),
            ca: Some(certificates.ca.clone()),
            nodes: Vec::new(),
        };
        for number in 1..=nodes {
            let node = bao.raft_node(folder, &format!("bao-{number}"), &certificates)?;
            bao.nodes.push(node);
            bao.start(number - 1).await?;
        }
        let answer = bao
            .admin_of(0)?
            .write(
                "sys/init",
                json!({"secret_shares": 1, "secret_threshold": 1}),
            )
            .await?;
        let secret = |pointer| {
            let value = answer.pointer(pointer).and_then(Value::as_str);
            value
                .map(|text| Zeroizing::new(text.to_owned()))
                .context("init gave no keys")
        };
        bao.unseal_key = secret("/keys/0")?;
        bao.root_token = secret("/root_token")?;
        bao.unseal(0).await?;
        bao.wait_active(0).await?;
        if nodes > 1 {
            // A new node votes once it has been well for this long; the default is 10 s.
            let soon = json!({"server_stabilization_time": "1s"});
            let path = "sys/storage/raft/autopilot/configuration";
            bao.admin_of(0)?.write(path, soon).await?;
        }
        for number in 1..nodes {
            let leader = json!({
                "leader_api_addr": bao.nodes[0].address,
                "leader_ca_cert": std::fs::read_to_string(&certificates.ca)?,
            });
            bao.admin_of(number)?
                .write("sys/storage/raft/join", leader)
                .await?;
            bao.unseal(number).await?;
            bao.wait_health(number, &[200, 429, 473]).await?;
        }
        bao.wait_voters(nodes).await?;
        Ok(bao)
    }

    fn raft_node(&self, folder: &Path, name: &str, certificates: &Certificates) -> Result<Node> {
        let [port, cluster_port] = free_ports()?;
        let data = folder.join(format!("{name}-data"));
        std::fs::create_dir(&data).context("make the data folder")?;
        let config = folder.join(format!("{name}.json"));
        let settings = json!({
            "storage": {"raft": {"path": data, "node_id": name, "performance_multiplier": 1}},
            "listener": {"tcp": {
                "address": format!("127.0.0.1:{port}"),
                "cluster_address": format!("127.0.0.1:{cluster_port}"),
                "tls_cert_file": certificates.certificate,
                "tls_key_file": certificates.key,
            }},
            "api_addr": format!("https://127.0.0.1:{port}"),
            "cluster_addr": format!("https://127.0.0.1:{cluster_port}"),
            "ui": false,
        });
        std::fs::write(&config, serde_json::to_vec_pretty(&settings)?)
            .context("write the configuration")?;
        let mut launch = launch(&self.binary, folder, name);
        launch.args = vec!["server".into(), format!("-config={}", config.display())];
        Ok(Node {
            name: name.into(),
            address: format!("https://127.0.0.1:{port}"),
            launch,
            child: None,
        })
    }

    /// Starts a node that is not running, and waits until it answers; on raft it is sealed then.
    pub async fn start(&mut self, node: usize) -> Result<()> {
        let it = &mut self.nodes[node];
        it.child = Some(Child::spawn(&it.launch)?);
        self.wait_health(node, &[200, 429, 472, 473, 501, 503])
            .await
            .map(drop)
    }

    /// Stops a node by SIGTERM, as a service manager would.
    pub async fn stop(&mut self, node: usize) -> Result<()> {
        if let Some(mut child) = self.nodes[node].child.take() {
            child.stop(Signal::SIGTERM, STOPS).await?;
        }
        Ok(())
    }

    /// Kills a node at once.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].child = None;
    }

    /// Seals one node.
    pub async fn seal(&self, node: usize) -> Result<()> {
        self.admin_of(node)?
            .call(Method::PUT, "sys/seal", Value::Null)
            .await?
            .ok()?;
        self.wait_health(node, &[503]).await.map(drop)
    }

    /// Unseals one node.
    pub async fn unseal(&self, node: usize) -> Result<()> {
        let admin = self.admin_of(node)?;
        // A node that has just been told whom to join refuses until it has the leader's answer.
        let deadline = Instant::now() + COMES_UP;
        loop {
            let answer = admin
                .call(Method::PUT, "sys/unseal", json!({"key": *self.unseal_key}))
                .await?;
            match answer.ok() {
                Ok(body) if body["sealed"] == json!(false) => return Ok(()),
                // A joining follower says `sealed` here and unseals when the leader has accepted it.
                Ok(_) => return self.wait_health(node, &[200, 429, 473]).await.map(drop),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => sleep(LOOK_EVERY).await,
            }
        }
    }

    /// Number of the node that leads.
    pub async fn leader(&self) -> Result<usize> {
        let deadline = Instant::now() + COMES_UP;
        loop {
            for (number, node) in self.nodes.iter().enumerate() {
                if node.child.is_some() && self.health(number).await == Some(200) {
                    return Ok(number);
                }
            }
            ensure!(
                Instant::now() < deadline,
                "the cluster has had no leader for {} s",
                COMES_UP.as_secs()
            );
            sleep(LOOK_EVERY).await;
        }
    }

    /// An administrator at one node.
    pub fn admin_of(&self, node: usize) -> Result<Admin> {
        Admin::new(
            &self.nodes[node].address,
            self.ca.as_deref(),
            self.root_token.clone(),
        )
    }

    /// Log file of a node.
    pub fn log_of(&self, node: usize) -> &Path {
        &self.nodes[node].launch.log
    }

    async fn health(&self, node: usize) -> Option<u16> {
        Some(
            self.admin_of(node)
                .ok()?
                .read("sys/health")
                .await
                .ok()?
                .status,
        )
    }

    async fn wait_health(&self, node: usize, wanted: &[u16]) -> Result<u16> {
        let deadline = Instant::now() + COMES_UP;
        let mut seen = None;
        while Instant::now() < deadline {
            seen = self.health(node).await;
            if let Some(status) = seen.filter(|status| wanted.contains(status)) {
                return Ok(status);
            }
            sleep(LOOK_EVERY).await;
        }
        let log = log_tail(&self.nodes[node].launch.log, 5);
        bail!(
            "{} is not in state {wanted:?} after {} s, but {seen:?}; its log ends:\n{log}",
            self.nodes[node].name,
            COMES_UP.as_secs()
        )
    }

    /// Active, and the token store answers: right after unsealing it does not yet.
    async fn wait_active(&mut self, node: usize) -> Result<()> {
        self.wait_health(node, &[200]).await?;
        let deadline = Instant::now() + COMES_UP;
        let admin = self.admin_of(node)?;
        while admin.read("auth/token/lookup-self").await?.status != 200 {
            if let Some(status) = self.nodes[node].child.as_mut().and_then(Child::exited) {
                bail!("{} ended with {}", self.nodes[node].name, describe(status));
            }
            ensure!(
                Instant::now() < deadline,
                "the root token is not accepted after {} s",
                COMES_UP.as_secs()
            );
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    async fn wait_voters(&self, wanted: usize) -> Result<()> {
        let deadline = Instant::now() + VOTES;
        loop {
            let answer = self
                .admin_of(0)?
                .read("sys/storage/raft/configuration")
                .await?
                .ok()?;
            let servers = answer
                .pointer("/data/config/servers")
                .and_then(Value::as_array);
            let voters = servers
                .into_iter()
                .flatten()
                .filter(|server| server["voter"] == json!(true))
                .count();
            if voters == wanted {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{voters} of {wanted} nodes vote after {} s",
                VOTES.as_secs()
            );
            sleep(LOOK_EVERY).await;
        }
    }
}

impl VaultBackend for OpenBao {
    fn product(&self) -> &Product {
        &self.product
    }

    fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.address.clone()).collect()
    }

    fn ca(&self) -> Option<&Path> {
        self.ca.as_deref()
    }

    fn admin(&self) -> Admin {
        self.admin_of(0)
            .expect("this address and CA served us at start")
    }
}

fn launch(binary: &Path, folder: &Path, name: &str) -> Launch {
    // The CLI half of the binary would write into the user's home.
    let home = folder.display().to_string();
    Launch {
        name: name.to_owned(),
        program: binary.to_owned(),
        args: Vec::new(),
        environment: BTreeMap::from([("HOME".to_owned(), home)]),
        log: folder.join(format!("{name}.log")),
    }
}

fn version(binary: &Path) -> Result<Product> {
    let output = std::process::Command::new(binary)
        .arg("version")
        .env_clear()
        .output()
        .with_context(|| format!("run {} version", binary.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    // `OpenBao v2.7.2 (hash), built …`
    let mut words = text.split_whitespace();
    let (Some(name), Some(version)) = (words.next(), words.next()) else {
        bail!("{} version says nothing", binary.display());
    };
    Ok(Product {
        name: name.to_lowercase(),
        version: version
            .trim_start_matches('v')
            .trim_end_matches(',')
            .to_owned(),
    })
}

/// Ports that were free a moment ago. All are held until the last one is known.
pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let held: Vec<TcpListener> = (0..N)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<Result<_, _>>()
        .context("find a free port")?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&held) {
        *port = listener.local_addr().context("find a free port")?.port();
    }
    Ok(ports)
}
