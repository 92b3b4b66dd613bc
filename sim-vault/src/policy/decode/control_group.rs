//! Control groups: whom a path's use must be approved by. They are the paid edition's; the text is read all the same.

use super::{Given, below, field, seconds, several, whole};
use crate::{
    flavour::Flavour,
    policy::hcl::{Item, Node, at},
};

/// The block's control group, if it has one.
pub(super) fn of(items: &[Item]) -> Result<Option<Vec<Item>>, String> {
    let mut group = None;
    for given in field(items, "control_group") {
        group = Some(match given {
            Given::Value(Node::Object(_, inner)) => inner.clone(),
            Given::Blocks(inner) => inner,
            Given::Value(other) => {
                let kind = other.kind();
                let text = format!("root.control_group: not an object type for struct ({kind})");
                return Err(at(other.pos(), text));
            }
        });
    }
    Ok(group)
}

/// What is wrong with it.
pub(super) fn check(group: &[Item], flavour: Flavour) -> Result<(), String> {
    let dressed = |fault: &str| {
        let list = several(&[fault.to_owned()]);
        format!("error handling control_group: {list}")
    };
    let ttl = field(group, "ttl").iter().find_map(whole);
    if let Some(Err(fault)) = ttl.as_ref().map(seconds) {
        return Err(if flavour.is_openbao() {
            dressed(&format!("path control_group: invalid ttl: {fault}"))
        } else {
            format!("error parsing control group max ttl: {fault}")
        });
    }
    let factors = below(group, "factor");
    let fault = match (factors.is_empty(), flavour.is_openbao()) {
        (true, true) => "requires at least one factor but had none",
        (true, false) => return Err("no control group factors provided".to_owned()),
        (false, true) => "factor 0: missing controlled capabilities",
        (false, false) => return Err("no control_group factor provided".to_owned()),
    };
    let inner = |name: &str| {
        factors.iter().all(|f| match &f.value {
            Node::Object(_, items) => !field(items, name).is_empty(),
            _ => false,
        })
    };
    if !factors.is_empty() && inner("identity") && inner("controlled_capabilities") {
        return Ok(());
    }
    Err(dressed(fault))
}
