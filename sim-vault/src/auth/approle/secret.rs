//! Secret ids: made, listed, looked up, destroyed, each with limits that must lie within its role's.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Role, SecretId, accessors, all, name, role};
use crate::{
    Core,
    call::Call,
    gobase64,
    pipeline::within,
    reply::{Outcome, Refused, Reply, done, ok},
};

/// Whether a block lies within one of the others.
fn inside(block: &str, others: &[String]) -> bool {
    let bits = |b: &str| b.split_once('/').and_then(|(_, n)| n.parse::<u8>().ok());
    let Some((base, _)) = block.split_once('/') else {
        return false;
    };
    base.parse().is_ok_and(|base| {
        others.iter().any(|other| {
            bits(other).unwrap_or(u8::MAX) <= bits(block).unwrap_or(0)
                && within(base, std::slice::from_ref(other))
        })
    })
}

/// Networks only: an address without a length is none.
pub(super) fn check_blocks(blocks: &[String], what: &str) -> Result<(), Refused> {
    for block in blocks {
        let sound = block.split_once('/').is_some_and(|(base, bits)| {
            let width = match base.parse::<std::net::IpAddr>() {
                Ok(base) if base.is_ipv4() => 32,
                Ok(_) => 128,
                Err(_) => return false,
            };
            bits.parse::<u8>().is_ok_and(|b| b <= width)
        });
        if !sound {
            return Err(Refused::internal(format!(
                "failed to validate {what}: invalid CIDR address: {block}"
            )));
        }
    }
    Ok(())
}

/// A secret id's networks must lie within its role's, if both have any.
pub(super) fn check_within_role(blocks: &[String], of_role: &[String]) -> Result<(), Refused> {
    if blocks.is_empty() || of_role.is_empty() || blocks.iter().all(|b| inside(b, of_role)) {
        return Ok(());
    }
    let list = |l: &[String]| {
        let quoted: Vec<String> = l.iter().map(|b| format!("{b:?}")).collect();
        format!("[{}]", quoted.join(" "))
    };
    Err(Refused::internal(format!(
        "failed to verify subset relationship between CIDR blocks on the role {} and CIDR blocks on the secret ID {}: %!w(<nil>)",
        list(of_role),
        list(blocks)
    )))
}

pub(super) fn new_secret(core: &mut Core, call: &Call) -> Outcome {
    if call.path.contains("/custom-secret-id") && call.args.text("secret_id").is_empty() {
        return Err(Refused::bad("missing secret_id"));
    }
    let wanted = role(core, call)?.clone();
    if !wanted.bind_secret_id {
        return Err(Refused::bad("bind_secret_id is not set on the role"));
    }
    for (field, of_role, what) in [
        ("cidr_list", wanted.blocks(), "CIDR blocks"),
        (
            "token_bound_cidrs",
            &wanted.params.bound_cidrs,
            "token CIDR blocks",
        ),
    ] {
        // a single address is kept without its length
        let whole = |b: &String| {
            if b.contains('/') {
                b.clone()
            } else {
                format!("{b}/32")
            }
        };
        let of_role: &[String] = &of_role.iter().map(whole).collect::<Vec<_>>();
        let blocks = call.args.texts(field);
        check_blocks(&blocks, what)?;
        check_within_role(&blocks, of_role)?;
    }
    let (fresh, accessor, now) = (core.uuid(), core.uuid(), core.now);
    let args = &call.args;
    if args.int("num_uses") < 0 {
        return Err(Refused::bad("num_uses cannot be negative"));
    }
    let secret = args
        .opt_text("secret_id")
        .filter(|s| !s.is_empty())
        .map_or(fresh, str::to_owned);
    let over = |wanted: u128, most: u128| most > 0 && (wanted == 0 || wanted > most);
    if args.has("num_uses")
        && over(
            args.int("num_uses").unsigned_abs().into(),
            wanted.secret_id_num_uses.unsigned_abs().into(),
        )
    {
        return Err(Refused::bad(
            "num_uses cannot be higher than the role's secret_id_num_uses",
        ));
    }
    if args.has("ttl")
        && over(
            args.seconds("ttl").as_nanos(),
            wanted.secret_id_ttl.as_nanos(),
        )
    {
        return Err(Refused::bad(
            "ttl cannot be longer than the role's secret_id_ttl",
        ));
    }
    let metadata = pairs(args.text("metadata"))
        .map_err(|fault| Refused::bad(format!("failed to parse metadata: {fault}")))?;
    if wanted.secrets.contains_key(&secret) {
        return Err(Refused::internal(
            "failed to store secret_id: SecretID is already registered",
        ));
    }
    let role = role(core, call)?;
    let uses = args.opt_int("num_uses").unwrap_or(role.secret_id_num_uses);
    let ttl = args.opt_seconds("ttl").unwrap_or(role.secret_id_ttl);
    let id = SecretId {
        accessor: accessor.clone(),
        cidrs: args.texts("cidr_list"),
        token_cidrs: args.texts("token_bound_cidrs"),
        uses,
        ttl,
        created: now,
        updated: now,
        metadata,
    };
    let granted = id.granted();
    role.secrets.insert(secret.clone(), id);
    let local = role.local_secret_ids;
    accessors(core, call)?.insert((local, accessor.clone()));
    ok(json!({
        "secret_id": secret,
        "secret_id_accessor": accessor,
        "secret_id_num_uses": uses,
        "secret_id_ttl": granted.as_secs(),
    }))
}

