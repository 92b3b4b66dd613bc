//! Faults in a simulated world: how each is made, counted and undone.

use std::sync::Arc;
use std::time::Duration;

use kms_apiserver_api::Trouble;
use kms_scenario::fault::{Direction, Edge, Fault, Kind, Rpc};
use kms_scenario::seed::Seed;
use kms_scenario::world::Order;
use kms_sim_net::{Latency, Traffic};
use tokio::task::AbortHandle;

use crate::answers;
use crate::node::{Node, api_host, plugin_host};
use crate::socket::Act;
use crate::vault;
use crate::world::Inner;

/// What a damaged credential file holds.
const RUBBISH: &str = "\u{1}not a credential\u{7f}\n";

/// A fault that was injected.
pub struct Active {
    /// Nothing any more once it was undone.
    undo: Option<Undo>,
    counter: Counter,
    /// Undoes it at its deadline.
    pub timer: Option<AbortHandle>,
}

/// How a fault ends.
enum Undo {
    Nothing,
    Vault(vault::Undo),
    Net(Vec<NetUndo>),
    Rpc(Vec<u32>),
    StartPlugins(Vec<u32>),
    Thaw(Vec<u32>),
    Credentials(Vec<u32>),
    Clock(Vec<u32>, i64),
}

/// How one direction gets well again.
enum NetUndo {
    Open(String, String),
    Latency(String, String, Latency),
    Bandwidth(String, String),
    ReadRate(String, String),
}

/// What a fault has touched.
enum Counter {
    /// So much, and no more.
    Fixed(u64),
    /// Requests that it hit.
    Requests(Vec<(usize, sim_vault::FaultId)>),
    /// Calls that Vault refused, since this many.
    Refused(u64),
    /// Calls that Vault got, since this many.
    Calls(u64),
    /// Something of these directions' traffic, since this much.
    Traffic(Vec<(String, String)>, fn(Traffic) -> u64, u64),
    /// RPCs that it hit, on these nodes.
    Rpc(Vec<u32>),
    /// Reads of files on these nodes, since this many.
    Reads(Vec<u32>, u64),
    /// Looks at clocks of these nodes, since this many.
    Looks(Vec<u32>, u64),
}

/// Why the simulation cannot make a kind of fault; nothing if it can.
#[must_use]
pub fn impossible(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::PluginStaleSocket => {
            Some("a simulated plugin has no socket file that could be left behind")
        }
        Kind::CaChanged => Some("a simulated Vault speaks plain HTTP: there is no authority"),
        _ => None,
    }
}

impl Inner {
    /// Makes a fault happen.
    pub async fn inject(self: &Arc<Self>, order: &Order) -> Result<(), Trouble> {
        if let Some(why) = impossible(order.fault.kind()) {
            return Err(Trouble::new(why));
        }
        let (undo, counter) = self.make(order).await?;
        let lasts = order.fault.kind().lasts();
        let timer = lasts.then(|| {
            let (world, id, deadline) = (Arc::downgrade(self), order.id.clone(), order.deadline);
            self.tasks.spawn(async move {
                tokio::time::sleep(deadline).await;
                if let Some(world) = world.upgrade() {
                    world.recover(&id);
                }
            })
        });
        let active = Active {
            undo: Some(undo),
            counter,
            timer,
        };
        let before = self.active().insert(order.id.clone(), active);
        debug_assert!(before.is_none(), "ids are unique in a run");
        Ok(())
    }

    /// Ends a fault; what it touched later does not count.
    pub fn recover(&self, id: &str) {
        let mut active = self.active();
        let Some(fault) = active.get_mut(id) else {
            return;
        };
        let Some(undo) = fault.undo.take() else {
            return;
        };
        if let Some(timer) = fault.timer.take() {
            timer.abort();
        }
        let hits = self.count(id, &fault.counter);
        fault.counter = Counter::Fixed(hits);
        drop(active);
        self.undo(id, undo);
    }

    /// What a fault touched so far.
    pub fn hits(&self, id: &str) -> u64 {
        let active = self.active();
        active
            .get(id)
            .map_or(0, |fault| self.count(id, &fault.counter))
    }

