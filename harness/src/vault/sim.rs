//! The built-in Vault: sim-vault on loopback ports, each node in a thread of its own, so that it and
//! the suite do not wait for each other any more than a server's process would. Its HTTP is
//! sim-vault's own, or wiremock's.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use kms_conformance::BoxFuture;
use sim_vault::{Action, Fault, FaultId, Flavour, FrozenLeader, Leader, Node, Options, SimVault};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use wiremock::MockServer;
use zeroize::Zeroizing;

use super::admin::Admin;
use super::state::{self, COMES_UP, LOOK_EVERY};
use super::{Breakable, Product, VaultBackend};

/// How long a simulated cluster is without a leader: inside what the real ones were seen to take.
const ELECTION: Duration = Duration::from_secs(2);

/// Who speaks HTTP for the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// sim-vault's own server.
    Own,
    /// A wiremock server, as people have it in their tests.
    Wiremock,
}

/// A running simulation. Dropping it ends its threads.
pub struct Sim {
    product: Product,
    root_token: Zeroizing<String>,
    unseal_key: Zeroizing<String>,
    front: Front,
    nodes: Vec<SimNode>,
    held: Option<FaultId>,
    frozen: Option<FrozenLeader>,
    election: JoinSet<()>,
}

struct SimNode {
    vault: SimVault,
    address: SocketAddr,
    serving: Option<Serving>,
}

/// What serves until it is dropped: a [`Thread`] of ours, or wiremock's server.
type Serving = Box<dyn Send + Sync>;

struct Thread {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sim {
    /// Starts a fresh server whose randomness comes from `seed`.
    pub async fn start(seed: u64, flavour: Flavour, front: Front) -> Result<Self> {
        Self::cluster(seed, flavour, front, 1).await
    }

    /// The same with several nodes, of which the first leads.
    pub async fn cluster(seed: u64, flavour: Flavour, front: Front, nodes: usize) -> Result<Self> {
        ensure!(nodes > 0, "a cluster has at least one node");
        let root_token = Zeroizing::new(format!("root-{}", uuid::Uuid::new_v4().simple()));
        let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let vault = SimVault::new(Options {
            flavour,
            root_token: root_token.to_string(),
            seed,
            start_unix: u64::try_from(Timestamp::now().as_second())
                .context("read the wall clock")?,
            api_addr: format!("http://{address}"),
            ..Options::default()
        });
        let unseal_key = vault.core(|core| core.unseal_keys().remove(0));
        let mut sim = Self {
            product: Product {
                name: "sim-vault".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            root_token,
            unseal_key: Zeroizing::new(unseal_key),
            front,
            nodes: Vec::new(),
            held: None,
            frozen: None,
            election: JoinSet::new(),
        };
        let standby = Node {
            standby: true,
            settled: true,
            ..Node::default()
        };
        let mut listener = Some(listener);
        for _ in 0..nodes {
            let (vault, listener) = match listener.take() {
                Some(listener) => (vault.clone(), listener),
                None => (
                    vault.join(standby.clone()),
                    listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?,
                ),
            };
            sim.nodes.push(SimNode {
                address: listener.local_addr()?,
                serving: Some(serve(front, &vault, listener).await?),
                vault,
            });
        }
        Ok(sim)
    }

    /// The models of its nodes, for what no request can do.
    #[must_use]
    pub fn models(&self) -> Vec<SimVault> {
        self.nodes.iter().map(|node| node.vault.clone()).collect()
    }

    /// After an election, this node leads the others.
    fn elect(&mut self, nodes: Vec<SimVault>, leader: usize) {
        self.election.spawn(async move {
            sleep(ELECTION).await;
            for (number, node) in nodes.iter().enumerate() {
                node.set_node(|node| {
                    node.standby = number != leader;
                    node.leader = Leader::Alive;
                });
            }
        });
    }

    /// Number of the node that leads, among those that run.
    async fn leader(&self) -> Result<usize> {
        let running = self.nodes.iter().enumerate();
        let running = running.filter(|(_, node)| node.serving.is_some());
        let nodes: Vec<_> = running
            .map(|(number, node)| (number, node.admin(&self.root_token)))
            .collect();
        state::leader(&nodes).await
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).with_context(|| format!("listen at {address}"))
}

async fn serve(front: Front, vault: &SimVault, listener: TcpListener) -> Result<Serving> {
    if front == Front::Wiremock {
        let mocks = MockServer::builder().listener(listener);
        let mocks = mocks.disable_request_recording().start().await;
        vault.mount_on(&mocks).await;
        return Ok(Box::new(mocks));
    }
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (stop, stopped) = oneshot::channel();
    let vault = vault.clone();
    #[expect(
        clippy::disallowed_methods,
        reason = "a server beside the suite, as a process would be"
    )]
    let thread = std::thread::spawn(move || {
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)
                .expect("the runtime has its I/O driver");
            tokio::select! {
                biased;
                _ = stopped => {}
                _ = vault.listen(listener, None) => {}
            }
        });
    });
    Ok(Box::new(Thread {
        stop: Some(stop),
        thread: Some(thread),
    }))
}

