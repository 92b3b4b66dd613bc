//! The key-value engine (version 1, and as much of version 2 as a dev server's `secret/` needs) and the cubbyhole.
//! They are here because a plugin pointed at the wrong mount writes plaintext into them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{
    Core,
    call::{Call, Op},
    fields::Kind,
    mounts::Backend,
    reply::{Outcome, Refused, Reply, done, ok},
    route::Endpoint,
};

/// Version 2: the versions of each path.
#[derive(Clone, Default)]
pub(crate) struct Versioned {
    data: BTreeMap<String, Vec<Map<String, Value>>>,
}

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
    exists: None,
}];

pub(crate) const TABLE_V2: &[Endpoint] = &[Endpoint {
    pattern: "data/{path:any}",
    fields: &[
        ("data", Kind::Object),
        ("options", Kind::Object),
        ("version", Kind::Int),
    ],
    ops: &[
        (Op::Create, write_v2),
        (Op::Update, write_v2),
        (Op::Read, read_v2),
    ],
    exists: Some(|core, call| {
        Ok(versions(core, call)?
            .data
            .contains_key(call.args.text("path")))
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
    let (store, (token, prefix)) = cubby(core, call)?;
    let own = store
        .keys()
        .filter(|(t, _)| *t == token)
        .map(|(_, path)| path);
    Reply::keys(below(own, &prefix))
}

/// The next level below a path, folders with their slash.
fn below<'a>(paths: impl Iterator<Item = &'a String>, prefix: &str) -> Vec<String> {
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

/// By token id and path.
type Cubbyholes = BTreeMap<(String, String), Map<String, Value>>;

fn cubby<'a>(
    core: &'a mut Core,
    call: &Call,
) -> Result<(&'a mut Cubbyholes, (String, String)), Refused> {
    let token = call.token.as_ref().ok_or_else(Refused::denied)?;
    if token.kind == crate::token::TokenKind::Batch {
        return Err(Refused::bad(
            "cubbyhole operations are only supported by 'service' type tokens",
        ));
    }
    let token = token.id.clone();
    match core.mounts.get_mut(&call.mount).map(|m| &mut m.backend) {
        Some(Backend::Cubbyhole(store)) => Ok((store, (token, call.args.text("path").to_owned()))),
        _ => Err(Refused::unsupported_path()),
    }
}

fn cubby_write(core: &mut Core, call: &Call) -> Outcome {
    if call.raw.is_empty() {
        return Err(Refused::internal("missing data fields"));
    }
    let (store, key) = cubby(core, call)?;
    store.insert(key, call.raw.clone());
    done()
}

fn cubby_read(core: &mut Core, call: &Call) -> Outcome {
    let (store, key) = cubby(core, call)?;
    match store.get(&key) {
        Some(data) => ok(Value::Object(data.clone())),
        None => Err(Refused::nothing()),
    }
}

fn cubby_delete(core: &mut Core, call: &Call) -> Outcome {
    let (store, key) = cubby(core, call)?;
    store.remove(&key);
    done()
}

fn versions<'a>(core: &'a mut Core, call: &Call) -> Result<&'a mut Versioned, Refused> {
    match core.mounts.get_mut(&call.mount).map(|m| &mut m.backend) {
        Some(Backend::Kv2(store)) => Ok(store),
        _ => Err(Refused::unsupported_path()),
    }
}

fn metadata(core: &Core, version: usize) -> Value {
    json!({
        "created_time": core.rfc3339(core.now),
        "custom_metadata": null,
        "deletion_time": "",
        "destroyed": false,
        "version": version,
    })
}

fn write_v2(core: &mut Core, call: &Call) -> Outcome {
    let Some(Value::Object(data)) = call.args.get("data").cloned() else {
        return Err(Refused::bad("no data provided"));
    };
    let history = versions(core, call)?
        .data
        .entry(call.args.text("path").to_owned())
        .or_default();
    history.push(data);
    let version = history.len();
    ok(metadata(core, version))
}

fn read_v2(core: &mut Core, call: &Call) -> Outcome {
    let history = versions(core, call)?
        .data
        .get(call.args.text("path"))
        .cloned()
        .unwrap_or_default();
    match history.last() {
        Some(data) => ok(json!({ "data": data, "metadata": metadata(core, history.len()) })),
        None => Err(Refused::nothing()),
    }
}