    async fn make(&self, order: &Order) -> Result<(Undo, Counter), Trouble> {
        let seed = Seed::root(self.spec.seed).label(&format!("fault {}", order.id));
        if let Some(done) = self.vaults.inject(&order.fault, seed.bytes())? {
            let counter = self.vault_counter(&order.fault, &done);
            return Ok((Undo::Vault(done.undo), counter));
        }
        if let Some(made) = self.make_on_net(order) {
            return Ok(made);
        }
        if let Some((method, act)) = rpc_rule(&order.fault) {
            for node in self.chosen(order)? {
                node.socket.rule(&order.id, method, act.clone());
            }
            let nodes = order.nodes.clone();
            return Ok((Undo::Rpc(nodes.clone()), Counter::Rpc(nodes)));
        }
        self.make_on_nodes(order).await
    }

    fn vault_counter(&self, fault: &Fault, done: &vault::Done) -> Counter {
        match (&done.undo, fault) {
            (vault::Undo::Requests(faults), _) => Counter::Requests(faults.clone()),
            (vault::Undo::Start, _) => {
                let ends = self.edges(Edge::Vault, &self.all_nodes(), Direction::Requests);
                let all = |traffic: Traffic| traffic.handshakes;
                let since = self.traffic(&ends, all);
                Counter::Traffic(ends, all, since)
            }
            // who stands still refuses nothing
            (vault::Undo::Thaw(_), _) => {
                let ends = self.edges(Edge::Vault, &self.all_nodes(), Direction::Requests);
                let all = |traffic: Traffic| traffic.packets;
                let since = self.traffic(&ends, all);
                Counter::Traffic(ends, all, since)
            }
            // a key in the bin can be read: nothing is refused to who only looks
            (vault::Undo::Lag | vault::Undo::RestoreKey, _) => Counter::Calls(self.vaults.calls()),
            (vault::Undo::Nothing, _) => Counter::Fixed(done.changed),
            (vault::Undo::KeySettings(_), Fault::VaultMinEncryptionVersion(_)) => {
                Counter::Calls(self.vaults.calls())
            }
            _ => Counter::Refused(self.vaults.refused()),
        }
    }

    /// A fault of the network.
    fn make_on_net(&self, order: &Order) -> Option<(Undo, Counter)> {
        const BOTH: [Direction; 2] = [Direction::Requests, Direction::Answers];
        let nodes = &order.nodes;
        let both = |edge| {
            let ends = BOTH.map(|direction| self.edges(edge, nodes, direction));
            ends.concat()
        };
        let counted =
            |ends: Vec<(String, String)>, what: fn(Traffic) -> u64, undo: Vec<NetUndo>| {
                let since = self.traffic(&ends, what);
                (Undo::Net(undo), Counter::Traffic(ends, what, since))
            };
        let opened = |ends: &[(String, String)]| {
            let ends = ends.iter().cloned();
            ends.map(|(from, to)| NetUndo::Open(from, to)).collect()
        };
        Some(match &order.fault {
            Fault::NetPartition(_) | Fault::NetPartitionOneWay(..) => {
                let ends = match &order.fault {
                    Fault::NetPartitionOneWay(edge, way) => self.edges(*edge, nodes, *way),
                    Fault::NetPartition(edge) => both(*edge),
                    _ => return None,
                };
                // what is on its way is lost by the cut itself, and counts
                let made = counted(ends.clone(), |traffic| traffic.lost, opened(&ends));
                ends.iter().for_each(|(from, to)| self.net.cut(from, to));
                made
            }
            Fault::NetHold(edge) => {
                let ends = both(*edge);
                let made = counted(ends.clone(), |traffic| traffic.held, opened(&ends));
                ends.iter().for_each(|(from, to)| self.net.hold(from, to));
                made
            }
            Fault::NetReset(edge) => {
                let ends = self.edges(*edge, nodes, Direction::Requests);
                let hit = ends.iter().map(|(from, to)| self.net.reset(from, to));
                (Undo::Nothing, Counter::Fixed(hit.sum::<usize>() as u64))
            }
            Fault::NetHalfClose(edge, way) => {
                let ends = self.edges(*edge, nodes, *way);
                let hit = ends.iter().map(|(from, to)| self.net.half_close(from, to));
                (Undo::Nothing, Counter::Fixed(hit.sum::<usize>() as u64))
            }
            Fault::NetLatency { edge, min, max } => {
                let ends = both(*edge);
                let latency = Latency::between(*min, *max);
                // what was there before may be another fault's, which must not outlive it
                let usual = match edge {
                    Edge::Vault => self.spec.vault_latency,
                    Edge::Socket => self.spec.socket_latency,
                };
                let usual = Latency::between(usual.0, usual.1);
                let undo = ends.iter().map(|(from, to)| {
                    self.net.set_latency(from, to, latency);
                    NetUndo::Latency(from.clone(), to.clone(), usual)
                });
                let undo = undo.collect();
                counted(ends, |traffic| traffic.packets, undo)
            }
            Fault::NetBandwidth(edge, rate) => {
                let ends = both(*edge);
                let undo = ends.iter().map(|(from, to)| {
                    self.net.set_bandwidth(from, to, Some(*rate));
                    NetUndo::Bandwidth(from.clone(), to.clone())
                });
                let undo = undo.collect();
                counted(ends, |traffic| traffic.packets, undo)
            }
            Fault::NetSlowReader(edge, rate) => {
                let ends = self.edges(*edge, nodes, Direction::Requests);
                let undo = ends.iter().map(|(from, to)| {
                    self.net.set_read_rate(from, to, Some(*rate));
                    NetUndo::ReadRate(from.clone(), to.clone())
                });
                let undo = undo.collect();
                counted(ends, |traffic| traffic.packets, undo)
            }
            _ => return None,
        })
    }

