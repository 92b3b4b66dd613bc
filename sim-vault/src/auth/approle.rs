//! The AppRole method: roles, role ids, secret ids with their limits.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::{Login, TOKEN_FIELDS, TokenParams};
use crate::{
    Core,
    call::{Call, Op},
    fields::{Field, Kind},
    mounts::Backend,
    pipeline::within,
    reply::{Outcome, Refused, Reply, done, ok},
    route::Endpoint,
    token::Entry,
};

/// The roles of one mount.
#[derive(Default)]
pub(crate) struct Approle {
    pub roles: BTreeMap<String, Role>,
}

/// One role.
#[derive(Clone, Default)]
pub(crate) struct Role {
    pub role_id: String,
    pub bind_secret_id: bool,
    pub secret_id_bound_cidrs: Vec<String>,
    pub secret_id_num_uses: i64,
    pub secret_id_ttl: Duration,
    pub params: TokenParams,
    /// By the secret itself.
    pub secrets: BTreeMap<String, SecretId>,
}

/// One secret id.
#[derive(Clone)]
pub(crate) struct SecretId {
    pub accessor: String,
    pub cidrs: Vec<String>,
    pub token_cidrs: Vec<String>,
    /// Uses left; 0 is unlimited.
    pub uses: i64,
    pub ttl: Duration,
    pub created: Duration,
    pub updated: Duration,
    pub metadata: BTreeMap<String, String>,
}

impl SecretId {
    fn expired(&self, now: Duration) -> bool {
        !self.ttl.is_zero() && now >= self.created + self.ttl
    }
}

const ROLE: [Field; 19] = {
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
        ("bind_secret_id", Kind::Bool),
        ("secret_id_bound_cidrs", Kind::Texts),
        ("bound_cidr_list", Kind::Texts),
        ("secret_id_num_uses", Kind::Int),
        ("secret_id_ttl", Kind::Seconds),
        ("role_id", Kind::Text),
        ("policies", Kind::Texts),
        ("local_secret_ids", Kind::Bool),
        ("period", Kind::Seconds),
    ]
};

const SECRET: &[Field] = &[
    ("metadata", Kind::Text),
    ("cidr_list", Kind::Texts),
    ("token_bound_cidrs", Kind::Texts),
    ("num_uses", Kind::Int),
    ("ttl", Kind::Seconds),
    ("secret_id", Kind::Text),
];
const BY_SECRET: &[Field] = &[("secret_id", Kind::Text)];
const BY_ACCESSOR: &[Field] = &[("secret_id_accessor", Kind::Text)];

pub(crate) const TABLE: &[Endpoint] = &[
    Endpoint {
        pattern: "login?",
        fields: &[("role_id", Kind::Text), ("secret_id", Kind::Text)],
        ops: &[(Op::Update, login)],
        exists: None,
    },
    Endpoint {
        pattern: "role?",
        fields: &[],
        ops: &[(Op::List, list)],
        exists: None,
    },
    Endpoint {
        pattern: "role/{role_name}",
        fields: &ROLE,
        ops: &[
            (Op::Create, write),
            (Op::Update, write),
            (Op::Read, read),
            (Op::Delete, delete),
        ],
        exists: Some(|core, call| Ok(method(core, call)?.roles.contains_key(&name(call)))),
    },
    Endpoint {
        pattern: "role/{role_name}/role-id?",
        fields: &[("role_id", Kind::Text)],
        ops: &[(Op::Read, read_id), (Op::Update, write_id)],
        exists: None,
    },
    Endpoint {
        pattern: "role/{role_name}/secret-id?",
        fields: SECRET,
        ops: &[(Op::Update, new_secret), (Op::List, list_secrets)],
        exists: None,
    },
    Endpoint {
        pattern: "role/{role_name}/custom-secret-id?",
        fields: SECRET,
        ops: &[(Op::Update, new_secret)],
        exists: None,
    },
    Endpoint {
        pattern: "role/{role_name}/secret-id/lookup?",
        fields: BY_SECRET,
        ops: &[(Op::Update, look_up)],
        exists: None,
    },
    Endpoint {
        pattern: "role/{role_name}/secret-id/destroy?",
        fields: BY_SECRET,
        ops: &[(Op::Update, destroy), (Op::Delete, destroy)],
        exists: None,
    },
    Endpoint {
        pattern: "role/{role_name}/secret-id-accessor/lookup?",
        fields: BY_ACCESSOR,
        ops: &[(Op::Update, look_up)],
        exists: None,
    },
    Endpoint {
        pattern: "role/{role_name}/secret-id-accessor/destroy?",
        fields: BY_ACCESSOR,
        ops: &[(Op::Update, destroy), (Op::Delete, destroy)],
        exists: None,
    },
    Endpoint {
        pattern: "tidy/secret-id?",
        fields: &[],
        ops: &[(Op::Update, tidy)],
        exists: None,
    },
];

