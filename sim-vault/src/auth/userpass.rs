//! The userpass method.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Login, TOKEN_FIELDS, TokenParams};
use crate::{
    Core,
    call::{Call, Op},
    fields::{Field, Kind},
    mounts::Backend,
    pipeline::within,
    reply::{Outcome, Refused, Reply, done},
    route::Endpoint,
};

/// The users of one mount.
#[derive(Default)]
pub(crate) struct Userpass {
    pub users: BTreeMap<String, User>,
}

/// The password is kept as a digest: the model needs equality only, and must never show it.
pub(crate) struct User {
    password: [u8; 32],
    pub params: TokenParams,
}

const USER: [Field; 15] = {
    let t = TOKEN_FIELDS;
    [
        t[0],
        t[1],
        t[2],
        t[3],
        t[4],
        t[5],
        t[6],
        t[7],
        t[8],
        t[9],
        ("password", Kind::Text),
        ("policies", Kind::Texts),
        ("ttl", Kind::Seconds),
        ("max_ttl", Kind::Seconds),
        ("bound_cidrs", Kind::Texts),
    ]
};

pub(crate) const TABLE: &[Endpoint] = &[
    Endpoint {
        pattern: "login/{username:seg}",
        fields: &[("password", Kind::Text)],
        ops: &[(Op::Update, login)],
        exists: None,
    },
    Endpoint {
        pattern: "users?",
        fields: &[],
        ops: &[(Op::List, list)],
        exists: None,
    },
    Endpoint {
        pattern: "users/{username:seg}/password",
        fields: &[("password", Kind::Text)],
        ops: &[(Op::Update, set_password)],
        exists: None,
    },
    Endpoint {
        pattern: "users/{username:seg}/policies",
        fields: &[("policies", Kind::Texts), ("token_policies", Kind::Texts)],
        ops: &[(Op::Update, set_policies)],
        exists: None,
    },
    Endpoint {
        pattern: "users/{username:seg}",
        fields: &USER,
        ops: &[
            (Op::Create, write),
            (Op::Update, write),
            (Op::Read, read),
            (Op::Delete, delete),
        ],
        exists: Some(|core, call| Ok(users(core, call)?.contains_key(&name(call)))),
    },
];

fn users<'a>(core: &'a mut Core, call: &Call) -> Result<&'a mut BTreeMap<String, User>, Refused> {
    match core.mounts.get_mut(&call.mount).map(|m| &mut m.backend) {
        Some(Backend::Userpass(method)) => Ok(&mut method.users),
        _ => Err(Refused::unsupported_path()),
    }
}

fn name(call: &Call) -> String {
    call.args.text("username").to_lowercase()
}

fn digest(password: &str) -> [u8; 32] {
    Sha256::digest(password.as_bytes()).into()
}

fn list(core: &mut Core, call: &Call) -> Outcome {
    Reply::keys(users(core, call)?.keys().cloned().collect())
}

fn read(core: &mut Core, call: &Call) -> Outcome {
    let Some(params) = users(core, call)?
        .get(&name(call))
        .map(|u| u.params.clone())
    else {
        return Err(Refused::nothing());
    };
    Ok(Some(Reply::data(Value::Object(params.describe(core)))))
}

fn delete(core: &mut Core, call: &Call) -> Outcome {
    users(core, call)?.remove(&name(call));
    done()
}

fn write(core: &mut Core, call: &Call) -> Outcome {
    let password = call.args.opt_text("password").map(digest);
    let name = name(call);
    let users = users(core, call)?;
    let existing = users.get(&name);
    let Some(password) = password.or(existing.map(|u| u.password)) else {
        return Err(Refused::bad("missing password"));
    };
    let mut params = existing.map(|u| u.params.clone()).unwrap_or_default();
    params.update(&call.args)?;
    users.insert(name, User { password, params });
    done()
}

fn set_password(core: &mut Core, call: &Call) -> Outcome {
    let Some(password) = call.args.opt_text("password").map(digest) else {
        return Err(Refused::bad("missing password"));
    };
    match users(core, call)?.get_mut(&name(call)) {
        Some(user) => user.password = password,
        None => return Err(Refused::bad("username does not exist")),
    }
    done()
}

fn set_policies(core: &mut Core, call: &Call) -> Outcome {
    match users(core, call)?.get_mut(&name(call)) {
        Some(user) => user.params.update(&call.args)?,
        None => return Err(Refused::bad("username does not exist")),
    }
    done()
}

fn login(core: &mut Core, call: &Call) -> Outcome {
    let name = name(call);
    if core.flavour.is_vault() && matches!(call.raw.get("password"), Some(Value::Object(_))) {
        return Err(Refused::Panic);
    }
    let password = call.args.text("password");
    if password.is_empty() {
        return Err(if core.flavour.is_openbao() {
            Refused::Plain(500, "missing password".to_owned())
        } else {
            Refused::bad("invalid credentials")
        });
    }
    let (accessor, lockout) = core.lockout_of(call);
    if core.lockouts.is_locked(&accessor, &name, lockout, core.now) {
        return Err(Refused::denied());
    }
    let found = users(core, call)?
        .get(&name)
        .map(|u| (u.password == digest(password), u.params.clone()));
    let Some((true, params)) = found else {
        if found.is_some() {
            let now = core.now;
            core.lockouts.failed(&accessor, &name, lockout, now);
        }
        return Err(Refused::bad("invalid username or password"));
    };
    if !within(call.peer, &params.bound_cidrs) {
        return Err(Refused::denied());
    }
    core.lockouts.clear(&accessor, &name);
    let metadata = BTreeMap::from([("username".to_owned(), name.clone())]);
    core.issue(
        call,
        Login {
            params: &params,
            alias: &name,
            owner: &name,
            display_name: &name,
            metadata,
        },
    )
}

/// What renewing a token of this mount finds: `None` if the user is gone (nothing is renewed, 204).
pub(crate) fn renewal(
    core: &mut Core,
    method: crate::mounts::MountId,
    entry: &crate::token::Entry,
) -> Result<Option<TokenParams>, Refused> {
    let Some(Backend::Userpass(method)) = core.mounts.get(&method).map(|m| &m.backend) else {
        return Ok(None);
    };
    let Some(user) = method.users.get(&entry.owner) else {
        return Ok(None);
    };
    if super::effective_policies(&user.params.policies, user.params.no_default_policy)
        != entry.policies
    {
        return Err(Refused::internal(
            "failed to renew entry: policies have changed, not renewing",
        ));
    }
    Ok(Some(user.params.clone()))
}