/// Metadata as a text: JSON or `k=v,k=v`, either of them in base64, too.
fn pairs(text: &str) -> Result<BTreeMap<String, String>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(BTreeMap::new());
    }
    let decoded = gobase64::decode(text).ok().filter(|d| !d.is_empty());
    let plain = decoded.unwrap_or_else(|| text.as_bytes().to_vec());
    if let Ok(read) = serde_json::from_slice::<BTreeMap<String, Option<String>>>(&plain) {
        let read = read.into_iter().map(|(key, value)| {
            let value = value.filter(|value| !value.is_empty());
            let fault = format!("invalid value for key {key:?}");
            Ok((key, value.ok_or(fault)?))
        });
        return read.collect();
    }
    // pairs have one case only
    let plain = String::from_utf8_lossy(&plain).to_lowercase();
    let mut parts: Vec<&str> = plain.split(',').map(str::trim).collect();
    parts.retain(|part| !part.is_empty());
    parts.sort_unstable();
    let read = parts.into_iter().map(|part| {
        let sides: Vec<&str> = part.split('=').map(str::trim).collect();
        match sides.as_slice() {
            [key, value] if !key.is_empty() && !value.is_empty() => {
                Ok(((*key).to_owned(), (*value).to_owned()))
            }
            [key, value] => Err(format!(
                "failed to parse the input: invalid <key,value> pair: key: {key:?} value: {value:?}"
            )),
            _ => Err("failed to parse the input: invalid <key,value> format".to_owned()),
        }
    });
    read.collect()
}

pub(super) fn list_secrets(core: &mut Core, call: &Call) -> Outcome {
    let now = core.now;
    let mut keys: Vec<String> = role(core, call)
        .map_err(|e| match e {
            Refused::Plain(_, text) => Refused::bad(text),
            other => other,
        })?
        .secrets
        .values()
        .filter(|s| !s.expired(now))
        .map(|s| s.accessor.clone())
        .collect();
    keys.sort();
    Reply::keys(keys)
}

/// What a lookup or a destruction is about.
enum Named {
    Secret(String),
    /// No such secret id, or an accessor whose secret id is another role's or has gone with its role.
    Nothing,
    /// The mount does not know this accessor: the complaint.
    UnknownAccessor(String),
}