    /// A fault of processes, files or clocks.
    async fn make_on_nodes(&self, order: &Order) -> Result<(Undo, Counter), Trouble> {
        let nodes = order.nodes.clone();
        let chosen = self.chosen(order)?;
        let count = |hit: usize| Counter::Fixed(hit as u64);
        Ok(match &order.fault {
            Fault::PluginKill => {
                let hit = chosen.iter().filter(|node| node.kill_plugin()).count();
                (Undo::StartPlugins(nodes), count(hit))
            }
            Fault::PluginRestart => {
                let hit = chosen.iter().filter(|node| node.kill_plugin()).count();
                chosen.iter().for_each(|node| node.start_plugin());
                (Undo::Nothing, count(hit))
            }
            Fault::PluginStop => {
                let mut hit = 0;
                for node in chosen {
                    hit += usize::from(node.stop_plugin().await);
                }
                (Undo::StartPlugins(nodes), count(hit))
            }
            Fault::PluginFreeze => {
                let ends = self.edges(Edge::Socket, &nodes, Direction::Requests);
                let sent = |traffic: Traffic| traffic.packets + traffic.handshakes;
                let since = self.traffic(&ends, sent);
                nodes
                    .iter()
                    .for_each(|node| self.net.freeze(&plugin_host(*node)));
                (Undo::Thaw(nodes), Counter::Traffic(ends, sent, since))
            }
            Fault::CredentialsChanged => {
                for (node, index) in chosen.iter().zip(&nodes) {
                    self.vaults.renew_credentials(*index as usize);
                    self.vaults.write_credentials(*index as usize, &node.files);
                }
                (Undo::Nothing, count(nodes.len()))
            }
            Fault::CredentialsRemoved | Fault::CredentialsDamaged => {
                let reads = chosen.iter().map(|node| node.files.reads()).sum();
                for node in chosen {
                    for path in self.vaults.credential_files() {
                        if order.fault == Fault::CredentialsRemoved {
                            node.files.remove(path);
                        } else {
                            node.files.write(path, RUBBISH);
                        }
                    }
                }
                (
                    Undo::Credentials(nodes.clone()),
                    Counter::Reads(nodes, reads),
                )
            }
            Fault::ClockSkew { by, behind } => {
                let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
                let millis = if *behind { -millis } else { millis };
                let looks = chosen.iter().map(|node| node.wall.reads()).sum();
                chosen.iter().for_each(|node| node.wall.shift(millis));
                (
                    Undo::Clock(nodes.clone(), millis),
                    Counter::Looks(nodes, looks),
                )
            }
            other => {
                let text = format!("{} is not the world's to make", other.kind());
                return Err(Trouble::new(text));
            }
        })
    }

