//! The AppRole method: roles, role ids, secret ids with their limits.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    Manner, OldNames, TokenParams,
    roles::{self, Role as _, Roles},
};
use crate::{
    Core,
    call::{Call, Op},
    duration,
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
    pub accessors: Accessors,
}

/// Accessors of secret ids, with whether their role keeps those locally. They belong to the mount and outlive their role,
/// until somebody tidies up.
type Accessors = BTreeSet<(bool, String)>;

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
    /// The latest request to change it is answered with a warning.
    warned: bool,
    /// By the secret itself.
    pub secrets: BTreeMap<String, SecretId>,
}

impl Role {
    fn blocks(&self) -> &[String] {
        self.secret_id_bound_cidrs.as_deref().unwrap_or_default()
    }

    /// The refusal to store it. The real servers' plugin answers with a warning and an error at once if the request's token
    /// type has no meaning here, and that is a 400.
    fn not_stored(&self, text: &str) -> Refused {
        let status = if self.warned { 400 } else { 500 };
        Refused::Wrapped(status, text.to_owned())
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
    /// How long it is good for: no longer than anything may be. Looking it up shows what was asked for.
    fn granted(&self) -> Duration {
        self.ttl.min(crate::mounts::SYSTEM_TTL)
    }

    fn expired(&self, now: Duration) -> bool {
        !self.ttl.is_zero() && now >= self.created + self.granted()
    }
}

const OPEN: &str = "at least one constraint should be enabled on the role";
const TAKEN: &str = "role_id already in use";

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

fn accessors<'a>(core: &'a mut Core, call: &Call) -> Result<&'a mut Accessors, Refused> {
    match core.mounts.get_mut(&call.mount).map(|m| &mut m.backend) {
        Some(Backend::Approle(method)) => Ok(&mut method.accessors),
        _ => Err(Refused::unsupported_path()),
    }
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
    const OLD: OldNames = &[("policies", "token_policies"), ("period", "token_period")];

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
        self.warned = self.params.token_type.starts_with("default-");
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
        if let Some(n) = args.opt_int("secret_id_num_uses") {
            self.secret_id_num_uses = n;
        }
        if self.secret_id_num_uses < 0 {
            return Err(Refused::bad("secret_id_num_uses cannot be negative"));
        }
        if let Some(d) = args.opt_seconds("secret_id_ttl") {
            self.secret_id_ttl = d;
        }
        self.params.update_old(args, Self::OLD)?;
        let most = crate::mounts::SYSTEM_TTL;
        if self.params.by_old_name.contains("period") && self.params.period > most {
            return Err(Refused::bad(format!(
                "period of {:?} is greater than the backend's maximum lease TTL of {:?}",
                duration::long(self.params.period),
                duration::long(most)
            )));
        }
        if self.params.max_ttl > most {
            self.warned = true;
            warnings.push("token_max_ttl is greater than the backend mount's maximum TTL value; issued tokens' max TTL value will be truncated".to_owned());
        }
        if self.is_open() {
            return Err(self.not_stored(OPEN));
        }
        for kind in ["service", "batch"] {
            if self.params.token_type == format!("default-{kind}") {
                let text = format!("default-{kind} has no useful meaning; adjusting to {kind}");
                warnings.insert(0, text);
                kind.clone_into(&mut self.params.token_type);
            }
        }
        Ok(warnings)
    }

    fn check_beside(&self, name: &str, others: &Roles<Self>) -> Result<(), Refused> {
        if others
            .iter()
            .any(|(n, r)| n != name && r.role_id == self.role_id)
        {
            return Err(self.not_stored(TAKEN));
        }
        Ok(())
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

fn read_id(core: &mut Core, call: &Call) -> Outcome {
    match all(core, call)?.get(&name(call)) {
        Some(role) => ok(json!({ "role_id": role.role_id })),
        None => Err(Refused::nothing()),
    }
}

fn write_id(core: &mut Core, call: &Call) -> Outcome {
    let id = call.args.text("role_id").to_owned();
    let own = name(call);
    let roles = all(core, call)?;
    let Some(role) = roles.get(&own) else {
        return Err(Refused::unsupported_path());
    };
    if id.is_empty() {
        return Err(Refused::bad("missing role_id"));
    }
    let changed = Role {
        role_id: id,
        warned: false,
        ..role.clone()
    };
    changed.check_beside(&own, roles)?;
    roles.insert(own, changed);
    done()
}