/// The role that the call names, and the secret id there: by itself or by its accessor.
fn named(core: &mut Core, call: &Call) -> Result<(Role, Named), Refused> {
    let missing = Refused::internal(format!("role {:?} does not exist", name(call)));
    let role = role(core, call).map_err(|_| missing)?.clone();
    let Some(accessor) = call.args.opt_text("secret_id_accessor") else {
        let secret = call.args.text("secret_id").to_owned();
        let known = role.secrets.contains_key(&secret);
        let found = if known {
            Named::Secret(secret)
        } else {
            Named::Nothing
        };
        return Ok((role, found));
    };
    if !accessors(core, call)?.contains(&(role.local_secret_ids, accessor.to_owned())) {
        let text = format!("failed to find accessor entry for secret_id_accessor: {accessor:?}");
        return Ok((role, Named::UnknownAccessor(text)));
    }
    let mut secrets = role.secrets.iter();
    let found = secrets.find(|(_, s)| s.accessor == accessor);
    let found = found.map_or(Named::Nothing, |(secret, _)| Named::Secret(secret.clone()));
    Ok((role, found))
}

/// What the lookups and destructions need before they look at the role.
fn check_named(call: &Call) -> Result<(), Refused> {
    let field = if call.path.contains("/secret-id-accessor/") {
        "secret_id_accessor"
    } else {
        "secret_id"
    };
    if call.args.text(field).is_empty() {
        return Err(Refused::bad(format!("missing {field}")));
    }
    Ok(())
}

pub(super) fn look_up(core: &mut Core, call: &Call) -> Outcome {
    check_named(call)?;
    let (role, named) = named(core, call)?;
    let id = match named {
        Named::Secret(secret) => role.secrets.get(&secret),
        Named::Nothing => None,
        Named::UnknownAccessor(text) => {
            return Ok(Some(Reply {
                status: Some(404),
                finished: true,
                ..Reply::data(json!({ "error": text }))
            }));
        }
    };
    let Some(id) = id else {
        return done();
    };
    let expires = if id.ttl.is_zero() {
        "0001-01-01T00:00:00Z".to_owned()
    } else {
        core.rfc3339(id.created + id.granted())
    };
    ok(json!({
        "cidr_list": id.cidrs,
        "creation_time": core.rfc3339(id.created),
        "expiration_time": expires,
        "last_updated_time": core.rfc3339(id.updated),
        "metadata": id.metadata,
        "secret_id_accessor": id.accessor,
        "secret_id_num_uses": id.uses,
        "secret_id_ttl": id.ttl.as_secs(),
        "token_bound_cidrs": id.token_cidrs,
    }))
}

pub(super) fn destroy(core: &mut Core, call: &Call) -> Outcome {
    check_named(call)?;
    match named(core, call)?.1 {
        Named::Secret(secret) => {
            forget(core, call, &name(call), &secret)?;
            done()
        }
        Named::UnknownAccessor(text) => Err(Refused::internal(text)),
        Named::Nothing if call.args.has("secret_id_accessor") => {
            Err(Refused::Plain(403, "invalid secret id accessor".to_owned()))
        }
        Named::Nothing => done(),
    }
}

/// Removes a secret id and its accessor.
pub(super) fn forget(
    core: &mut Core,
    call: &Call,
    role: &str,
    secret: &str,
) -> Result<(), Refused> {
    let Some(role) = all(core, call)?.get_mut(role) else {
        return Ok(());
    };
    let local = role.local_secret_ids;
    if let Some(id) = role.secrets.remove(secret) {
        accessors(core, call)?.remove(&(local, id.accessor));
    }
    Ok(())
}

pub(super) fn tidy(core: &mut Core, call: &Call) -> Outcome {
    let now = core.now;
    let mut kept = super::Accessors::new();
    for role in all(core, call)?.values_mut() {
        role.secrets.retain(|_, s| !s.expired(now));
        let living = role.secrets.values().map(|s| s.accessor.clone());
        kept.extend(living.map(|accessor| (role.local_secret_ids, accessor)));
    }
    *accessors(core, call)? = kept;
    let product = core.flavour.product();
    let text = format!(
        "Tidy operation successfully started. Any information from the operation will be printed to {product}'s server logs."
    );
    Ok(Some(
        Reply {
            status: Some(202),
            finished: true,
            ..Reply::default()
        }
        .warn(text),
    ))
}
