//! Creating tokens, freely or within the limits of a role.

use std::time::Duration;

use serde_json::Value;

use super::{TokenRole, caller, stored_roles};
use crate::{
    Core,
    auth::effective_policies,
    call::Call,
    duration,
    fields::Args,
    pipeline::auth_block,
    reply::{Outcome, Refused, Reply},
    token::{Entry, TokenKind},
    ttl::{self, Limits},
};

pub(super) fn create(core: &mut Core, call: &Call) -> Outcome {
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
        Some(name) => match stored_roles(core, call)?.get(name) {
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
