//! The AppRole method: roles, role ids, secret ids with their limits.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::{
    Login, Manner, TokenParams,
    roles::{self, Roles},
};
use crate::{
    Core,
    call::{Call, Op},
    fields::{Args, Field, Kind},
    mounts::Backend,
    pipeline::within,
    reply::{Outcome, Refused, Reply, done, ok},
    route::Endpoint,
    token::Entry,
};

/// The roles of one mount.
#[derive(Clone, Default)]
pub(crate) struct Approle {
    pub roles: Roles<Role>,
}

/// One role.
#[derive(Clone, Default)]
pub(crate) struct Role {
    pub role_id: String,
    pub bind_secret_id: bool,
    /// `None` until they are given, if only as an empty list: reading shows the difference.
    pub secret_id_bound_cidrs: Option<Vec<String>>,
    pub secret_id_num_uses: i64,
    pub secret_id_ttl: Duration,
    pub local_secret_ids: bool,
    pub params: TokenParams,
    /// By the secret itself.
    pub secrets: BTreeMap<String, SecretId>,
}

impl Role {
    fn blocks(&self) -> &[String] {
        self.secret_id_bound_cidrs.as_deref().unwrap_or_default()
    }
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

const ROLE: [Field; 19] = roles::fields([
    ("bind_secret_id", Kind::Bool),
    ("secret_id_bound_cidrs", Kind::Texts),
    ("bound_cidr_list", Kind::Texts),
    ("secret_id_num_uses", Kind::Int),
    ("secret_id_ttl", Kind::Seconds),
    ("role_id", Kind::Text),
    ("local_secret_ids", Kind::Bool),
    ("period", Kind::Seconds),
]);

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
        pattern: "login",
        fields: &[("role_id", Kind::Text), ("secret_id", Kind::Text)],
        ops: &[
            (Op::Update, login),
            (Op::Read, look_ahead),
            (Op::Delete, look_ahead),
            (Op::Header, look_ahead),
            (Op::Patch, look_ahead),
        ],
        exists: None,
    },
    Endpoint {
        pattern: "role?",
        fields: &[],
        ops: &[(Op::List, roles::list::<Role>)],
        exists: None,
    },
    Endpoint {
        pattern: "role/{role_name}",
        fields: &ROLE,
        ops: &[
            (Op::Create, roles::write::<Role>),
            (Op::Update, roles::write::<Role>),
            (Op::Read, roles::read::<Role>),
            (Op::Delete, roles::delete::<Role>),
        ],
        exists: Some(roles::exists::<Role>),
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

fn name(call: &Call) -> String {
    roles::name::<Role>(call)
}

fn all<'a>(core: &'a mut Core, call: &Call) -> Result<&'a mut Roles<Role>, Refused> {
    roles::of::<Role>(core, call)
}

fn role<'a>(core: &'a mut Core, call: &Call) -> Result<&'a mut Role, Refused> {
    let name = name(call);
    let text = format!("role {name:?} does not exist");
    all(core, call)?
        .get_mut(&name)
        .ok_or(Refused::Plain(404, text))
}

impl roles::Role for Role {
    const NAME: &'static str = "role_name";
    const LOWER: bool = true;
    const OLD: &'static [(&'static str, &'static str)] =
        &[("policies", "token_policies"), ("period", "token_period")];

    fn all(backend: &Backend) -> Option<&Roles<Self>> {
        match backend {
            Backend::Approle(method) => Some(&method.roles),
            _ => None,
        }
    }

    fn all_mut(backend: &mut Backend) -> Option<&mut Roles<Self>> {
        match backend {
            Backend::Approle(method) => Some(&mut method.roles),
            _ => None,
        }
    }

    fn fresh(core: &mut Core) -> Self {
        Self {
            role_id: core.uuid(),
            bind_secret_id: true,
            ..Self::default()
        }
    }

    fn params(&mut self) -> &mut TokenParams {
        &mut self.params
    }

