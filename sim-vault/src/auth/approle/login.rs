//! Logging in and renewing.

use std::collections::BTreeMap;

use super::{
    Role, all,
    secret::{check_within_role, forget},
};
use crate::{
    Core,
    auth::{Login, TokenParams, addresses, roles},
    call::Call,
    mounts::MountId,
    pipeline::within,
    reply::{Outcome, Refused},
    token::Entry,
};

const INVALID: &str = "invalid role or secret ID";

fn no_alias(core: &Core) -> Refused {
    let text = if core.flavour.is_openbao() {
        "missing role_id"
    } else {
        "failed to determine alias name from login request"
    };
    Refused::Login(500, text.to_owned())
}

/// Who is to be counted, and whether that one is locked out, is asked before whether logins are made so at all.
pub(super) fn look_ahead(core: &mut Core, call: &Call) -> Outcome {
    let (_, lockout) = core.lockout_of(call);
    let role_id = call.args.text("role_id");
    if role_id.is_empty() && !lockout.disabled {
        return Err(no_alias(core));
    }
    core.check_lock(call, role_id)?;
    Err(Refused::unsupported_operation())
}

pub(super) fn login(core: &mut Core, call: &Call) -> Outcome {
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
    core.check_lock(call, role_id)?;
    let (accessor, lockout) = core.lockout_of(call);
    let (now, openbao) = (core.now, core.flavour.is_openbao());
    let found = all(core, call)?
        .iter()
        .find(|(_, r)| r.role_id == role_id)
        .map(|(n, r)| (n.clone(), r.clone()));
    let Some((name, role)) = found else {
        return Err(invalid());
    };
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
        // in Vault the use counts whatever is found fault with from here on, in OpenBao that of a login alone
        if !openbao {
            spend(core, call, &name, secret)?;
        }
        check_within_role(&id.cidrs, role.blocks())?;
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
            params.bound_cidrs = addresses(id.token_cidrs.clone())?;
        }
        if openbao {
            spend(core, call, &name, secret)?;
        }
    } else if !within(call.peer, role.blocks()) {
        return Err(cidr_fault("role"));
    }
    metadata.insert("role_name".to_owned(), name.clone());
    core.issue(
        call,
        Login {
            params: &params,
            alias: role_id,
            owner: &name,
            display_name: "",
            metadata,
            alias_keeps: true,
        },
    )
}

/// Counts a use of a secret id; the last one ends it.
fn spend(core: &mut Core, call: &Call, role: &str, secret: &str) -> Result<(), Refused> {
    let now = core.now;
    let kept = all(core, call)?.get_mut(role);
    let Some(id) = kept.and_then(|r| r.secrets.get_mut(secret)) else {
        return Ok(());
    };
    match id.uses {
        0 => Ok(()),
        1 => forget(core, call, role, secret),
        left => {
            id.uses = left - 1;
            id.updated = now;
            Ok(())
        }
    }
}

/// Renewal looks the role up by name: a role of the same name made anew serves.
pub(crate) fn renewal(
    core: &mut Core,
    mount: MountId,
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
