//! The token method: create, look up, renew, revoke, roles.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Map, Value, json};

use super::{TOKEN_FIELDS, TokenParams, effective_policies};
use crate::{
    Core,
    call::{Call, Op},
    duration,
    fields::{Args, Field, Kind},
    mounts::Backend,
    pipeline::auth_block,
    reply::{Outcome, Refused, Reply, done},
    route::Endpoint,
    token::{Entry, TokenKind},
    ttl::{self, Limits},
};

/// The roles of one token mount.
#[derive(Default)]
pub(crate) struct TokenRoles {
    pub roles: BTreeMap<String, TokenRole>,
}

/// Limits for tokens created at `auth/token/create/ROLE`.
#[derive(Clone, Default)]
pub(crate) struct TokenRole {
    pub allowed_policies: Vec<String>,
    pub disallowed_policies: Vec<String>,
    pub orphan: bool,
    pub not_renewable: bool,
    pub path_suffix: String,
    pub params: TokenParams,
}

const CREATE: &[Field] = &[
    ("id", Kind::Text),
    ("policies", Kind::Any),
    ("meta", Kind::Pairs),
    ("no_parent", Kind::Bool),
    ("no_default_policy", Kind::Bool),
    ("renewable", Kind::Bool),
    ("lease", Kind::Any),
    ("ttl", Kind::Any),
    ("type", Kind::Text),
    ("explicit_max_ttl", Kind::Any),
    ("display_name", Kind::Text),
    ("num_uses", Kind::Int),
    ("period", Kind::Any),
    ("entity_alias", Kind::Text),
];
const ROLE: [Field; 18] = {
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
        ("allowed_policies", Kind::Texts),
        ("disallowed_policies", Kind::Texts),
        ("orphan", Kind::Bool),
        ("renewable", Kind::Bool),
        ("path_suffix", Kind::Text),
        ("explicit_max_ttl", Kind::Seconds),
        ("period", Kind::Seconds),
        ("bound_cidrs", Kind::Texts),
    ]
};
const TOKEN: &[Field] = &[("token", Kind::Text), ("increment", Kind::Seconds)];
const ACCESSOR: &[Field] = &[("accessor", Kind::Text), ("increment", Kind::Seconds)];

pub(crate) const TABLE: &[Endpoint] = &[
    Endpoint {
        pattern: "lookup-self?",
        fields: TOKEN,
        ops: &[(Op::Read, look_up_self), (Op::Update, look_up_self)],
        exists: None,
    },
    Endpoint {
        pattern: "create?",
        fields: CREATE,
        ops: &[(Op::Update, create)],
        exists: None,
    },
    Endpoint {
        pattern: "create-orphan?",
        fields: CREATE,
        ops: &[(Op::Update, create)],
        exists: None,
    },
    Endpoint {
        pattern: "create/{role_name:seg}",
        fields: CREATE,
        ops: &[(Op::Update, create)],
        exists: None,
    },
    Endpoint {
        pattern: "lookup?",
        fields: TOKEN,
        ops: &[(Op::Read, look_up), (Op::Update, look_up)],
        exists: None,
    },
    Endpoint {
        pattern: "lookup-accessor?",
        fields: ACCESSOR,
        ops: &[(Op::Update, look_up_accessor)],
        exists: None,
    },
    Endpoint {
        pattern: "renew-self?",
        fields: TOKEN,
        ops: &[(Op::Update, renew_self)],
        exists: None,
    },
    Endpoint {
        pattern: "renew?",
        fields: TOKEN,
        ops: &[(Op::Update, renew)],
        exists: None,
    },
    Endpoint {
        pattern: "renew-accessor?",
        fields: ACCESSOR,
        ops: &[(Op::Update, renew_accessor)],
        exists: None,
    },
    Endpoint {
        pattern: "revoke-self?",
        fields: TOKEN,
        ops: &[(Op::Update, revoke_self)],
        exists: None,
    },
    Endpoint {
        pattern: "revoke?",
        fields: TOKEN,
        ops: &[(Op::Update, revoke)],
        exists: None,
    },
    Endpoint {
        pattern: "revoke-orphan?",
        fields: TOKEN,
        ops: &[(Op::Update, revoke_orphan)],
        exists: None,
    },
    Endpoint {
        pattern: "revoke-accessor?",
        fields: ACCESSOR,
        ops: &[(Op::Update, revoke_accessor)],
        exists: None,
    },
    Endpoint {
        pattern: "accessors?",
        fields: &[],
        ops: &[(Op::List, accessors)],
        exists: None,
    },
    Endpoint {
        pattern: "tidy",
        fields: &[],
        ops: &[(Op::Update, tidy)],
        exists: None,
    },
    Endpoint {
        pattern: "roles?",
        fields: &[],
        ops: &[(Op::List, list_roles)],
        exists: None,
    },
    Endpoint {
        pattern: "roles/{role_name:seg}",
        fields: &ROLE,
        ops: &[
            (Op::Create, write_role),
            (Op::Update, write_role),
            (Op::Read, read_role),
            (Op::Delete, delete_role),
        ],
        exists: Some(|core, call| Ok(roles(core, call)?.contains_key(call.args.text("role_name")))),
    },
];