fn method<'a>(core: &'a mut Core, call: &Call) -> Result<&'a mut Approle, Refused> {
    match core.mounts.get_mut(&call.mount).map(|m| &mut m.backend) {
        Some(Backend::Approle(method)) => Ok(method),
        _ => Err(Refused::unsupported_path()),
    }
}

fn name(call: &Call) -> String {
    call.args.text("role_name").to_lowercase()
}

fn role<'a>(core: &'a mut Core, call: &Call) -> Result<&'a mut Role, Refused> {
    let name = name(call);
    let text = format!("role {name:?} does not exist");
    method(core, call)?
        .roles
        .get_mut(&name)
        .ok_or(Refused::Plain(404, text))
}

fn list(core: &mut Core, call: &Call) -> Outcome {
    Reply::keys(method(core, call)?.roles.keys().cloned().collect())
}

fn write(core: &mut Core, call: &Call) -> Outcome {
    let name = name(call);
    let fresh = core.uuid();
    let roles = &mut method(core, call)?.roles;
    let mut role = roles.get(&name).cloned().unwrap_or_else(|| Role {
        role_id: fresh,
        bind_secret_id: true,
        ..Role::default()
    });
    let args = &call.args;
    if let Some(b) = args.opt_bool("bind_secret_id") {
        role.bind_secret_id = b;
    }
    if let Some(cidrs) = args
        .opt_texts("secret_id_bound_cidrs")
        .or_else(|| args.opt_texts("bound_cidr_list"))
    {
        role.secret_id_bound_cidrs = cidrs;
    }
    if let Some(n) = args.opt_int("secret_id_num_uses") {
        role.secret_id_num_uses = n;
    }
    if let Some(d) = args.opt_seconds("secret_id_ttl") {
        role.secret_id_ttl = d;
    }
    if let Some(id) = args.opt_text("role_id") {
        id.clone_into(&mut role.role_id);
    }
    role.params.update(args)?;
    if !role.bind_secret_id
        && role.secret_id_bound_cidrs.is_empty()
        && role.params.bound_cidrs.is_empty()
    {
        return Err(Refused::bad(
            "at least one constraint should be enabled on the role",
        ));
    }
    roles.insert(name, role);
    done()
}

fn read(core: &mut Core, call: &Call) -> Outcome {
    let Some(role) = method(core, call)?.roles.get(&name(call)).cloned() else {
        return Err(Refused::nothing());
    };
    let mut data = role.params.describe(core);
    let cidrs = (!role.secret_id_bound_cidrs.is_empty()).then_some(role.secret_id_bound_cidrs);
    data.extend(crate::reply::object(json!({
        "bind_secret_id": role.bind_secret_id,
        "local_secret_ids": false,
        "secret_id_bound_cidrs": cidrs,
        "secret_id_num_uses": role.secret_id_num_uses,
        "secret_id_ttl": role.secret_id_ttl.as_secs(),
    })));
    Ok(Some(Reply::data(Value::Object(data))))
}

fn delete(core: &mut Core, call: &Call) -> Outcome {
    method(core, call)?.roles.remove(&name(call));
    done()
}

fn read_id(core: &mut Core, call: &Call) -> Outcome {
    match method(core, call)?.roles.get(&name(call)) {
        Some(role) => ok(json!({ "role_id": role.role_id })),
        None => Err(Refused::nothing()),
    }
}

fn write_id(core: &mut Core, call: &Call) -> Outcome {
    let id = call.args.text("role_id").to_owned();
    if id.is_empty() {
        return Err(Refused::bad("missing role_id"));
    }
    role(core, call)?.role_id = id;
    done()
}

fn new_secret(core: &mut Core, call: &Call) -> Outcome {
    role(core, call)?;
    let (fresh, accessor, now) = (core.uuid(), core.uuid(), core.now);
    let args = &call.args;
    let secret = args
        .opt_text("secret_id")
        .filter(|s| !s.is_empty())
        .map_or(fresh, str::to_owned);
    let metadata = match args.opt_text("metadata") {
        None | Some("") => BTreeMap::new(),
        Some(text) => match serde_json::from_str(text) {
            Ok(map) => map,
            Err(_) => {
                return Err(Refused::bad(
                    "failed to parse metadata: error parsing metadata",
                ));
            }
        },
    };
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
    role.secrets.insert(secret.clone(), id);
    ok(json!({
        "secret_id": secret,
        "secret_id_accessor": accessor,
        "secret_id_num_uses": uses,
        "secret_id_ttl": ttl.as_secs(),
    }))
}

fn list_secrets(core: &mut Core, call: &Call) -> Outcome {
    let now = core.now;
    let mut keys: Vec<String> = role(core, call)?
        .secrets
        .values()
        .filter(|s| !s.expired(now))
        .map(|s| s.accessor.clone())
        .collect();
    keys.sort();
    Reply::keys(keys)
}

