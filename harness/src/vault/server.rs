//! A real server of either product on loopback: in dev mode, or on raft storage with TLS or in clear, one
//! node or three.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kms_conformance::BoxFuture;
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use super::admin::Admin;
use super::certificates::Certificates;
use super::family::{Family, version};
use super::state::{self, ANSWERS, COMES_UP, LOOK_EVERY, UNSEALED};
use super::{Breakable, Product, VaultBackend};
use crate::child::{Child, Launch, describe, log_tail};
use kms_process::dev;
use kms_process::ports::free_ports;

/// Limit for all nodes to vote, on a machine that does other things, too.
const VOTES: Duration = Duration::from_secs(60);
/// Time a node has to stop on SIGTERM before it is killed.
const STOPS: Duration = Duration::from_secs(10);

/// A running server of one or more nodes. Dropping it kills all of them.
pub struct Server {
    binary: PathBuf,
    product: Product,
    root_token: Zeroizing<String>,
    unseal_key: Zeroizing<String>,
    ca: Option<PathBuf>,
    stored: bool,
    nodes: Vec<Node>,
}

struct Node {
    name: String,
    address: String,
    launch: Launch,
    child: Option<Child>,
}

impl Server {
    /// Dev mode: plain HTTP, storage in memory, unsealed.
    pub async fn dev(family: Family, binary: &Path, folder: &Path) -> Result<Self> {
        let root_token = Zeroizing::new(format!("root-{}", uuid::Uuid::new_v4().simple()));
        let [port] = free_ports()?;
        let listen = format!("127.0.0.1:{port}");
        let token = (family.root_token_variable(), root_token.as_str());
        let launch = dev::launch(family.part(), binary, folder, &listen, token);
        let mut server = Self {
            binary: binary.to_owned(),
            product: version(binary)?,
            root_token,
            unseal_key: Zeroizing::default(),
            ca: None,
            stored: false,
            nodes: vec![Node {
                name: family.part().program.to_owned(),
                address: format!("http://127.0.0.1:{port}"),
                launch,
                child: None,
            }],
        };
        server.start_node(0).await?;
        state::wait_active(&server.admin()).await?;
        let log = server.log_of(0).to_owned();
        let printed = || std::future::ready(std::fs::read(&log).context("read the log"));
        server.unseal_key = state::printed_unseal_key(printed).await?;
        Ok(server)
    }

    /// Raft storage and TLS, `nodes` of them, initialised with one unseal key, unsealed, all voting.
    pub async fn raft(family: Family, binary: &Path, folder: &Path, nodes: usize) -> Result<Self> {
        let certificates = Certificates::create(folder)?;
        Self::cluster(family, binary, folder, nodes, Some(&certificates)).await
    }

    /// The same with plain HTTP, for whoever looks at what passes.
    pub async fn raft_in_clear(
        family: Family,
        binary: &Path,
        folder: &Path,
        nodes: usize,
    ) -> Result<Self> {
        Self::cluster(family, binary, folder, nodes, None).await
    }

    async fn cluster(
        family: Family,
        binary: &Path,
        folder: &Path,
        nodes: usize,
        certificates: Option<&Certificates>,
    ) -> Result<Self> {
        ensure!(nodes > 0, "a cluster has at least one node");
        let mut server = Self {
            binary: binary.to_owned(),
            product: version(binary)?,
            root_token: Zeroizing::default(),
            unseal_key: Zeroizing::default(),
            ca: certificates.map(|certificates| certificates.ca.clone()),
            stored: true,
            nodes: Vec::new(),
        };
        for number in 1..=nodes {
            let name = format!("{}-{number}", family.part().program);
            let node = server.raft_node(folder, &name, certificates)?;
            server.nodes.push(node);
            server.start_node(number - 1).await?;
        }
        let keys = state::init(&server.admin()).await?;
        server.unseal_key = keys.unseal_key;
        server.root_token = keys.root_token;
        server.unseal_node(0).await?;
        state::wait_active(&server.admin()).await?;
        if nodes > 1 {
            // A new node votes once it has been well for this long; the default is 10 s.
            let soon = json!({"server_stabilization_time": "1s"});
            let path = "sys/storage/raft/autopilot/configuration";
            server.admin().write(path, soon).await?;
        }
        for number in 1..nodes {
            let mut leader = json!({"leader_api_addr": server.nodes[0].address});
            if let Some(ca) = &server.ca {
                leader["leader_ca_cert"] = json!(std::fs::read_to_string(ca)?);
            }
            let joining = server.admin_of(number)?;
            joining.write("sys/storage/raft/join", leader).await?;
            server.unseal_node(number).await?;
            state::wait_health(&joining, UNSEALED).await?;
        }
        server.wait_voters(nodes).await?;
        Ok(server)
    }

    fn raft_node(
        &self,
        folder: &Path,
        name: &str,
        certificates: Option<&Certificates>,
    ) -> Result<Node> {
        let [port, cluster_port] = free_ports()?;
        let data = folder.join(format!("{name}-data"));
        std::fs::create_dir(&data).context("make the data folder")?;
        let config = folder.join(format!("{name}.json"));
        let scheme = certificates.map_or("http", |_| "https");
        let listen = Listen {
            address: format!("127.0.0.1:{port}"),
            cluster_address: format!("127.0.0.1:{cluster_port}"),
            public: format!("{scheme}://127.0.0.1:{port}"),
        };
        let settings = raft_settings(name, &data, &listen, certificates);
        std::fs::write(&config, settings.to_string()).context("write the configuration")?;
        let mut launch = Launch::new(name, &self.binary, folder);
        launch.args = vec!["server".into(), format!("-config={}", config.display())];
        Ok(Node {
            name: name.into(),
            address: listen.public,
            launch,
            child: None,
        })
    }