fn roles<'a>(
    core: &'a mut Core,
    call: &Call,
) -> Result<&'a mut BTreeMap<String, TokenRole>, Refused> {
    match core.mounts.get_mut(&call.mount).map(|m| &mut m.backend) {
        Some(Backend::Token(method)) => Ok(&mut method.roles),
        _ => Err(Refused::unsupported_path()),
    }
}

fn caller(call: &Call) -> Result<Arc<Entry>, Refused> {
    call.token.clone().ok_or_else(Refused::denied)
}

fn create(core: &mut Core, call: &Call) -> Outcome {
    let parent = caller(call)?;
    let args = &call.args;
    if parent.kind == TokenKind::Batch {
        return Err(Refused::bad("batch tokens cannot create more tokens"));
    }
    if parent.num_uses != 0 {
        return Err(Refused::bad(
            "restricted use token cannot generate child tokens",
        ));
    }
    let sudo = core.has_sudo(&parent, &call.full);
    let role_name = args.opt_text("role_name");
    let role = match role_name {
        None => None,
        Some(name) => match roles(core, call)?.get(name) {
            Some(role) => Some(role.clone()),
            None => return Err(Refused::bad(format!("unknown role {name}"))),
        },
    };
    let params = role.as_ref().map(|r| r.params.clone()).unwrap_or_default();
    let batch = match args.text("type") {
        "batch" => true,
        "" => params.token_type == "batch",
        "service" => false,
        _ => return Err(Refused::bad("invalid 'token_type' value")),
    };
    if batch {
        for (present, name) in [
            (present(args, "explicit_max_ttl"), "explicit_max_ttl"),
            (args.int("num_uses") != 0, "num_uses"),
            (present(args, "period"), "period"),
        ] {
            if present {
                return Err(Refused::bad(format!(
                    "batch tokens cannot have \"{name}\" set"
                )));
            }
        }
    }
    let policies = chosen_policies(&parent, role.as_ref(), call, sudo)?;
    if batch && policies.iter().any(|p| p == "root") {
        return Err(Refused::bad("batch tokens cannot be root tokens"));
    }
    let explicit_max = positive(args, "explicit_max_ttl")?;
    let wanted_period = positive(args, "period")?;
    let wanted_ttl = match positive(args, "ttl")? {
        ttl if ttl.is_zero() => positive(args, "lease")?,
        ttl => ttl,
    };
    let mut warnings = Vec::new();
    if let Some(space) = core.namespace(&call.ns) {
        for policy in &policies {
            if policy != "root" && !space.policies.contains_key(policy) {
                warnings.push(format!("Policy {policy:?} does not exist"));
            }
        }
    }
    let orphan = call.path.starts_with("create-orphan")
        || role.as_ref().is_some_and(|r| r.orphan)
        || args.flag("no_parent");
    if args.flag("no_parent") && !sudo {
        return Err(Refused::bad(
            "root or sudo privileges required to create orphan token",
        ));
    }
    let explicit_max = match (explicit_max, params.explicit_max_ttl) {
        (a, b) if a.is_zero() => b,
        (a, b) if b.is_zero() => a,
        (a, b) => a.min(b),
    };
    let period = if wanted_period.is_zero() {
        params.period
    } else {
        wanted_period
    };
    let Some(mount) = core.mount(call.mount) else {
        return Err(Refused::denied());
    };
    let root = policies.iter().any(|p| p == "root");
    let limits = Limits {
        // a root token lives as long as it may without being told so
        increment: if root && wanted_ttl.is_zero() {
            explicit_max
        } else {
            wanted_ttl
        },
        role_ttl: params.ttl,
        role_max: params.max_ttl,
        period,
        explicit_max,
        default_ttl: mount.default_lease(),
        mount_max: mount.max_lease(),
    };
    let (granted, ttl_warnings) =
        ttl::grant(&limits, core.now, core.now).map_err(Refused::internal)?;
    warnings.splice(0..0, ttl_warnings);
    let forever = root && limits.increment.is_zero() && explicit_max.is_zero() && period.is_zero();
    let id = match args.opt_text("id").filter(|id| !id.is_empty()) {
        Some(id) => id.to_owned(),
        None if batch => core.batch_token(&call.ns),
        None => core.service_token(&call.ns),
    };
    if core.tokens.get(&id).is_some() {
        return Err(Refused::bad("cannot create a token with a duplicate ID"));
    }
    let accessor = match (
        batch,
        core.namespace(&call.ns)
            .filter(|n| !n.path.is_empty())
            .map(|n| n.id.clone()),
    ) {
        (true, _) => String::new(),
        (false, None) => core.base62(24),
        (false, Some(ns)) => format!("{}.{ns}", core.base62(24)),
    };
    let display = args.opt_text("display_name").filter(|d| !d.is_empty());
    let suffix = role
        .as_ref()
        .map(|r| r.path_suffix.clone())
        .filter(|s| !s.is_empty());
    let entry = Entry {
        ns: call.ns.clone(),
        parent: (!orphan).then(|| parent.id.clone()),
        policies,
        meta: args.pairs("meta"),
        display_name: display
            .map_or_else(|| "token".to_owned(), |d| format!("token-{}", sanitized(d))),
        path: match (role_name, suffix) {
            (Some(name), Some(suffix)) => format!("auth/token/create/{name}/{suffix}"),
            (Some(name), None) => format!("auth/token/create/{name}"),
            (None, _) => format!("auth/token/{}", call.path.trim_end_matches('/')),
        },
        creation_ttl: if forever { Duration::ZERO } else { granted },
        explicit_max_ttl: explicit_max,
        period,
        num_uses: args.opt_int("num_uses").unwrap_or(params.num_uses),
        renewable: !batch
            && !forever
            && args.opt_bool("renewable").unwrap_or(true)
            && !role.as_ref().is_some_and(|r| r.not_renewable),
        kind: if batch {
            TokenKind::Batch
        } else {
            TokenKind::Service
        },
        orphan,
        bound_cidrs: params.bound_cidrs.clone(),
        role: role_name.map(str::to_owned),
        owner: role_name.unwrap_or_default().to_owned(),
        expires: (!forever).then(|| core.now + granted),
        ..Entry::new(id, accessor, call.mount, core.now)
    };
    let auth = auth_block(&entry, entry.creation_ttl);
    core.tokens.insert(entry);
    Ok(Some(Reply {
        auth: Some(auth),
        warnings,
        ..Reply::default()
    }))
}

