//! The key-value engine, version 1, and the cubbyhole. They are here because a plugin pointed at the wrong mount writes
//! plaintext into them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{
    Core,
    call::{Call, Op},
    duration,
    fields::Kind,
    mounts::{Backend, Mount, MountId},
    reply::{Outcome, Refused, Reply, done, ok},
    route::Endpoint,
    token::Cubbyhole,
};

pub(crate) const TABLE: &[Endpoint] = &[Endpoint {
    pattern: "{path:all}",
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
    pattern: "{path:all}",
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
    if call.args.text("path").is_empty() {
        return Err(Refused::bad("missing path"));
    }
    if call.raw.is_empty() {
        return Err(Refused::bad("missing data fields"));
    }
    store(core, call)?.insert(call.args.text("path").to_owned(), call.raw.clone());
    done()
}

fn read(core: &mut Core, call: &Call) -> Outcome {
    let Some(data) = store(core, call)?.get(call.args.text("path")).cloned() else {
        return Err(Refused::nothing());
    };
    let usual = |mount: &Mount| i64::try_from(mount.default_lease().as_secs()).ok();
    let lease = own_lease(&data).or_else(|| usual(core.mount(call.mount)?));
    Ok(Some(Reply {
        lease: lease.unwrap_or_default(),
        ..Reply::data(Value::Object(data))
    }))
}

/// The lease in seconds that a secret names itself, be it negative; nothing if what it names is no duration.
fn own_lease(data: &Map<String, Value>) -> Option<i64> {
    match data.get("ttl").or_else(|| data.get("lease"))? {
        Value::Null => Some(0),
        Value::Number(seconds) => seconds.as_i64(),
        Value::String(text) => {
            let (sign, text) = match text.strip_prefix('-') {
                Some(rest) => (-1, rest),
                None => (1, text.as_str()),
            };
            let time = duration::parse(text)?.ok()?;
            Some(sign * i64::try_from(time.as_secs()).ok()?)
        }
        _ => None,
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

/// The cubbyhole itself is no place for anything.
fn check_path(call: &Call) -> Result<(), Refused> {
    if call.args.text("path").is_empty() {
        return Err(Refused::internal("missing path"));
    }
    Ok(())
}

fn cubby_write(core: &mut Core, call: &Call) -> Outcome {
    if call.raw.is_empty() {
        return Err(Refused::internal("missing data fields"));
    }
    check_path(call)?;
    let (own, place) = cubby(core, call)?;
    own.insert(place, call.raw.clone());
    done()
}

fn cubby_read(core: &mut Core, call: &Call) -> Outcome {
    check_path(call)?;
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
