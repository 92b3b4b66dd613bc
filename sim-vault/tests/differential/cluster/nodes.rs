//! Three live nodes of one cluster: their processes, who plays which role, and waiting until all of them agree.
//!
//! Nothing here waits for a time: each wait is for a state, and ends with its name when that does not come.

use std::{
    cell::{Cell, RefCell},
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command},
};

use libtest_mimic::Failed;
use serde_json::{Value, json};
use sim_vault::Flavour;
use tempfile::TempDir;

use super::{reference, step::Deed};
use crate::{call::Call, client::Answer, known::Known, memory::Memory, wire::Wire};

/// Nodes of a cluster.
pub const NODES: usize = 3;
/// Limit of every wait in milliseconds, on a machine that does other things, too.
const LIMIT: u64 = 90_000;
/// How often a state is looked at, in milliseconds.
const LOOK_EVERY: u64 = 30;

/// The cluster. Dropping it kills its nodes.
pub struct Nodes {
    binary: PathBuf,
    folder: TempDir,
    pub flavour: Flavour,
    api: [SocketAddr; NODES],
    inner: [SocketAddr; NODES],
    processes: RefCell<[Option<Child>; NODES]>,
    /// Which node plays which role. Role 0 leads, or did last.
    roles: Cell<[usize; NODES]>,
    pub key: String,
    pub known: Known,
    pub wire: Wire,
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for process in self.processes.get_mut().iter_mut().flatten() {
            end(process);
        }
    }
}

/// Kills a process, which may have ended by itself.
fn end(process: &mut Child) {
    let _ = process.kill();
    let _ = process.wait();
}

/// Free ports of a loopback address of this process's own: on 127.0.0.1 somebody may take the port of a node that is down.
fn addresses() -> std::io::Result<[[SocketAddr; NODES]; 2]> {
    let [_, a, b, c] = std::process::id().to_be_bytes();
    let host = Ipv4Addr::new(127, 64 | a, b, c);
    // held together, so that no port is given twice
    let mut held = Vec::new();
    let mut out = [[SocketAddr::from((host, 0)); NODES]; 2];
    for address in out.as_flattened_mut() {
        let listener = TcpListener::bind(*address)?;
        *address = listener.local_addr()?;
        held.push(listener);
    }
    Ok(out)
}

impl Nodes {
    /// Starts, initialises and joins three nodes, all of them voting; node 0 leads.
    pub fn start(binary: &Path, flavour: Flavour) -> Result<Self, Failed> {
        let [api, inner] = addresses()?;
        let mut nodes = Self {
            binary: binary.to_owned(),
            folder: tempfile::tempdir()?,
            flavour,
            api,
            inner,
            processes: RefCell::default(),
            roles: Cell::new([0, 1, 2]),
            key: String::new(),
            known: Known::load(flavour)?,
            wire: Wire::new(api[0])?,
        };
        for node in 0..NODES {
            nodes.configure(node)?;
            nodes.run(node)?;
        }
        nodes.turn_to(0);
        let shares = json!({ "secret_shares": 1, "secret_threshold": 1 });
        let made = nodes.wire.tell("PUT", "sys/init", shares).body;
        let text = |pointer| made.pointer(pointer).and_then(Value::as_str);
        let (Some(key), Some(root)) = (text("/keys/0"), text("/root_token")) else {
            return Err("sys/init gave no keys".into());
        };
        nodes.wire.root.replace(root.to_owned());
        nodes.key = key.to_owned();
        nodes.unseal(0)?;
        nodes.until("the first node leads", || {
            nodes.wire.ask("GET", "auth/token/lookup-self").status() == 200
        })?;
        // a new node votes once it has been well for so long
        let soon = json!({ "server_stabilization_time": "1s" });
        let path = "sys/storage/raft/autopilot/configuration";
        nodes.until("autopilot takes its configuration", || {
            nodes.wire.tell("POST", path, soon.clone()).status() < 300
        })?;
        nodes.wire.keep_default_policy();
        for node in 1..NODES {
            let leader = json!({ "leader_api_addr": nodes.url(0) });
            nodes.turn_to(node);
            nodes.until("a node joins", || {
                let joined = nodes
                    .wire
                    .tell("POST", "sys/storage/raft/join", leader.clone());
                joined.body["joined"] == true
            })?;
            nodes.unseal(node)?;
        }
        nodes.turn_to(0);
        nodes.until("all nodes vote", || {
            let found = nodes.wire.ask("GET", "sys/storage/raft/configuration").body;
            let servers = found
                .pointer("/data/config/servers")
                .and_then(Value::as_array);
            let votes =
                |servers: &Vec<Value>| servers.iter().filter(|s| s["voter"] == true).count();
            servers.map_or(0, votes) == NODES
        })?;
        Ok(nodes)
    }