/// The duration parameters of creation are read by the handler itself, with texts of its own.
fn positive(args: &Args, name: &str) -> Result<Duration, Refused> {
    let text = match args.get(name) {
        None | Some(Value::Null) => return Ok(Duration::ZERO),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    match duration::parse(&text) {
        Some(Ok(d)) => Ok(d),
        Some(Err(_)) => Err(Refused::bad(format!("{name} must be positive"))),
        None => Err(Refused::bad(format!("time: invalid duration {text:?}"))),
    }
}

fn present(args: &Args, name: &str) -> bool {
    positive(args, name).map_or(true, |d| !d.is_zero())
}

/// A text is one policy, whatever is in it.
fn wanted_policies(args: &Args) -> Vec<String> {
    match args.get("policies") {
        Some(Value::String(one)) if !one.is_empty() => vec![one.to_lowercase()],
        Some(Value::Array(list)) => list
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_lowercase)
            .collect(),
        _ => Vec::new(),
    }
}

fn sanitized(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '-'
            }
        })
        .collect::<String>()
        .trim_matches('-')
        .to_owned()
}

fn chosen_policies(
    parent: &Entry,
    role: Option<&TokenRole>,
    call: &Call,
    sudo: bool,
) -> Result<Vec<String>, Refused> {
    let wanted = wanted_policies(&call.args);
    let no_default =
        call.args.flag("no_default_policy") || role.is_some_and(|r| r.params.no_default_policy);
    let inherited = || {
        parent
            .policies
            .iter()
            .filter(|p| !(no_default && *p == "default"))
            .cloned()
            .collect::<Vec<_>>()
    };
    if let Some(role) =
        role.filter(|r| !r.allowed_policies.is_empty() || !r.disallowed_policies.is_empty())
    {
        let base = if wanted.is_empty() && role.allowed_policies.is_empty() {
            inherited()
        } else {
            wanted.clone()
        };
        let base = if base.is_empty() {
            role.allowed_policies.clone()
        } else {
            base
        };
        let chosen = effective_policies(&base, no_default);
        if !role.allowed_policies.is_empty()
            && chosen
                .iter()
                .any(|p| p != "default" && !role.allowed_policies.contains(p))
        {
            return Err(Refused::bad(format!(
                "token policies ({:?}) must be subset of the role's allowed policies ({:?})",
                chosen, role.allowed_policies
            )));
        }
        if let Some(bad) = chosen.iter().find(|p| role.disallowed_policies.contains(p)) {
            return Err(Refused::bad(format!(
                "token policy {bad:?} is disallowed by this role"
            )));
        }
        return Ok(chosen);
    }
    if wanted.is_empty() {
        return Ok(effective_policies(&inherited(), no_default));
    }
    let chosen = effective_policies(&wanted, no_default);
    let missing = |p: &String| p != "default" && !parent.policies.contains(p);
    if !sudo && !parent.is_root() && chosen.iter().any(missing) {
        return Err(Refused::bad("child policies must be subset of parent"));
    }
    if chosen.iter().any(|p| p == "root") && !parent.is_root() {
        return Err(Refused::bad(
            "root tokens may not be created without parent token being root",
        ));
    }
    Ok(chosen)
}

