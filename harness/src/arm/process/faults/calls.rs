//! What happens to calls on the sockets.

use std::sync::Arc;

use anyhow::{Result, bail};
use kms_proxy::{Action, Rule};
use kms_scenario::fault::{Fault, Rpc};
use kms_scenario::world::Order;
use kms_sim::answers;

use super::{Active, middle};
use crate::arm::process::world::Inner;

pub fn calls(world: &Arc<Inner>, order: &Order) -> Result<Active> {
    let (method, action) = match &order.fault {
        Fault::RpcSick => (&Some(Rpc::Status), Action::Alter(answers::sick)),
        Fault::RpcWrongKey => (&Some(Rpc::Decrypt), Action::Alter(answers::wrong_key)),
        Fault::RpcDelay { method, min, max } => (method, Action::Delay(middle(*min, *max))),
        Fault::RpcHold(method) => (method, Action::Hold),
        Fault::RpcStatus {
            method,
            code,
            message,
        } => {
            let (code, message) = (*code, message.clone());
            (method, Action::Status { code, message })
        }
        // Inside the answer's first frame.
        Fault::RpcCut(method) => (method, Action::Cut(20)),
        other => bail!("{} is nothing that happens to calls", other.kind()),
    };
    rules(world, order, *method, action)
}

/// Rules on the sockets.
pub fn rules(
    world: &Arc<Inner>,
    order: &Order,
    method: Option<Rpc>,
    action: Action,
) -> Result<Active> {
    let method = method.map(|method| format!("{method:?}"));
    let rule = Rule {
        method,
        action,
        times: None,
    };
    let mut added = Vec::new();
    for &number in &order.nodes {
        added.push((number, world.node(number)?.socket.add(rule.clone())));
    }
    let (counting, undoing) = (Arc::clone(world), Arc::clone(world));
    let count = added.clone();
    let hits = Box::new(move || {
        let rules = count
            .iter()
            .filter_map(|(number, id)| Some((counting.node(*number).ok()?, id)));
        rules.map(|(node, id)| node.socket.hits(*id)).sum()
    });
    Ok(Active::lasting(hits, move || async move {
        for (number, id) in added {
            undoing.node(number)?.socket.remove(id);
        }
        Ok(())
    }))
}