    fn update(&mut self, _: &Core, args: &Args, new: bool) -> Result<Vec<String>, Refused> {
        self.params.update_as(args, &[], Manner::Loose)?;
        let mut warnings = Vec::new();
        if let Some(local) = args.opt_bool("local_secret_ids") {
            if !new {
                return Err(Refused::bad(
                    "local_secret_ids can only be modified during role creation",
                ));
            }
            self.local_secret_ids = local;
        }
        if let Some(id) = args.opt_text("role_id") {
            id.clone_into(&mut self.role_id);
        }
        if self.role_id.is_empty() {
            return Err(Refused::bad(
                "invalid role_id supplied, or failed to generate a role_id",
            ));
        }
        if let Some(b) = args.opt_bool("bind_secret_id") {
            self.bind_secret_id = b;
        }
        if let Some(cidrs) = args
            .opt_texts("secret_id_bound_cidrs")
            .or_else(|| args.opt_texts("bound_cidr_list"))
        {
            self.secret_id_bound_cidrs = Some(cidrs);
        }
        check_blocks(self.blocks(), "CIDR blocks")?;
        self.params.update_old(args, Self::OLD)?;
        if let Some(n) = args.opt_int("secret_id_num_uses") {
            self.secret_id_num_uses = n;
        }
        if self.secret_id_num_uses < 0 {
            return Err(Refused::bad("secret_id_num_uses cannot be negative"));
        }
        if let Some(d) = args.opt_seconds("secret_id_ttl") {
            self.secret_id_ttl = d;
        }
        if !self.bind_secret_id && self.blocks().is_empty() && self.params.bound_cidrs.is_empty() {
            // The real servers' plugin answers with a warning and an error at once then, which is a 400.
            let warned = self.params.token_type.starts_with("default-");
            return Err(Refused::Wrapped(
                if warned { 400 } else { 500 },
                "at least one constraint should be enabled on the role".to_owned(),
            ));
        }
        for kind in ["service", "batch"] {
            if self.params.token_type == format!("default-{kind}") {
                warnings.push(format!(
                    "default-{kind} has no useful meaning; adjusting to {kind}"
                ));
                kind.clone_into(&mut self.params.token_type);
            }
        }
        Ok(warnings)
    }

