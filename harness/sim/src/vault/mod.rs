//! The simulated Vault of a world: one node or a cluster, each on a host of its own, with what the plugins need in it.
//!
//! Node `n` is the host `vault-n`, port 8200, plain HTTP. Node 0 leads at the beginning.

mod access;
mod faults;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Mutex;

use kms_history::chaos::VaultPath;
use kms_scenario::seed::Seed;
use kms_scenario::world::{Flavour, VaultSpec};
use kms_sim_net::{Listener, Net};
use sim_vault::{Node, Options, SimVault};
use tokio::task::{AbortHandle, JoinSet};

use crate::surroundings::{BEGIN, lock};
use crate::tasks::Tasks;

pub use access::{KEY, MOUNT};
pub use faults::{Done, Undo};

/// Vault's port.
const PORT: u16 = 8200;

/// The Vault of a world.
pub struct Vaults {
    net: Net,
    tasks: Tasks,
    spec: VaultSpec,
    seed: Seed,
    members: Vec<Member>,
    access: Mutex<access::Issued>,
    calls: Mutex<Calls>,
}

struct Member {
    host: String,
    sim: SimVault,
    serving: Mutex<Option<AbortHandle>>,
}

/// Calls that Vault got.
#[derive(Default)]
struct Calls {
    /// Not noted yet.
    fresh: BTreeMap<VaultPath, u64>,
    all: u64,
    refused: u64,
}

impl Vaults {
    /// A Vault that serves, with key, policy and auth method in it.
    pub fn start(net: &Net, tasks: &Tasks, spec: &VaultSpec, seed: Seed, plugins: u32) -> Self {
        let host = |number: u32| format!("vault-{number}");
        let first = SimVault::new(Options {
            flavour: match spec.flavour {
                Flavour::Openbao => sim_vault::Flavour::OpenBao,
                Flavour::Vault => sim_vault::Flavour::Vault,
            },
            seed: seed.label("model").u64(),
            start_unix: BEGIN.as_secs(),
            api_addr: format!("http://{}:{PORT}", host(0)),
            ..Options::default()
        });
        let standby = Node {
            standby: true,
            settled: true,
            ..Node::default()
        };
        let members = (0..spec.nodes.max(1)).map(|number| Member {
            host: host(number),
            sim: match number {
                0 => first.clone(),
                _ => first.join(standby.clone()),
            },
            serving: Mutex::new(None),
        });
        let vaults = Self {
            net: net.clone(),
            tasks: tasks.clone(),
            spec: spec.clone(),
            seed,
            members: members.collect(),
            access: Mutex::new(access::Issued::new(plugins)),
            calls: Mutex::new(Calls::default()),
        };
        vaults.set_up();
        vaults.serve();
        vaults
    }

    /// The hosts of all nodes.
    pub fn hosts(&self) -> Vec<String> {
        let hosts = self.members.iter().map(|member| member.host.clone());
        hosts.collect()
    }

    /// The addresses of all nodes, as a plugin takes them.
    pub fn addresses(&self) -> String {
        let all: Vec<String> = self
            .members
            .iter()
            .map(|member| format!("http://{}:{PORT}", member.host))
            .collect();
        all.join(",")
    }

    fn first(&self) -> &SimVault {
        &self.members[0].sim
    }

    /// Starts what does not run.
    fn serve(&self) {
        for member in &self.members {
            let mut serving = lock(&member.serving);
            if serving.is_none() {
                let life = self.net.restart(&member.host);
                let listener = life.listen(PORT).expect("the first listener of a new life");
                let task = self.tasks.spawn(serve(member.sim.clone(), listener));
                *serving = Some(task);
            }
        }
    }

    /// Ends all processes; what was stored stays. How many connections broke.
    fn kill(&self) -> usize {
        let mut broken = 0;
        for member in &self.members {
            if let Some(serving) = lock(&member.serving).take() {
                serving.abort();
                broken += self.net.kill(&member.host);
            }
        }
        broken
    }

    /// Takes the calls over that came since the last time.
    fn absorb(&self) {
        let mut calls = lock(&self.calls);
        for member in &self.members {
            for call in member.sim.take_log() {
                *calls.fresh.entry(VaultPath::of(&call.path)).or_default() += 1;
                calls.all += 1;
                calls.refused += u64::from(call.status.is_some_and(|status| status >= 400));
            }
        }
    }

    /// Calls since the last time this was asked, by what they were for.
    pub fn take_calls(&self) -> BTreeMap<VaultPath, u64> {
        self.absorb();
        std::mem::take(&mut lock(&self.calls).fresh)
    }

    /// All calls so far.
    pub fn calls(&self) -> u64 {
        self.absorb();
        lock(&self.calls).all
    }

    /// Calls so far that the model answered with 400 or more.
    pub fn refused(&self) -> u64 {
        self.absorb();
        lock(&self.calls).refused
    }
}

async fn serve(sim: SimVault, mut listener: Listener) {
    let mut connections = JoinSet::new();
    while let Ok(stream) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let sim = sim.clone();
        connections.spawn(async move {
            let peer = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
            sim.serve_io(stream, peer).await;
        });
    }
}