    /// Starts a node that is not running, and waits until it answers; on raft it is sealed then.
    pub async fn start_node(&mut self, node: usize) -> Result<()> {
        let admin = self.admin_of(node)?;
        let it = &mut self.nodes[node];
        let child = it.child.insert(Child::spawn(&it.launch)?);
        let come_up = async {
            tokio::select! {
                biased;
                up = state::wait_health(&admin, ANSWERS) => up.map(drop),
                Some(ended) = child.wait(2 * COMES_UP) => bail!("it ended with {}", describe(ended)),
            }
        };
        come_up.await.with_context(|| {
            let log = log_tail(&it.launch.log, 5);
            format!("start {}; its log ends:\n{log}", it.name)
        })
    }

    /// Stops a node by SIGTERM.
    pub async fn stop_node(&mut self, node: usize) -> Result<()> {
        if let Some(mut child) = self.nodes[node].child.take() {
            child.stop(Signal::SIGTERM, STOPS).await?;
        }
        Ok(())
    }

    /// Kills a node at once.
    pub fn kill_node(&mut self, node: usize) {
        self.nodes[node].child = None;
    }

    /// Seals a node.
    pub async fn seal_node(&self, node: usize) -> Result<()> {
        state::seal(&self.admin_of(node)?).await
    }

    /// Unseals a node.
    pub async fn unseal_node(&self, node: usize) -> Result<()> {
        state::unseal(&self.admin_of(node)?, &self.unseal_key).await
    }

    /// Number of the node that leads.
    pub async fn leader(&self) -> Result<usize> {
        let running = self.nodes.iter().enumerate();
        let running = running.filter(|(_, node)| node.child.is_some());
        let nodes: Result<Vec<_>> = running
            .map(|(number, _)| Ok((number, self.admin_of(number)?)))
            .collect();
        state::leader(&nodes?).await
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

    async fn wait_voters(&self, wanted: usize) -> Result<()> {
        let deadline = Instant::now() + VOTES;
        loop {
            let answer = self
                .admin()
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

    fn signal(&mut self, signal: Signal) -> Result<()> {
        let mut children = self.nodes.iter_mut().filter_map(|node| node.child.as_mut());
        children.try_for_each(|child| child.signal(signal))
    }
}

impl VaultBackend for Server {
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
            .expect("our own address and CA are well formed")
    }
}

impl Breakable for Server {
    fn seal(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { self.seal_node(self.leader().await?).await })
    }

    fn unseal(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            for node in 0..self.nodes.len() {
                let admin = self.admin_of(node)?;
                if state::health(&admin).await == Some(503) {
                    self.unseal_node(node).await?;
                    return state::wait_health(&admin, UNSEALED).await.map(drop);
                }
            }
            bail!("no node is sealed")
        })
    }

    fn freeze(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            self.signal(Signal::SIGSTOP)?;
            for node in &self.nodes {
                if let Some(child) = &node.child {
                    wait_stopped(child)
                        .await
                        .with_context(|| node.name.clone())?;
                }
            }
            Ok(())
        })
    }

    fn thaw(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { self.signal(Signal::SIGCONT) })
    }

    fn stop(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            for node in 0..self.nodes.len() {
                self.stop_node(node).await?;
            }
            Ok(())
        })
    }

    fn start(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            ensure!(self.stored, "a dev server starts empty");
            for node in 0..self.nodes.len() {
                self.start_node(node).await?;
                self.unseal_node(node).await?;
            }
            Ok(())
        })
    }

    fn freeze_leader(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            let leader = self.leader().await?;
            let node = &mut self.nodes[leader];
            let child = node.child.as_mut().context("the leader does not run")?;
            child.signal(Signal::SIGSTOP)?;
            wait_stopped(child).await.with_context(|| node.name.clone())
        })
    }

    fn step_down(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { state::step_down(&self.admin_of(self.leader().await?)?).await })
    }

    fn lose_leader(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            let leader = self.leader().await?;
            self.kill_node(leader);
            Ok(())
        })
    }
}

/// Waits until the last thread has stopped: until then one of them may still answer.
async fn wait_stopped(child: &Child) -> Result<()> {
    let deadline = Instant::now() + STOPS;
    let pid = Pid::from_raw(child.id().cast_signed());
    let look = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    while !matches!(waitid(Id::Pid(pid), look)?, WaitStatus::Stopped(..)) {
        ensure!(Instant::now() < deadline, "it goes on after SIGSTOP");
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// Where a node listens, and how others reach it.
pub(super) struct Listen {
    /// `host:port` of the API.
    pub address: String,
    /// `host:port` for other nodes.
    pub cluster_address: String,
    /// URL of the API for clients and other nodes.
    pub public: String,
}

/// The configuration of a node on raft storage, with TLS if there are certificates. Paths are those that the server sees.
pub(super) fn raft_settings(
    name: &str,
    data: &Path,
    listen: &Listen,
    certificates: Option<&Certificates>,
) -> Value {
    let mut listener = json!({
        "address": listen.address,
        "cluster_address": listen.cluster_address,
    });
    match certificates {
        Some(certificates) => {
            listener["tls_cert_file"] = json!(certificates.certificate);
            listener["tls_key_file"] = json!(certificates.key);
        }
        None => listener["tls_disable"] = json!(true),
    }
    json!({
        "storage": {"raft": {"path": data, "node_id": name, "performance_multiplier": 1}},
        "listener": {"tcp": listener},
        "api_addr": listen.public,
        "cluster_addr": format!("https://{}", listen.cluster_address),
        // Vault would lock its memory, which needs a right that tests do not have.
        "disable_mlock": true,
        "ui": false,
    })
}