    fn describe(&self, _: &Core) -> Value {
        json!({
            "bind_secret_id": self.bind_secret_id,
            "local_secret_ids": self.local_secret_ids,
            "secret_id_bound_cidrs": self.secret_id_bound_cidrs,
            "secret_id_num_uses": self.secret_id_num_uses,
            "secret_id_ttl": self.secret_id_ttl.as_secs(),
        })
    }
}

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
fn check_blocks(blocks: &[String], what: &str) -> Result<(), Refused> {
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

fn read_id(core: &mut Core, call: &Call) -> Outcome {
    match all(core, call)?.get(&name(call)) {
        Some(role) => ok(json!({ "role_id": role.role_id })),
        None => Err(Refused::nothing()),
    }
}

fn write_id(core: &mut Core, call: &Call) -> Outcome {
    let id = call.args.text("role_id").to_owned();
    let role = role(core, call).map_err(|_| Refused::unsupported_path())?;
    if id.is_empty() {
        return Err(Refused::bad("missing role_id"));
    }
    role.role_id = id;
    done()
}

fn new_secret(core: &mut Core, call: &Call) -> Outcome {
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
        if !blocks.is_empty() && !of_role.is_empty() && !blocks.iter().all(|b| inside(b, of_role)) {
            let list = |l: &[String]| {
                format!(
                    "[{}]",
                    l.iter()
                        .map(|b| format!("{b:?}"))
                        .collect::<Vec<_>>()
                        .join(" ")
                )
            };
            return Err(Refused::internal(format!(
                "failed to verify subset relationship between CIDR blocks on the role {} and CIDR blocks on the secret ID {}: %!w(<nil>)",
                list(of_role),
                list(&blocks)
            )));
        }
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
    let metadata = match args.opt_text("metadata") {
        None | Some("") => BTreeMap::new(),
        Some(text) => match serde_json::from_str(text) {
            Ok(map) => map,
            Err(_) => {
                return Err(Refused::bad(
                    "failed to parse metadata: failed to parse the input: invalid <key,value> format",
                ));
            }
        },
    };
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

fn look_up(core: &mut Core, call: &Call) -> Outcome {
    check_named(call)?;
    let missing = Refused::internal(format!("role {:?} does not exist", name(call)));
    let found = {
        let role = role(core, call).map_err(|_| missing)?;
        wanted(role, call).and_then(|key| role.secrets.get(&key).cloned())
    };
    let Some(id) = found else {
        if !call.args.has("secret_id_accessor") {
            return done();
        }
        let text = format!(
            "failed to find accessor entry for secret_id_accessor: {:?}",
            call.args.text("secret_id_accessor")
        );
        return Ok(Some(Reply {
            status: Some(404),
            // without a line feed, and Vault without the mount's type
            no_mount_type: true,
            ..Reply::data(json!({ "error": text }))
        }));
    };
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
    check_named(call)?;
    let missing = Refused::internal(format!("role {:?} does not exist", name(call)));
    let role = role(core, call).map_err(|_| missing)?;
    match wanted(role, call) {
        Some(key) => {
            role.secrets.remove(&key);
            done()
        }
        None if call.args.has("secret_id_accessor") => Err(Refused::internal(format!(
            "failed to find accessor entry for secret_id_accessor: {:?}",
            call.args.text("secret_id_accessor")
        ))),
        None => done(),
    }
}

fn tidy(core: &mut Core, call: &Call) -> Outcome {
    let now = core.now;
    for role in all(core, call)?.values_mut() {
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

const INVALID: &str = "invalid role or secret ID";

fn no_alias(core: &Core) -> Refused {
    let text = if core.flavour.is_openbao() {
        "missing role_id"
    } else {
        "failed to determine alias name from login request"
    };
    Refused::Login(500, text.to_owned())
}

/// Who is to be counted is asked before whether logins are made so at all.
fn look_ahead(core: &mut Core, call: &Call) -> Outcome {
    let (_, lockout) = core.lockout_of(call);
    if call.args.text("role_id").is_empty() && !lockout.disabled {
        return Err(no_alias(core));
    }
    Err(Refused::unsupported_operation())
}

fn login(core: &mut Core, call: &Call) -> Outcome {
    let invalid = || Refused::bad(INVALID);
    let role_id = call.args.text("role_id");
    let (_, lockout) = core.lockout_of(call);
    if role_id.is_empty() && lockout.disabled {
        // nobody looks for the alias
        return Err(Refused::bad(if core.flavour.is_openbao() {
            "missing role_id"
        } else {
            "invalid credentials"
        }));
    }
    if role_id.is_empty() {
        return Err(no_alias(core));
    }
    let (accessor, lockout) = core.lockout_of(call);
    let (now, openbao) = (core.now, core.flavour.is_openbao());
    let found = all(core, call)?
        .iter()
        .find(|(_, r)| r.role_id == role_id)
        .map(|(n, r)| (n.clone(), r.clone()));
    let Some((name, role)) = found else {
        return Err(invalid());
    };
    if core.lockouts.is_locked(&accessor, role_id, lockout, now) {
        return Err(super::locked());
    }
    let cidr_fault = |what: &str| {
        let peer = call.peer;
        Refused::bad(format!(
            "source address \"{peer}\" unauthorized by CIDR restrictions on the {what}: %!w(<nil>)"
        ))
    };
    let mut metadata = BTreeMap::new();
    let mut params = role.params.clone();
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
            return Err(Refused::Login(400, INVALID.to_owned()));
        };
        if !within(call.peer, &id.cidrs) {
            if id.uses == 0 {
                let peer = call.peer;
                return Err(Refused::bad(format!(
                    "source address \"{peer}\" unauthorized through CIDR restrictions on the secret ID"
                )));
            }
            return Err(cidr_fault("secret ID"));
        }
        if !within(call.peer, role.blocks()) {
            return Err(cidr_fault("role"));
        }
        metadata.clone_from(&id.metadata);
        if !id.token_cidrs.is_empty() {
            params.bound_cidrs.clone_from(&id.token_cidrs);
        }
        if let Some(kept) = all(core, call)?.get_mut(&name) {
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
    } else if !within(call.peer, role.blocks()) {
        return Err(cidr_fault("role"));
    }
    core.lockouts.clear(&accessor, role_id);
    metadata.insert("role_name".to_owned(), name.clone());
    core.issue(
        call,
        Login {
            params: &params,
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
    match roles::behind::<Role>(core, mount, entry) {
        Some(role) => Ok(Some(role.params)),
        None => Err(Refused::internal(format!(
            "failed to renew entry: role {:?} does not exist during renewal",
            entry.owner
        ))),
    }
}