    fn url(&self, node: usize) -> String {
        format!("http://{}", self.api[node])
    }

    fn configure(&self, node: usize) -> Result<(), Failed> {
        let data = self.folder.path().join(format!("data-{node}"));
        fs::create_dir(&data)?;
        let settings = json!({
            "storage": { "raft": { "path": data, "node_id": name(node), "performance_multiplier": 1 } },
            "listener": { "tcp": {
                "address": self.api[node].to_string(),
                "cluster_address": self.inner[node].to_string(),
                "tls_disable": true,
            } },
            "api_addr": self.url(node),
            "cluster_addr": format!("https://{}", self.inner[node]),
            // Vault would lock its memory, which needs a right that tests do not have
            "disable_mlock": true,
            "ui": false,
        });
        fs::write(self.file(node, "json"), settings.to_string())?;
        Ok(())
    }

    fn file(&self, node: usize, kind: &str) -> PathBuf {
        self.folder.path().join(format!("{}.{kind}", name(node)))
    }

    /// Starts a node's process and waits until it answers.
    fn run(&self, node: usize) -> Result<(), Failed> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.file(node, "log"))?;
        let process = Command::new(&self.binary)
            .arg("server")
            .arg(format!("-config={}", self.file(node, "json").display()))
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.processes.borrow_mut()[node] = Some(process);
        self.turn_to(node);
        self.until("a node answers", || {
            self.wire.ask("GET", "sys/health").status() != 0
        })
    }

    /// Does what is done to a process; the caller asks for the rest by calls.
    pub fn handle(&self, role: usize, deed: Deed) -> Result<(), Failed> {
        let node = self.roles.get()[role];
        match deed {
            Deed::Kill => {
                if let Some(mut process) = self.processes.borrow_mut()[node].take() {
                    end(&mut process);
                }
            }
            Deed::Start => self.run(node)?,
            Deed::StepDown | Deed::Seal | Deed::Unseal => {}
        }
        Ok(())
    }

    /// A call to the node of that role; names of nodes and their addresses in the answer are those of the roles.
    pub fn ask(
        &self,
        role: usize,
        call: &Call,
        memory: &Memory,
    ) -> (String, Result<Answer, &'static str>) {
        self.turn_to(self.roles.get()[role]);
        let (path, answer) = self.wire.exchange(call, Ipv4Addr::LOCALHOST, memory);
        let answer = answer.map(|mut answer| {
            answer.body = self.by_roles(&String::from_utf8_lossy(&answer.body)).into();
            for (_, value) in &mut answer.headers {
                *value = self.by_roles(value);
            }
            answer
        });
        (path, answer)
    }

    fn by_roles(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (role, node) in self.roles.get().into_iter().enumerate() {
            let member = reference::member(role);
            text = text
                .replace(&self.url(node), &member.api_addr)
                .replace(&self.inner[node].to_string(), &member.cluster_addr)
                .replace(&name(node), &member.name);
        }
        text
    }

    /// Waits until the nodes that can vote agree on a leader, and stand where it stands. Where it is not the one that the
    /// model chose, the roles are dealt accordingly: `elected` is the role that it took the lead over from. After a
    /// step-down, `another` has to lead: the one before goes on for a moment.
    pub fn agree(
        &self,
        votes: [bool; NODES],
        elected: Option<usize>,
        another: bool,
    ) -> Result<(), Failed> {
        let roles = self.roles.get();
        let voting: Vec<usize> = (0..NODES).filter(|r| votes[*r]).map(|r| roles[r]).collect();
        let leader = Cell::new(None);
        self.until("a node leads", || {
            leader.set(voting.iter().copied().find(|node| {
                self.turn_to(*node);
                let leads = self.wire.ask("GET", "sys/health").status() == 200;
                leads && !(another && *node == roles[0])
            }));
            let Some(leads) = leader.get() else {
                return false;
            };
            let of_leader = Value::from(self.url(leads));
            voting.iter().all(|node| {
                self.turn_to(*node);
                self.wire.ask("GET", "sys/leader").body["leader_address"] == of_leader
                    && self.serves(*node)
            })
        })?;
        let leads = leader.get().ok_or("no node leads")?;
        self.deal(leads, elected)
    }

    /// A write works there.
    fn serves(&self, node: usize) -> bool {
        self.turn_to(node);
        let kept = self
            .wire
            .tell("PUT", "cubbyhole/agreed", json!({ "yes": "1" }))
            .status();
        kept == 204 && self.wire.ask("DELETE", "cubbyhole/agreed").status() == 204
    }

    fn deal(&self, leads: usize, elected: Option<usize>) -> Result<(), Failed> {
        let mut roles = self.roles.get();
        let had = roles.iter().position(|node| *node == leads);
        match (elected, had) {
            (None, Some(0)) => {}
            (Some(chosen), Some(had)) => {
                roles.swap(chosen, had);
                roles.swap(0, chosen);
            }
            _ => return Err("another node leads, and nobody had the one before give up".into()),
        }
        self.roles.set(roles);
        Ok(())
    }

    /// Waits until no node that can vote believes in a leader any more.
    pub fn give_up(&self, votes: [bool; NODES]) -> Result<(), Failed> {
        let roles = self.roles.get();
        self.until("nobody leads", || {
            (0..NODES).filter(|role| votes[*role]).all(|role| {
                self.turn_to(roles[role]);
                let health = self.wire.ask("GET", "sys/health").status();
                let write = json!({ "yes": "1" });
                let write = self.wire.tell("PUT", "cubbyhole/agreed", write).status();
                let read = self.wire.ask("GET", "auth/token/lookup-self").status();
                // between two states OpenBao does not even read
                health != 200 && write >= 300 && (self.flavour.is_vault() || read == 200)
            })
        })
    }

    /// Waits until the standbys have what the active node has.
    pub fn catch_up(&self, votes: [bool; NODES]) -> Result<(), Failed> {
        let roles = self.roles.get();
        let number = |role: usize, name: &str| {
            self.turn_to(roles[role]);
            self.wire.ask("GET", "sys/leader").body[name].as_u64()
        };
        let written = number(0, "raft_committed_index");
        (1..NODES).filter(|role| votes[*role]).try_for_each(|role| {
            self.until("a standby catches up", || {
                number(role, "raft_applied_index") >= written
            })
        })
    }

    /// Brings all nodes back: running, unsealed, agreed on a leader, which has role 0.
    pub fn heal(&self) -> Result<(), Failed> {
        for node in 0..NODES {
            if self.processes.borrow()[node].is_none() {
                self.run(node)?;
            }
        }
        for node in 0..NODES {
            self.unseal(node)?;
        }
        let leads = Cell::new(0);
        self.until("a node leads", || {
            (0..NODES).any(|node| {
                self.turn_to(node);
                leads.set(node);
                self.wire.ask("GET", "sys/health").status() == 200
            })
        })?;
        let mut roles = [0, 1, 2];
        roles.swap(0, leads.get());
        self.roles.set(roles);
        self.agree([true; NODES], None, false)?;
        self.turn_to(roles[0]);
        self.wire.clean(self.flavour);
        self.catch_up([true; NODES])
    }

    /// Unseals a node, if it is sealed.
    fn unseal(&self, node: usize) -> Result<(), Failed> {
        self.turn_to(node);
        self.until("a node is unsealed", || {
            let given = Deed::Unseal.call(&self.key);
            given.is_some_and(|call| {
                self.wire.tell(&call.method, &call.path, call.body);
                matches!(self.wire.ask("GET", "sys/health").status(), 200 | 429 | 474)
            })
        })
    }

    /// The wire leads to this node from here on.
    fn turn_to(&self, node: usize) {
        self.wire.to.set(self.api[node]);
    }

    /// Name and latest words of a node.
    fn log_tail(&self, node: usize) -> String {
        let log = fs::read_to_string(self.file(node, "log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines
            .get(lines.len().saturating_sub(6)..)
            .unwrap_or_default();
        format!("{}\n{}", name(node), last.join("\n"))
    }

    /// The wire leads to the active node from here on.
    pub fn turn_to_leader(&self) {
        self.turn_to(self.roles.get()[0]);
    }

    fn until(&self, what: &str, reached: impl Fn() -> bool) -> Result<(), Failed> {
        for _ in 0..LIMIT / LOOK_EVERY {
            if reached() {
                return Ok(());
            }
            self.wire.sleep(LOOK_EVERY);
        }
        let logs: Vec<String> = (0..NODES).map(|node| self.log_tail(node)).collect();
        let limit = LIMIT / 1000;
        let text = format!("the live cluster: not within {limit} s: {what}");
        Err(format!("{text}\n{}", logs.join("\n")).into())
    }
}

/// Its name in the cluster.
fn name(node: usize) -> String {
    format!("raft-node-{node}")
}