fn look_up_self(core: &mut Core, call: &Call) -> Outcome {
    let token = caller(call)?;
    Ok(Some(Reply::data(Value::Object(describe(
        core, &token, true,
    )))))
}

fn look_up(core: &mut Core, call: &Call) -> Outcome {
    let id = call.args.text("token");
    let id = if id.is_empty() {
        caller(call)?.id.clone()
    } else {
        id.to_owned()
    };
    match core.tokens.get(&id).cloned() {
        Some(entry) => Ok(Some(Reply::data(Value::Object(describe(
            core, &entry, true,
        ))))),
        None => Err(Refused::Plain(403, "bad token".to_owned())),
    }
}

fn by_accessor(core: &Core, call: &Call) -> Result<Arc<Entry>, Refused> {
    let accessor = call.args.text("accessor");
    if accessor.is_empty() {
        return Err(Refused::bad("missing accessor"));
    }
    core.tokens
        .by_accessor(accessor)
        .cloned()
        .ok_or(Refused::Wrapped(400, "invalid accessor".to_owned()))
}

fn look_up_accessor(core: &mut Core, call: &Call) -> Outcome {
    let entry = by_accessor(core, call)?;
    Ok(Some(Reply::data(Value::Object(describe(
        core, &entry, false,
    )))))
}

