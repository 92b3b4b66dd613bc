//! The userpass method.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    Login, OldNames, TokenParams,
    roles::{self, Roles},
};
use crate::{
    Core,
    call::{Call, Op},
    fields::{Args, Field, Kind},
    mounts::{Backend, MountId},
    pipeline::within,
    reply::{Outcome, Refused, done},
    route::Endpoint,
    token::Entry,
};

/// The users of one mount.
#[derive(Clone, Default)]
pub(crate) struct Userpass {
    pub users: Roles<User>,
}

/// The password is kept as a digest: the model needs equality only, and must never show it.
#[derive(Clone)]
pub(crate) struct User {
    password: [u8; 32],
    pub params: TokenParams,
}

const USER: [Field; 15] = roles::fields([
    ("password", Kind::Text),
    ("ttl", Kind::Seconds),
    ("max_ttl", Kind::Seconds),
    ("bound_cidrs", Kind::Texts),
]);

pub(crate) const TABLE: &[Endpoint] = &[
    Endpoint {
        pattern: "login/{username:seg}",
        fields: &[("password", Kind::Text)],
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
        pattern: "users?",
        fields: &[],
        ops: &[(Op::List, roles::list::<User>)],
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
            (Op::Create, roles::write::<User>),
            (Op::Update, roles::write::<User>),
            (Op::Read, roles::read::<User>),
            (Op::Delete, roles::delete::<User>),
        ],
        exists: Some(roles::exists::<User>),
    },
];

fn users<'a>(core: &'a mut Core, call: &Call) -> Result<&'a mut Roles<User>, Refused> {
    roles::of::<User>(core, call)
}

fn name(call: &Call) -> String {
    roles::name::<User>(call)
}

fn digest(password: &str) -> [u8; 32] {
    Sha256::digest(password.as_bytes()).into()
}

impl roles::Role for User {
    const NAME: &'static str = "username";
    const LOWER: bool = true;
    const OLD: OldNames = &[
        ("policies", "token_policies"),
        ("ttl", "token_ttl"),
        ("max_ttl", "token_max_ttl"),
        ("bound_cidrs", "token_bound_cidrs"),
    ];

    fn all(backend: &Backend) -> Option<&Roles<Self>> {
        match backend {
            Backend::Userpass(method) => Some(&method.users),
            _ => None,
        }
    }

    fn all_mut(backend: &mut Backend) -> Option<&mut Roles<Self>> {
        match backend {
            Backend::Userpass(method) => Some(&mut method.users),
            _ => None,
        }
    }

    fn fresh(_: &mut Core) -> Self {
        Self {
            password: [0; 32],
            params: TokenParams::default(),
        }
    }

    fn params(&mut self) -> &mut TokenParams {
        &mut self.params
    }

    fn update(&mut self, core: &Core, args: &Args, new: bool) -> Result<Vec<String>, Refused> {
        if new && args.text("password").is_empty() {
            return Err(Refused::bad(if core.flavour.is_openbao() {
                "must provide either password or password_hash"
            } else {
                "\"password\" or \"password_hash\" must be supplied"
            }));
        }
        self.params.update(args, Self::OLD)?;
        if let Some(password) = args.opt_text("password").filter(|p| !p.is_empty()) {
            self.password = digest(password);
        }
        Ok(Vec::new())
    }

    fn describe(&self, _: &Core) -> Value {
        Value::Null
    }
}

fn set_password(core: &mut Core, call: &Call) -> Outcome {
    let password = call.args.text("password").to_owned();
    let missing = if core.flavour.is_openbao() {
        "must provide either password or password_hash"
    } else {
        "\"password\" or \"password_hash\" must be supplied"
    };
    let user = existing(core, call)?;
    if password.is_empty() {
        return Err(Refused::bad(missing));
    }
    user.password = digest(&password);
    done()
}

/// Only the policies are looked at, and nothing but them is checked.
fn set_policies(core: &mut Core, call: &Call) -> Outcome {
    let (new, old) = (
        call.args.opt_texts("token_policies"),
        call.args.opt_texts("policies"),
    );
    let params = &mut existing(core, call)?.params;
    if old.is_some() {
        params.by_old_name.insert("policies");
    } else if new.is_some() {
        params.by_old_name.remove("policies");
    }
    if let Some(policies) = new.or(old) {
        params.policies = super::effective_policies(&policies, true);
    }
    done()
}

fn existing<'a>(core: &'a mut Core, call: &Call) -> Result<&'a mut User, Refused> {
    users(core, call)?
        .get_mut(&name(call))
        .ok_or_else(|| Refused::internal("username does not exist"))
}

/// By what name failures are counted: Vault takes another case for another user.
fn counted(core: &Core, call: &Call) -> String {
    if core.flavour.is_vault() {
        call.args.text("username").to_owned()
    } else {
        name(call)
    }
}

/// Whether the user is locked out is asked before whether logins are made so at all.
fn look_ahead(core: &mut Core, call: &Call) -> Outcome {
    core.check_lock(call, &counted(core, call))?;
    Err(Refused::unsupported_operation())
}

fn login(core: &mut Core, call: &Call) -> Outcome {
    let name = name(call);
    if core.flavour.is_vault() && matches!(call.raw.get("password"), Some(Value::Object(_))) {
        return Err(Refused::Panic);
    }
    let counted = counted(core, call);
    core.check_lock(call, &counted)?;
    let (accessor, lockout) = core.lockout_of(call);
    let password = call.args.text("password");
    if password.is_empty() {
        if core.flavour.is_vault() {
            let now = core.now;
            core.lockouts.failed(&accessor, &counted, lockout, now);
        }
        return Err(if core.flavour.is_openbao() {
            Refused::Plain(500, "missing password".to_owned())
        } else {
            Refused::Login(400, "invalid credentials".to_owned())
        });
    }
    let found = users(core, call)?
        .get(&name)
        .map(|u| (u.password == digest(password), u.params.clone()));
    let Some((true, params)) = found else {
        let text = "invalid username or password".to_owned();
        if found.is_none() {
            return Err(Refused::Plain(400, text));
        }
        let now = core.now;
        core.lockouts.failed(&accessor, &counted, lockout, now);
        return Err(Refused::Login(400, text));
    };
    if !within(call.peer, &params.bound_cidrs) {
        return Err(Refused::denied());
    }
    let metadata = BTreeMap::from([("username".to_owned(), name.clone())]);
    core.issue(
        call,
        Login {
            params: &params,
            alias: &name,
            owner: &name,
            display_name: &name,
            metadata,
            alias_keeps: false,
        },
    )
}

/// What renewing a token of this mount finds: `None` if the user is gone (nothing is renewed, 204).
pub(crate) fn renewal(
    core: &mut Core,
    mount: MountId,
    entry: &Entry,
) -> Result<Option<TokenParams>, Refused> {
    let Some(user) = roles::behind::<User>(core, mount, entry) else {
        return Ok(None);
    };
    user.params.still_grants(core.flavour, entry)?;
    Ok(Some(user.params))
}