/// By the secret or by its accessor.
fn wanted(role: &Role, call: &Call) -> Option<String> {
    match call.args.opt_text("secret_id_accessor") {
        Some(accessor) => role
            .secrets
            .iter()
            .find(|(_, s)| s.accessor == accessor)
            .map(|(k, _)| k.clone()),
        None => {
            Some(call.args.text("secret_id").to_owned()).filter(|k| role.secrets.contains_key(k))
        }
    }
}

fn look_up(core: &mut Core, call: &Call) -> Outcome {
    let found = {
        let role = role(core, call)?;
        wanted(role, call).and_then(|key| role.secrets.get(&key).cloned())
    };
    let Some(id) = found else { return done() };
    let expires = if id.ttl.is_zero() {
        "0001-01-01T00:00:00Z".to_owned()
    } else {
        core.rfc3339(id.created + id.ttl)
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

fn destroy(core: &mut Core, call: &Call) -> Outcome {
    let role = role(core, call)?;
    match wanted(role, call) {
        Some(key) => {
            role.secrets.remove(&key);
            done()
        }
        None if call.args.has("secret_id_accessor") => Err(Refused::Plain(
            404,
            format!(
                "failed to find accessor entry for secret_id_accessor: {:?}",
                call.args.text("secret_id_accessor")
            ),
        )),
        None => done(),
    }
}

fn tidy(core: &mut Core, call: &Call) -> Outcome {
    let now = core.now;
    for role in method(core, call)?.roles.values_mut() {
        role.secrets.retain(|_, s| !s.expired(now));
    }
    let product = core.flavour.product();
    let text = format!(
        "Tidy operation successfully started. Any information from the operation will be printed to {product}'s server logs."
    );
    Ok(Some(
        Reply {
            status: Some(202),
            no_mount_type: true,
            ..Reply::default()
        }
        .warn(text),
    ))
}

fn login(core: &mut Core, call: &Call) -> Outcome {
    let invalid = || Refused::bad("invalid role or secret ID");
    let role_id = call.args.text("role_id");
    if role_id.is_empty() {
        let text = if core.flavour.is_openbao() {
            "missing role_id"
        } else {
            "failed to determine alias name from login request"
        };
        return Err(Refused::Plain(500, text.to_owned()));
    }
    let (accessor, lockout) = core.lockout_of(call);
    let (now, openbao) = (core.now, core.flavour.is_openbao());
    let found = method(core, call)?
        .roles
        .iter()
        .find(|(_, r)| r.role_id == role_id)
        .map(|(n, r)| (n.clone(), r.clone()));
    let Some((name, role)) = found else {
        return Err(invalid());
    };
    if core.lockouts.is_locked(&accessor, role_id, lockout, now) {
        return Err(Refused::denied());
    }
    let cidr_fault = |what: &str| {
        let peer = call.peer;
        Refused::bad(format!(
            "source address \"{peer}\" unauthorized by CIDR restrictions on the {what}: %!w(<nil>)"
        ))
    };
    let mut metadata = BTreeMap::new();
    if role.bind_secret_id {
        let secret = call.args.text("secret_id");
        if secret.is_empty() {
            return Err(Refused::bad("missing secret_id"));
        }
        // Vault removes expired secret ids once a minute only; until then they still log in
        let id = role
            .secrets
            .get(secret)
            .filter(|s| !(openbao && s.expired(now)));
        let Some(id) = id else {
            core.lockouts.failed(&accessor, role_id, lockout, now);
            return Err(invalid());
        };
        if !within(call.peer, &id.cidrs) {
            return Err(cidr_fault("secret ID"));
        }
        if !within(call.peer, &role.secret_id_bound_cidrs) {
            return Err(cidr_fault("role"));
        }
        metadata.clone_from(&id.metadata);
        if let Some(kept) = method(core, call)?.roles.get_mut(&name) {
            let uses = id.uses;
            match uses {
                0 => {}
                1 => {
                    kept.secrets.remove(secret);
                }
                _ => {
                    if let Some(id) = kept.secrets.get_mut(secret) {
                        id.uses = uses - 1;
                        id.updated = now;
                    }
                }
            }
        }
    } else if !within(call.peer, &role.secret_id_bound_cidrs) {
        return Err(cidr_fault("role"));
    }
    core.lockouts.clear(&accessor, role_id);
    metadata.insert("role_name".to_owned(), name.clone());
    core.issue(
        call,
        Login {
            params: &role.params,
            alias: role_id,
            owner: &name,
            display_name: "",
            metadata,
        },
    )
}

/// Renewal looks the role up by name: a role of the same name made anew serves.
pub(crate) fn renewal(
    core: &mut Core,
    mount: crate::mounts::MountId,
    entry: &Entry,
) -> Result<Option<TokenParams>, Refused> {
    let Some(Backend::Approle(method)) = core.mounts.get(&mount).map(|m| &m.backend) else {
        return Ok(None);
    };
    match method.roles.get(&entry.owner) {
        Some(role) => Ok(Some(role.params.clone())),
        None => Err(Refused::internal(format!(
            "failed to renew entry: role {:?} does not exist during renewal",
            entry.owner
        ))),
    }
}