    fn undo(&self, id: &str, undo: Undo) {
        let of = |nodes: Vec<u32>| {
            let nodes = nodes.into_iter();
            nodes.filter_map(|index| Some((index, self.nodes.get(index as usize)?)))
        };
        match undo {
            Undo::Nothing => {}
            Undo::Vault(undo) => self.vaults.undo(&undo),
            Undo::Net(all) => all.into_iter().for_each(|undo| match undo {
                NetUndo::Open(from, to) => self.net.open(&from, &to),
                NetUndo::Latency(from, to, before) => {
                    self.net.set_latency(&from, &to, before);
                }
                NetUndo::Bandwidth(from, to) => self.net.set_bandwidth(&from, &to, None),
                NetUndo::ReadRate(from, to) => self.net.set_read_rate(&from, &to, None),
            }),
            Undo::Rpc(nodes) => of(nodes).for_each(|(_, node)| {
                node.socket.clear(id);
            }),
            Undo::StartPlugins(nodes) => of(nodes).for_each(|(_, node)| node.start_plugin()),
            Undo::Thaw(nodes) => {
                of(nodes).for_each(|(index, _)| self.net.thaw(&plugin_host(index)));
            }
            Undo::Credentials(nodes) => of(nodes).for_each(|(index, node)| {
                self.vaults.write_credentials(index as usize, &node.files);
            }),
            Undo::Clock(nodes, millis) => {
                of(nodes).for_each(|(_, node)| node.wall.shift(-millis));
            }
        }
    }

    fn count(&self, id: &str, counter: &Counter) -> u64 {
        let sum = |nodes: &[u32], what: &dyn Fn(&Node) -> u64| {
            let nodes = nodes
                .iter()
                .filter_map(|index| self.nodes.get(*index as usize));
            nodes.map(what).sum::<u64>()
        };
        match counter {
            Counter::Fixed(hits) => *hits,
            Counter::Requests(faults) => self.vaults.request_hits(faults),
            Counter::Refused(since) => self.vaults.refused() - since,
            Counter::Calls(since) => self.vaults.calls() - since,
            Counter::Traffic(ends, what, since) => self.traffic(ends, *what) - since,
            Counter::Rpc(nodes) => sum(nodes, &|node| node.socket.hits(id)),
            Counter::Reads(nodes, since) => sum(nodes, &|node| node.files.reads()) - since,
            Counter::Looks(nodes, since) => sum(nodes, &|node| node.wall.reads()) - since,
        }
    }

    fn traffic(&self, ends: &[(String, String)], what: fn(Traffic) -> u64) -> u64 {
        let all = ends
            .iter()
            .map(|(from, to)| what(self.net.traffic(from, to)));
        all.sum()
    }

    /// One direction of an edge, for some nodes.
    fn edges(&self, edge: Edge, nodes: &[u32], way: Direction) -> Vec<(String, String)> {
        let mut ends = Vec::new();
        for node in nodes {
            let plugin = plugin_host(*node);
            match edge {
                Edge::Socket => ends.push((api_host(*node), plugin)),
                Edge::Vault => {
                    let hosts = self.vaults.hosts().into_iter();
                    ends.extend(hosts.map(|vault| (plugin.clone(), vault)));
                }
            }
        }
        if way == Direction::Answers {
            ends.iter_mut()
                .for_each(|(from, to)| std::mem::swap(from, to));
        }
        ends
    }

    fn all_nodes(&self) -> Vec<u32> {
        self.nodes.iter().zip(0..).map(|(_, index)| index).collect()
    }

    fn chosen(&self, order: &Order) -> Result<Vec<&Node>, Trouble> {
        let find = |index: &u32| {
            let node = self.nodes.get(*index as usize);
            node.ok_or_else(|| Trouble::new(format!("{}: there is no node {index}", order.id)))
        };
        order.nodes.iter().map(find).collect()
    }
}

/// What a fault does to RPCs; nothing for other kinds.
fn rpc_rule(fault: &Fault) -> Option<(Option<Rpc>, Act)> {
    let latest = |min: &Duration, max: &Duration| Act::Delay {
        min: *min,
        max: *max,
    };
    Some(match fault {
        Fault::RpcDelay { method, min, max } => (*method, latest(min, max)),
        Fault::RpcHold(method) => (*method, Act::Hold),
        Fault::RpcStatus {
            method,
            code,
            message,
        } => {
            let (code, message) = (*code, message.clone());
            (*method, Act::Answer { code, message })
        }
        Fault::RpcCut(method) => (*method, Act::Cut),
        Fault::RpcSick => (Some(Rpc::Status), Act::Alter(answers::sick)),
        Fault::RpcWrongKey => (Some(Rpc::Decrypt), Act::Alter(answers::wrong_key)),
        _ => return None,
    })
}
