//! The AppRole method: roles, role ids, secret ids with their limits.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    Manner, TokenParams,
    roles::{self, Roles},
};
use crate::{
    Core,
    call::{Call, Op},
    fields::{Args, Field, Kind},
    mounts::Backend,
    reply::{Outcome, Refused, done, ok},
    route::{Endpoint, Handler},
};

mod field;
mod login;
mod secret;

pub(crate) use login::renewal;
use secret::check_blocks;

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
    /// Parameters that were set by their old names, under which reading shows them as well.
    pub by_old_name: BTreeSet<&'static str>,
    /// By the secret itself.
    pub secrets: BTreeMap<String, SecretId>,
}

impl Role {
    fn blocks(&self) -> &[String] {
        self.secret_id_bound_cidrs.as_deref().unwrap_or_default()
    }

    /// Whether it asks for nothing at all, which no role may.
    fn is_open(&self) -> bool {
        !self.bind_secret_id && self.blocks().is_empty() && self.params.bound_cidrs.is_empty()
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

const OPEN: &str = "at least one constraint should be enabled on the role";

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

/// What can be done with one field of a role.
const FIELD_OPS: [(Op, Handler); 3] = [
    (Op::Read, field::read),
    (Op::Update, field::write),
    (Op::Delete, field::delete),
];

pub(crate) const TABLE: &[Endpoint] = &[
    Endpoint {
        pattern: "login",
        fields: &[("role_id", Kind::Text), ("secret_id", Kind::Text)],
        ops: &[
            (Op::Update, login::login),
            (Op::Read, login::look_ahead),
            (Op::Delete, login::look_ahead),
            (Op::Header, login::look_ahead),
            (Op::Patch, login::look_ahead),
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
        ops: &[
            (Op::Update, secret::new_secret),
            (Op::List, secret::list_secrets),
        ],
        exists: None,
    },
    Endpoint {
        pattern: "role/{role_name}/custom-secret-id?",
        fields: SECRET,
        ops: &[(Op::Update, secret::new_secret)],
        exists: None,
    },
    Endpoint {
        pattern: "role/{role_name}/secret-id/lookup?",
        fields: BY_SECRET,
        ops: &[(Op::Update, secret::look_up)],
        exists: None,
    },
    Endpoint {
        pattern: "role/{role_name}/secret-id/destroy?",
        fields: BY_SECRET,
        ops: &[(Op::Update, secret::destroy), (Op::Delete, secret::destroy)],
        exists: None,
    },
    Endpoint {
        pattern: "role/{role_name}/secret-id-accessor/lookup?",
        fields: BY_ACCESSOR,
        ops: &[(Op::Update, secret::look_up)],
        exists: None,
    },
    Endpoint {
        pattern: "role/{role_name}/secret-id-accessor/destroy?",
        fields: BY_ACCESSOR,
        ops: &[(Op::Update, secret::destroy), (Op::Delete, secret::destroy)],
        exists: None,
    },
    Endpoint {
        pattern: "role/{role_name}/policies",
        fields: &[("policies", Kind::Texts), ("token_policies", Kind::Texts)],
        ops: &FIELD_OPS,
        exists: None,
    },
    Endpoint {
        pattern: "role/{role_name}/token-ttl",
        fields: &[("token_ttl", Kind::Seconds)],
        ops: &FIELD_OPS,
        exists: None,
    },
    Endpoint {
        pattern: "role/{role_name}/token-max-ttl",
        fields: &[("token_max_ttl", Kind::Seconds)],
        ops: &FIELD_OPS,
        exists: None,
    },
    Endpoint {
        pattern: "role/{role_name}/token-num-uses",
        fields: &[("token_num_uses", Kind::Int)],
        ops: &FIELD_OPS,
        exists: None,
    },
    Endpoint {
        pattern: "role/{role_name}/period",
        fields: &[("period", Kind::Seconds), ("token_period", Kind::Seconds)],
        ops: &FIELD_OPS,
        exists: None,
    },
    Endpoint {
        pattern: "role/{role_name}/bind-secret-id",
        fields: &[("bind_secret_id", Kind::Bool)],
        ops: &FIELD_OPS,
        exists: None,
    },
    Endpoint {
        pattern: "role/{role_name}/secret-id-num-uses",
        fields: &[("secret_id_num_uses", Kind::Int)],
        ops: &FIELD_OPS,
        exists: None,
    },
    Endpoint {
        pattern: "role/{role_name}/secret-id-ttl",
        fields: &[("secret_id_ttl", Kind::Seconds)],
        ops: &FIELD_OPS,
        exists: None,
    },
    Endpoint {
        pattern: "role/{role_name}/bound-cidr-list",
        fields: &[("bound_cidr_list", Kind::Texts)],
        ops: &FIELD_OPS,
        exists: None,
    },
    Endpoint {
        pattern: "role/{role_name}/secret-id-bound-cidrs",
        fields: &[("secret_id_bound_cidrs", Kind::Texts)],
        ops: &FIELD_OPS,
        exists: None,
    },
    Endpoint {
        pattern: "role/{role_name}/token-bound-cidrs",
        fields: &[("token_bound_cidrs", Kind::Texts)],
        ops: &FIELD_OPS,
        exists: None,
    },
    Endpoint {
        pattern: "role/{role_name}/local-secret-ids",
        fields: &[],
        ops: &[(Op::Read, field::read)],
        exists: None,
    },
    Endpoint {
        pattern: "tidy/secret-id?",
        fields: &[],
        ops: &[(Op::Update, secret::tidy)],
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
        for &(old, new) in Self::OLD {
            if args.has(old) {
                self.by_old_name.insert(old);
            } else if args.has(new) {
                self.by_old_name.remove(old);
            }
        }
        if let Some(n) = args.opt_int("secret_id_num_uses") {
            self.secret_id_num_uses = n;
        }
        if self.secret_id_num_uses < 0 {
            return Err(Refused::bad("secret_id_num_uses cannot be negative"));
        }
        if let Some(d) = args.opt_seconds("secret_id_ttl") {
            self.secret_id_ttl = d;
        }
        if self.is_open() {
            // The real servers' plugin answers with a warning and an error at once then, which is a 400.
            let warned = self.params.token_type.starts_with("default-");
            return Err(Refused::Wrapped(
                if warned { 400 } else { 500 },
                OPEN.to_owned(),
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
        let mut shown = json!({
            "bind_secret_id": self.bind_secret_id,
            "local_secret_ids": self.local_secret_ids,
            "secret_id_bound_cidrs": self.secret_id_bound_cidrs,
            "secret_id_num_uses": self.secret_id_num_uses,
            "secret_id_ttl": self.secret_id_ttl.as_secs(),
        });
        if self.by_old_name.contains("policies") && !self.params.policies.is_empty() {
            shown["policies"] = json!(self.params.policies);
        }
        if self.by_old_name.contains("period") && !self.params.period.is_zero() {
            shown["period"] = self.params.period.as_secs().into();
        }
        shown
    }
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
