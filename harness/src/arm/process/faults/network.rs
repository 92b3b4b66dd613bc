//! What happens to bytes: on the links to Vault, and on the sockets where a call stands for its bytes.

use std::num::NonZeroU64;
use std::sync::Arc;

use anyhow::{Result, bail};
use kms_proxy::{Action, Direction, End, Rules};
use kms_scenario::fault::{self, Edge, Fault};
use kms_scenario::world::Order;

use super::calls::rules;
use super::{Active, middle};
use crate::arm::process::world::Inner;

pub fn held(world: &Arc<Inner>, order: &Order, edge: Edge) -> Result<Active> {
    match edge {
        Edge::Vault => links(world, order, Rules::PARTITION),
        Edge::Socket => rules(world, order, None, Action::Hold),
    }
}

pub fn network(world: &Arc<Inner>, order: &Order) -> Result<Active> {
    let one = |direction: fault::Direction, what: Direction| match direction {
        fault::Direction::Requests => Rules {
            to_server: what,
            ..Rules::default()
        },
        fault::Direction::Answers => Rules {
            to_client: what,
            ..Rules::default()
        },
    };
    let rate = |bytes: u64| Direction {
        bandwidth: NonZeroU64::new(bytes),
        ..Direction::default()
    };
    let wanted = match &order.fault {
        Fault::NetPartitionOneWay(Edge::Vault, direction) => one(*direction, Direction::HELD),
        Fault::NetHalfClose(Edge::Vault, direction) => {
            let towards = match direction {
                fault::Direction::Requests => End::Server,
                fault::Direction::Answers => End::Client,
            };
            for &node in &order.nodes {
                for link in &world.node(node)?.links {
                    link.half_close(towards);
                }
            }
            return Ok(Active::once(1));
        }
        Fault::NetLatency {
            edge: Edge::Vault,
            min,
            max,
        } => {
            let late = Direction {
                latency: Some((*min, *max)),
                ..Direction::default()
            };
            Rules {
                to_server: late,
                to_client: late,
                ..Rules::default()
            }
        }
        Fault::NetLatency {
            edge: Edge::Socket,
            min,
            max,
        } => return rules(world, order, None, Action::Delay(middle(*min, *max) * 2)),
        Fault::NetBandwidth(Edge::Vault, bytes) => Rules {
            to_server: rate(*bytes),
            to_client: rate(*bytes),
            ..Rules::default()
        },
        Fault::NetSlowReader(Edge::Vault, bytes) => Rules {
            to_server: rate(*bytes),
            ..Rules::default()
        },
        Fault::NetReset(edge) => {
            for &node in &order.nodes {
                let node = world.node(node)?;
                match edge {
                    Edge::Vault => node.links.iter().for_each(kms_proxy::TcpProxy::reset),
                    Edge::Socket => node.socket.reset(),
                }
            }
            return Ok(Active::once(1));
        }
        other => bail!("{} cannot be made on this edge", other.kind()),
    };
    links(world, order, wanted)
}

/// Rules on the links to Vault.
pub fn links(world: &Arc<Inner>, order: &Order, wanted: Rules) -> Result<Active> {
    let mut before = Vec::new();
    for &number in &order.nodes {
        let node = world.node(number)?;
        before.push((number, node.touched()));
        node.links.iter().for_each(|link| link.set(wanted));
    }
    let (counting, undoing) = (Arc::clone(world), Arc::clone(world));
    let nodes = order.nodes.clone();
    let hits = Box::new(move || {
        let now = before
            .iter()
            .filter_map(|(number, before)| Some((counting.node(*number).ok()?, before)));
        now.map(|(node, before)| node.touched() - before).sum()
    });
    Ok(Active::lasting(hits, move || async move {
        for number in nodes {
            let links = &undoing.node(number)?.links;
            links.iter().for_each(|link| link.set(Rules::default()));
        }
        Ok(())
    }))
}
