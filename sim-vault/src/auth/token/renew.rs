//! Longer lives and the end.

use super::{TokenRoles, by_accessor, caller};
use crate::{
    Core,
    auth::{TokenParams, approle, cert, jwt, kubernetes, userpass},
    call::Call,
    mounts::Backend,
    pipeline::auth_block,
    reply::{Outcome, Refused, Reply, done},
    token::{Entry, TokenKind},
    ttl::{self, Limits},
};

pub(super) fn renew_self(core: &mut Core, call: &Call) -> Outcome {
    let id = caller(call)?.id.clone();
    renew_token(core, &id, call)
}

pub(super) fn renew(core: &mut Core, call: &Call) -> Outcome {
    let id = call.args.text("token").to_owned();
    if id.is_empty() {
        return Err(Refused::bad("missing token ID"));
    }
    renew_token(core, &id, call)
}

pub(super) fn renew_accessor(core: &mut Core, call: &Call) -> Outcome {
    let id = by_accessor(core, call)?.id.clone();
    let mut reply = renew_token(core, &id, call).map_err(|fault| match fault {
        Refused::Plain(400, _) => Refused::Wrapped(400, "invalid request".to_owned()),
        other => other,
    })?;
    // who has the accessor alone does not get the token
    if let Some(auth) = reply.as_mut().and_then(|r| r.auth.as_mut()) {
        auth.client_token.clear();
    }
    Ok(reply)
}

fn renew_token(core: &mut Core, id: &str, call: &Call) -> Outcome {
    let Some(entry) = core.tokens.get(id).cloned().filter(|e| e.num_uses >= 0) else {
        return Err(Refused::bad("token not found"));
    };
    if !entry.ns.starts_with(&call.ns) {
        return Err(Refused::internal("cannot renew a token across namespaces"));
    }
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
        Some(Backend::Userpass(_)) => userpass::renewal(core, issuer, &entry)?,
        Some(Backend::Approle(_)) => approle::renewal(core, issuer, &entry)?,
        Some(Backend::Jwt(_)) => jwt::renewal(core, issuer, &entry)?,
        Some(Backend::Kubernetes(_)) => kubernetes::renewal(core, issuer, &entry)?,
        Some(Backend::Cert(_)) => cert::renewal(core, issuer, &entry, call.cert.as_ref())?,
        Some(Backend::Token(method)) => Some(of_token(method, &entry)?),
        _ => Some(TokenParams {
            ttl: entry.granted,
            period: entry.period,
            ..TokenParams::default()
        }),
    };
    let Some(params) = current else { return done() };
    let by_role = entry.role.is_some();
    let limits = Limits {
        increment,
        role_ttl: params.ttl,
        role_max: params.max_ttl,
        period: params.period,
        explicit_max: if by_role {
            params.explicit_max_ttl
        } else {
            entry.explicit_max_ttl
        },
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

/// The limits of a token that the token method issued: its role's alone where it has one, as the role is now.
fn of_token(method: &TokenRoles, entry: &Entry) -> Result<TokenParams, Refused> {
    let own = TokenParams {
        ttl: entry.granted,
        period: entry.period,
        ..TokenParams::default()
    };
    let Some(name) = &entry.role else {
        return Ok(own);
    };
    let Some(role) = method.roles.get(name) else {
        return Err(Refused::internal(format!(
            "failed to renew entry: original token role {name:?} could not be found, not renewing"
        )));
    };
    Ok(TokenParams {
        period: role.params.period,
        explicit_max_ttl: role.params.explicit_max_ttl,
        ..own
    })
}

pub(super) fn revoke_self(core: &mut Core, call: &Call) -> Outcome {
    let token = caller(call)?;
    if token.kind == TokenKind::Batch {
        return Err(Refused::bad("batch tokens cannot be revoked"));
    }
    core.tokens.revoke(&token.id, true);
    done()
}

pub(super) fn revoke(core: &mut Core, call: &Call) -> Outcome {
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
    if !is_spent(core, id) {
        core.tokens.revoke(id, true);
    }
    done()
}

/// Its last use is over, and it only shows until its end.
fn is_spent(core: &Core, id: &str) -> bool {
    core.tokens.get(id).is_some_and(|t| t.num_uses < 0)
}

pub(super) fn revoke_orphan(core: &mut Core, call: &Call) -> Outcome {
    let id = call.args.text("token");
    if id.is_empty() {
        return Err(Refused::bad("missing token ID"));
    }
    let caller = caller(call)?;
    if !core.has_sudo(&caller, call) {
        return Err(Refused::bad(
            "root or sudo privileges required to revoke and orphan",
        ));
    }
    if core.tokens.get(id).is_none() || is_spent(core, id) {
        return Err(Refused::bad("token to revoke not found"));
    }
    core.tokens.revoke(id, false);
    done()
}

pub(super) fn revoke_accessor(core: &mut Core, call: &Call) -> Outcome {
    if call.args.text("accessor").is_empty() {
        return Err(Refused::Wrapped(400, "missing accessor".to_owned()));
    }
    match by_accessor(core, call) {
        Ok(entry) if entry.num_uses < 0 => Err(Refused::bad("token not found")),
        Ok(entry) => {
            core.tokens.revoke(&entry.id, true);
            done()
        }
        Err(Refused::Wrapped(400, _)) => Ok(Some(
            Reply::default().warn("No token found with this accessor"),
        )),
        Err(other) => Err(other),
    }
}

pub(super) fn tidy(core: &mut Core, _call: &Call) -> Outcome {
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
