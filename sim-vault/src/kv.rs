//! The key-value engine, version 1, and the cubbyhole. They are here because a plugin pointed at the wrong mount writes
//! plaintext into them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{
    Core,
    call::{Call, Op},
    fields::Kind,
    mounts::{Backend, MountId},
    reply::{Outcome, Refused, Reply, done, ok},
    route::Endpoint,
    token::Cubbyhole,
};

pub(crate) const TABLE: &[Endpoint] = &[Endpoint {
    pattern: "{path:any}",
    fields: &[("*", Kind::Any)],
    ops: &[
        (Op::Create, write),
        (Op::Update, write),
        (Op::Read, read),
        (Op::Delete, delete),
        (Op::List, list),
    ],
    exists: Some(|core, call| Ok(store(core, call)?.contains_key(call.args.text("path")))),
}];

pub(crate) const CUBBYHOLE: &[Endpoint] = &[Endpoint {
    pattern: "{path:any}",
    fields: &[("*", Kind::Any)],
    ops: &[
        (Op::Create, cubby_write),
        (Op::Update, cubby_write),
        (Op::Read, cubby_read),
        (Op::Delete, cubby_delete),
        (Op::List, cubby_list),
    ],
    exists: Some(|core, call| {
        let (own, place) = cubby(core, call)?;
        Ok(own.contains_key(&place))
    }),
}];

type Secrets = BTreeMap<String, Map<String, Value>>;

fn store<'a>(core: &'a mut Core, call: &Call) -> Result<&'a mut Secrets, Refused> {
    match core.mounts.get_mut(&call.mount).map(|m| &mut m.backend) {
        Some(Backend::Kv(store)) => Ok(store),
        _ => Err(Refused::unsupported_path()),
    }
}

fn write(core: &mut Core, call: &Call) -> Outcome {
    if call.raw.is_empty() {
        return Err(Refused::bad("missing data fields"));
    }
    store(core, call)?.insert(call.args.text("path").to_owned(), call.raw.clone());
    done()
}

fn read(core: &mut Core, call: &Call) -> Outcome {
    match store(core, call)?.get(call.args.text("path")) {
        Some(data) => {
            let data = Value::Object(data.clone());
            let lease = core.mount(call.mount).map(|m| {
                // OpenBao leases only what the mount says itself
                if core.flavour.is_vault() {
                    m.default_lease().as_secs()
                } else {
                    m.default_ttl.as_secs()
                }
            });
            Ok(Some(Reply {
                lease: lease.unwrap_or_default(),
                ..Reply::data(data)
            }))
        }
        None => Err(Refused::nothing()),
    }
}

fn delete(core: &mut Core, call: &Call) -> Outcome {
    store(core, call)?.remove(call.args.text("path"));
    done()
}

fn list(core: &mut Core, call: &Call) -> Outcome {
    let prefix = call.args.text("path").to_owned();
    Reply::keys(below(store(core, call)?.keys(), &prefix))
}

fn cubby_list(core: &mut Core, call: &Call) -> Outcome {
    let (own, (mount, prefix)) = cubby(core, call)?;
    let here = own.keys().filter(|(m, _)| *m == mount);
    Reply::keys(below(here.map(|(_, path)| path), &prefix))
}

/// The next level below a path, folders with their slash.
pub(crate) fn below<'a>(paths: impl Iterator<Item = &'a String>, prefix: &str) -> Vec<String> {
    let mut keys: Vec<String> = paths
        .filter_map(|k| k.strip_prefix(prefix))
        .map(|rest| {
            rest.find('/')
                .map_or(rest, |at| rest.get(..=at).unwrap_or(rest))
                .to_owned()
        })
        .collect();
    keys.dedup();
    keys
}

/// The caller's cubbyhole, and where in it the call points.
fn cubby<'a>(
    core: &'a mut Core,
    call: &Call,
) -> Result<(&'a mut Cubbyhole, (MountId, String)), Refused> {
    let token = call.token.as_ref().ok_or_else(Refused::denied)?;
    if token.kind == crate::token::TokenKind::Batch {
        let quote = if core.flavour.is_openbao() { '\'' } else { '"' };
        return Err(Refused::bad(format!(
            "cubbyhole operations are only supported by {quote}service{quote} type tokens"
        )));
    }
    let place = (call.mount, call.args.text("path").to_owned());
    Ok((core.tokens.cubbyhole(&token.id), place))
}

fn cubby_write(core: &mut Core, call: &Call) -> Outcome {
    if call.raw.is_empty() {
        return Err(Refused::internal("missing data fields"));
    }
    let (own, place) = cubby(core, call)?;
    own.insert(place, call.raw.clone());
    done()
}

fn cubby_read(core: &mut Core, call: &Call) -> Outcome {
    let (own, place) = cubby(core, call)?;
    match own.get(&place) {
        Some(data) => ok(Value::Object(data.clone())),
        None => Err(Refused::nothing()),
    }
}

fn cubby_delete(core: &mut Core, call: &Call) -> Outcome {
    let (own, place) = cubby(core, call)?;
    own.remove(&place);
    done()
}