/// A token as the lookups show it.
fn describe(core: &Core, entry: &Entry, with_id: bool) -> Map<String, Value> {
    let batch = entry.kind == TokenKind::Batch;
    let whole = |at: Duration| {
        if batch {
            Duration::from_secs(at.as_secs())
        } else {
            at
        }
    };
    let mut out = crate::reply::object(json!({
        "accessor": entry.accessor,
        "creation_time": core.options.start_unix + entry.issued.as_secs(),
        "creation_ttl": entry.creation_ttl.as_secs(),
        "display_name": entry.display_name,
        "entity_id": entry.entity_id,
        "expire_time": entry.expires.map(|at| core.rfc3339(whole(at))),
        "explicit_max_ttl": entry.explicit_max_ttl.as_secs(),
        "id": if with_id { entry.id.as_str() } else { "" },
        "meta": entry.meta,
        "num_uses": entry.num_uses,
        "orphan": entry.orphan,
        "path": entry.path,
        "policies": entry.policies,
        "ttl": entry.expires.map_or(0, |at| at.saturating_sub(nearest_second(core.now)).as_secs()),
        "type": entry.type_name(),
    }));
    let mut set = |name: &str, value: Value| {
        out.insert(name.to_owned(), value);
    };
    if entry.has_issue_time {
        set("issue_time", core.rfc3339(whole(entry.issued)).into());
        set(
            "renewable",
            (entry.renewable && !batch && entry.expires.is_some()).into(),
        );
    }
    if !entry.period.is_zero() {
        set("period", entry.period.as_secs().into());
    }
    if !entry.bound_cidrs.is_empty() {
        set("bound_cidrs", json!(entry.bound_cidrs));
    }
    if let Some(role) = &entry.role {
        set("role", role.as_str().into());
    }
    if let Some(at) = entry.last_renewal {
        set("last_renewal", core.rfc3339(at).into());
        set(
            "last_renewal_time",
            (core.options.start_unix + at.as_secs()).into(),
        );
    }
    if !entry.ns.is_empty() {
        set("namespace_path", entry.ns.as_str().into());
    }
    if !entry.identity_policies.is_empty() {
        set("identity_policies", json!(entry.identity_policies));
    }
    out
}

/// Lookups count from the nearest whole second.
fn nearest_second(at: Duration) -> Duration {
    Duration::from_secs((at + Duration::from_millis(500)).as_secs())
}

fn renew_self(core: &mut Core, call: &Call) -> Outcome {
    let id = caller(call)?.id.clone();
    renew_token(core, &id, call)
}

fn renew(core: &mut Core, call: &Call) -> Outcome {
    let id = call.args.text("token").to_owned();
    if id.is_empty() {
        return Err(Refused::bad("missing token ID"));
    }
    renew_token(core, &id, call)
}

fn renew_accessor(core: &mut Core, call: &Call) -> Outcome {
    let id = by_accessor(core, call)?.id.clone();
    renew_token(core, &id, call)
}

fn renew_token(core: &mut Core, id: &str, call: &Call) -> Outcome {
    let Some(entry) = core.tokens.get(id).cloned().filter(|e| e.num_uses >= 0) else {
        return Err(Refused::bad("token not found"));
    };
    if entry.kind == TokenKind::Batch {
        return Err(Refused::bad("batch tokens cannot be renewed"));
    }
    if !entry.renewable || entry.expires.is_none() {
        let text = if entry.has_issue_time {
            "lease is not renewable"
        } else {
            "invalid lease ID"
        };
        return Err(Refused::bad(text));
    }
    let increment = call.args.seconds("increment");
    let Some(mount) = core.mount(entry.mount) else {
        return Err(Refused::bad("token not found"));
    };
    let (default_ttl, mount_max) = (mount.default_lease(), mount.max_lease());
    let issuer = entry.mount;
    let current = match core.mount(issuer).map(|m| &m.backend) {
        Some(Backend::Userpass(_)) => super::userpass::renewal(core, issuer, &entry)?,
        Some(Backend::Approle(_)) => super::approle::renewal(core, issuer, &entry)?,
        Some(Backend::Jwt(_)) => super::jwt::renewal(core, issuer, &entry)?,
        Some(Backend::Kubernetes(_)) => super::kubernetes::renewal(core, issuer, &entry)?,
        Some(Backend::Cert(_)) => super::cert::renewal(core, issuer, &entry, call.cert.as_ref())?,
        _ => Some(TokenParams {
            ttl: entry.granted,
            period: entry.period,
            ..TokenParams::default()
        }),
    };
    let Some(params) = current else { return done() };
    let limits = Limits {
        increment,
        role_ttl: params.ttl,
        role_max: params.max_ttl,
        period: params.period,
        explicit_max: entry.explicit_max_ttl,
        default_ttl,
        mount_max,
    };
    let (granted, warnings) =
        ttl::grant(&limits, entry.issued, core.now).map_err(Refused::internal)?;
    let now = core.now;
    core.tokens.set_expiry(id, Some(now + granted));
    core.tokens.update(id, |e| {
        e.last_renewal = Some(now);
        e.granted = granted;
    });
    let mut auth = auth_block(&entry, granted);
    if core.flavour.is_vault()
        && matches!(
            core.mount(issuer).map(|m| &m.backend),
            Some(Backend::Kubernetes(_))
        )
    {
        // the method is an external plugin there, and the flag is lost on the way back
        auth.orphan = false;
    }
    Ok(Some(Reply {
        auth: Some(auth),
        warnings,
        ..Reply::default()
    }))
}