impl Drop for Thread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl SimNode {
    fn admin(&self, root_token: &Zeroizing<String>) -> Admin {
        Admin::new(&self.url(), None, root_token.clone()).expect("our own address is well formed")
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl VaultBackend for Sim {
    fn product(&self) -> &Product {
        &self.product
    }

    fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(SimNode::url).collect()
    }

    fn ca(&self) -> Option<&Path> {
        None
    }

    fn admin(&self) -> Admin {
        self.nodes[0].admin(&self.root_token)
    }
}

impl Breakable for Sim {
    fn seal(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            let leader = &self.nodes[self.leader().await?];
            state::seal(&leader.admin(&self.root_token)).await
        })
    }

    fn unseal(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            let running = self.nodes.iter().find(|node| node.serving.is_some());
            let node = running.context("no node runs")?;
            state::unseal(&node.admin(&self.root_token), &self.unseal_key).await
        })
    }

    fn freeze(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            match self.front {
                Front::Own => self.nodes.iter().for_each(|node| node.vault.freeze()),
                // wiremock's connections are not the model's: there it is the requests that wait.
                Front::Wiremock => {
                    self.held = Some(self.nodes[0].vault.fault(Fault::on("", Action::Hold)));
                }
            }
            Ok(())
        })
    }

    fn thaw(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            if let Some(frozen) = self.frozen.take() {
                frozen.thaw();
            }
            self.nodes.iter().for_each(|node| node.vault.thaw());
            if let Some(fault) = self.held.take() {
                self.nodes[0].vault.clear(fault);
            }
            Ok(())
        })
    }

    fn stop(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            for node in &mut self.nodes {
                node.serving = None;
            }
            // What was never stored is gone with the processes; the shares are not at hand.
            self.nodes[0].vault.core(|core| core.restart(true));
            Ok(())
        })
    }

    fn start(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            for node in &mut self.nodes {
                // wiremock's thread may still be on its way out.
                let deadline = Instant::now() + COMES_UP;
                let listener = loop {
                    match listen(node.address) {
                        Ok(listener) => break listener,
                        Err(error) if Instant::now() >= deadline => return Err(error),
                        Err(_) => sleep(LOOK_EVERY).await,
                    }
                };
                node.serving = Some(serve(self.front, &node.vault, listener).await?);
            }
            self.unseal().await
        })
    }

    fn freeze_leader(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            let frozen = FrozenLeader::freeze(self.models()).context("no node leads")?;
            self.election.spawn(frozen.succession());
            self.frozen = Some(frozen);
            Ok(())
        })
    }

    fn step_down(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            let leader = self.leader().await?;
            let nodes = self.models();
            nodes.iter().for_each(SimVault::step_down);
            let next = (leader + 1) % nodes.len();
            self.elect(nodes, next);
            Ok(())
        })
    }

    fn lose_leader(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            let leader = self.leader().await?;
            let lost_at = self.nodes[leader].vault.now();
            self.nodes[leader].serving = None;
            let left = self.nodes.iter().filter(|node| node.serving.is_some());
            let standbys: Vec<SimVault> = left.map(|node| node.vault.clone()).collect();
            for node in &standbys {
                node.set_node(|node| node.leader = Leader::Lost(lost_at));
            }
            self.elect(standbys, 0);
            Ok(())
        })
    }
}
