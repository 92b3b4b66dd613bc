//! The token method: create, look up, renew, revoke, roles.

use std::{collections::BTreeMap, sync::Arc};

use super::TokenParams;
use crate::{
    Core,
    call::{Call, Op},
    fields::{Field, Kind},
    mounts::Backend,
    reply::Refused,
    route::Endpoint,
    token::Entry,
};

mod create;
mod lookup;
mod policies;
mod renew;
mod roles;

/// The roles of one token mount.
#[derive(Clone, Default)]
pub(crate) struct TokenRoles {
    pub roles: BTreeMap<String, TokenRole>,
}

/// Limits for tokens created at `auth/token/create/ROLE`.
#[derive(Clone, Default)]
pub(crate) struct TokenRole {
    pub allowed_policies: Vec<String>,
    pub allowed_policies_glob: Vec<String>,
    pub disallowed_policies: Vec<String>,
    pub disallowed_policies_glob: Vec<String>,
    /// `None` until they are given, if only as an empty list: reading shows the difference.
    pub allowed_entity_aliases: Option<Vec<String>>,
    pub orphan: bool,
    pub not_renewable: bool,
    pub path_suffix: String,
    /// What was set by the parameters' old names; `params` holds what counts.
    pub old_explicit_max_ttl: std::time::Duration,
    pub old_period: std::time::Duration,
    pub old_bound_cidrs: Vec<String>,
    pub params: TokenParams,
}

const CREATE: &[Field] = &[
    ("id", Kind::Text),
    ("policies", Kind::Names),
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
const ROLE: &[Field] = &[
    ("allowed_policies", Kind::Texts),
    ("allowed_policies_glob", Kind::Texts),
    ("disallowed_policies", Kind::Texts),
    ("disallowed_policies_glob", Kind::Texts),
    ("allowed_entity_aliases", Kind::Texts),
    ("orphan", Kind::Bool),
    ("renewable", Kind::Bool),
    ("path_suffix", Kind::Text),
    ("explicit_max_ttl", Kind::Seconds),
    ("period", Kind::Seconds),
    ("bound_cidrs", Kind::Texts),
    ("token_bound_cidrs", Kind::Texts),
    ("token_explicit_max_ttl", Kind::Seconds),
    ("token_no_default_policy", Kind::Bool),
    ("token_num_uses", Kind::Int),
    ("token_period", Kind::Seconds),
    ("token_type", Kind::Text),
];
const TOKEN: &[Field] = &[("token", Kind::Text), ("increment", Kind::Seconds)];
const ACCESSOR: &[Field] = &[("accessor", Kind::Text), ("increment", Kind::Seconds)];

pub(crate) const TABLE: &[Endpoint] = &[
    Endpoint {
        pattern: "lookup-self",
        fields: TOKEN,
        ops: &[
            (Op::Read, lookup::look_up_self),
            (Op::Update, lookup::look_up_self),
        ],
        exists: None,
    },
    Endpoint {
        pattern: "create",
        fields: CREATE,
        ops: &[(Op::Update, create::create)],
        exists: None,
    },
    Endpoint {
        pattern: "create-orphan",
        fields: CREATE,
        ops: &[(Op::Update, create::create)],
        exists: None,
    },
    Endpoint {
        pattern: "create/{role_name:seg}",
        fields: CREATE,
        ops: &[(Op::Update, create::create)],
        exists: None,
    },
    Endpoint {
        pattern: "lookup",
        fields: TOKEN,
        ops: &[(Op::Read, lookup::look_up), (Op::Update, lookup::look_up)],
        exists: None,
    },
    Endpoint {
        pattern: "lookup-accessor",
        fields: ACCESSOR,
        ops: &[(Op::Update, lookup::look_up_accessor)],
        exists: None,
    },
    Endpoint {
        pattern: "renew-self",
        fields: TOKEN,
        ops: &[(Op::Update, renew::renew_self)],
        exists: None,
    },
    Endpoint {
        pattern: "renew",
        fields: TOKEN,
        ops: &[(Op::Update, renew::renew)],
        exists: None,
    },
    Endpoint {
        pattern: "renew-accessor",
        fields: ACCESSOR,
        ops: &[(Op::Update, renew::renew_accessor)],
        exists: None,
    },
    Endpoint {
        pattern: "revoke-self",
        fields: TOKEN,
        ops: &[(Op::Update, renew::revoke_self)],
        exists: None,
    },
    Endpoint {
        pattern: "revoke",
        fields: TOKEN,
        ops: &[(Op::Update, renew::revoke)],
        exists: None,
    },
    Endpoint {
        pattern: "revoke-orphan",
        fields: TOKEN,
        ops: &[(Op::Update, renew::revoke_orphan)],
        exists: None,
    },
    Endpoint {
        pattern: "revoke-accessor",
        fields: ACCESSOR,
        ops: &[(Op::Update, renew::revoke_accessor)],
        exists: None,
    },
    Endpoint {
        pattern: "accessors?",
        fields: &[],
        ops: &[(Op::List, lookup::accessors)],
        exists: None,
    },
    Endpoint {
        pattern: "tidy",
        fields: &[],
        ops: &[(Op::Update, renew::tidy)],
        exists: None,
    },
    Endpoint {
        pattern: "roles?",
        fields: &[],
        ops: &[(Op::List, roles::list_roles)],
        exists: None,
    },
    Endpoint {
        pattern: "roles/{role_name:seg}",
        fields: ROLE,
        ops: &[
            (Op::Create, roles::write_role),
            (Op::Update, roles::write_role),
            (Op::Read, roles::read_role),
            (Op::Delete, roles::delete_role),
        ],
        exists: Some(|core, call| {
            Ok(stored_roles(core, call)?.contains_key(call.args.text("role_name")))
        }),
    },
];

fn stored_roles<'a>(
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

fn by_accessor(core: &Core, call: &Call) -> Result<Arc<Entry>, Refused> {
    let accessor = call.args.text("accessor");
    if accessor.is_empty() {
        return Err(Refused::Wrapped(400, "missing accessor".to_owned()));
    }
    let unknown = || Refused::Wrapped(400, "invalid accessor".to_owned());
    let nowhere = || {
        if core.flavour.is_vault() {
            Refused::internal("no namespace")
        } else {
            unknown()
        }
    };
    // where it belongs is read off the accessor, whether there is such a token or not
    let home = match accessor.split_once('.') {
        None => "",
        Some((_, id)) => {
            let mut spaces = core.namespaces.values();
            let space = spaces.find(|n| n.id == id);
            &space.ok_or_else(nowhere)?.path
        }
    };
    if core.has_namespaces() && home != call.ns {
        return Err(Refused::internal(
            "cannot lookup token in different namespace",
        ));
    }
    core.tokens
        .by_accessor(accessor)
        .cloned()
        .ok_or_else(unknown)
}