fn revoke_self(core: &mut Core, call: &Call) -> Outcome {
    let token = caller(call)?;
    if token.kind == TokenKind::Batch {
        return Err(Refused::bad("batch tokens cannot be revoked"));
    }
    core.tokens.revoke(&token.id, true);
    done()
}

fn revoke(core: &mut Core, call: &Call) -> Outcome {
    let id = call.args.text("token");
    if id.is_empty() {
        return Err(Refused::bad("missing token ID"));
    }
    if core
        .tokens
        .get(id)
        .is_some_and(|t| t.kind == TokenKind::Batch)
    {
        return Err(Refused::bad("batch tokens cannot be revoked"));
    }
    core.tokens.revoke(id, true);
    done()
}

fn revoke_orphan(core: &mut Core, call: &Call) -> Outcome {
    let id = call.args.text("token");
    if core.tokens.get(id).is_none() {
        return Err(Refused::bad("token to revoke not found"));
    }
    core.tokens.revoke(id, false);
    done()
}

fn revoke_accessor(core: &mut Core, call: &Call) -> Outcome {
    match by_accessor(core, call) {
        Ok(entry) => {
            core.tokens.revoke(&entry.id, true);
            done()
        }
        Err(Refused::Wrapped(..)) => Ok(Some(
            Reply::default().warn("No token found with this accessor"),
        )),
        Err(other) => Err(other),
    }
}

fn accessors(core: &mut Core, _call: &Call) -> Outcome {
    Reply::keys(
        core.tokens
            .iter()
            .map(|t| t.accessor.clone())
            .filter(|a| !a.is_empty())
            .collect(),
    )
}

fn tidy(core: &mut Core, _call: &Call) -> Outcome {
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

fn list_roles(core: &mut Core, call: &Call) -> Outcome {
    Reply::keys(roles(core, call)?.keys().cloned().collect())
}

fn write_role(core: &mut Core, call: &Call) -> Outcome {
    let args = &call.args;
    let roles = roles(core, call)?;
    let name = args.text("role_name").to_owned();
    let mut role = roles.get(&name).cloned().unwrap_or_default();
    if let Some(policies) = args.opt_texts("allowed_policies") {
        role.allowed_policies = policies;
    }
    if let Some(policies) = args.opt_texts("disallowed_policies") {
        role.disallowed_policies = policies;
    }
    if let Some(b) = args.opt_bool("orphan") {
        role.orphan = b;
    }
    if let Some(b) = args.opt_bool("renewable") {
        role.not_renewable = !b;
    }
    if let Some(suffix) = args.opt_text("path_suffix") {
        suffix.clone_into(&mut role.path_suffix);
    }
    // token roles go by the old name `explicit_max_ttl` alone
    let explicit = role.params.explicit_max_ttl;
    role.params.update(args)?;
    role.params.explicit_max_ttl = explicit;
    for (name, to) in [
        ("period", &mut role.params.period),
        ("explicit_max_ttl", &mut role.params.explicit_max_ttl),
    ] {
        if let Some(d) = args.opt_seconds(name) {
            *to = d;
        }
    }
    roles.insert(name, role);
    done()
}

fn read_role(core: &mut Core, call: &Call) -> Outcome {
    let name = call.args.text("role_name");
    let Some(role) = roles(core, call)?.get(name).cloned() else {
        return Err(Refused::nothing());
    };
    let mut data = role.params.describe(core);
    data.extend(crate::reply::object(json!({
        "allowed_policies": role.allowed_policies,
        "disallowed_policies": role.disallowed_policies,
        "name": name,
        "orphan": role.orphan,
        "path_suffix": role.path_suffix,
        "renewable": !role.not_renewable,
    })));
    Ok(Some(Reply::data(Value::Object(data))))
}

fn delete_role(core: &mut Core, call: &Call) -> Outcome {
    roles(core, call)?.remove(call.args.text("role_name"));
    done()
}
