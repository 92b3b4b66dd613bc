//! Token roles.

use std::time::Duration;

use serde_json::{Value, json};

use super::{TokenRole, stored_roles};
use crate::{
    Core,
    auth::{addresses, effective_policies, tidied},
    call::Call,
    fields::Args,
    reply::{Outcome, Refused, Reply, done},
};

pub(super) fn list_roles(core: &mut Core, call: &Call) -> Outcome {
    Reply::keys(stored_roles(core, call)?.keys().cloned().collect())
}

pub(super) fn write_role(core: &mut Core, call: &Call) -> Outcome {
    let args = &call.args;
    let most = core
        .mount(call.mount)
        .map_or(crate::mounts::SYSTEM_TTL, |mount| mount.max_lease());
    let roles = stored_roles(core, call)?;
    let name = args.text("role_name").to_owned();
    let mut role = roles.get(&name).cloned().unwrap_or_default();
    for (field, to) in [
        ("allowed_policies", &mut role.allowed_policies),
        ("allowed_policies_glob", &mut role.allowed_policies_glob),
    ] {
        if let Some(texts) = args.opt_texts(field) {
            *to = effective_policies(&texts, true);
        }
    }
    // what is forbidden, or no policy at all, stays beside `root`
    for (field, to) in [
        ("disallowed_policies", &mut role.disallowed_policies),
        (
            "disallowed_policies_glob",
            &mut role.disallowed_policies_glob,
        ),
    ] {
        if let Some(texts) = args.opt_texts(field) {
            *to = tidied(&texts);
        }
    }
    if let Some(texts) = args.opt_texts("allowed_entity_aliases") {
        role.allowed_entity_aliases = Some(tidied(&texts));
    }
    if let Some(b) = args.opt_bool("orphan") {
        role.orphan = b;
    }
    if let Some(b) = args.opt_bool("renewable") {
        role.not_renewable = !b;
    }
    if let Some(suffix) = args.opt_text("path_suffix") {
        check_suffix(suffix)?;
        suffix.clone_into(&mut role.path_suffix);
    }
    if call.raw.get("token_type").is_some_and(Value::is_null) {
        return Err(Refused::bad("Invalid 'token_type' value: null"));
    }
    // the types of tokens have a default of their own here
    let kind = args.opt_text("token_type").map(str::to_owned);
    let mut others = args.clone();
    others.0.remove("token_type");
    // the new type is looked at later, and the old one then no more
    let old_type = std::mem::take(&mut role.params.token_type);
    if kind.is_none() {
        role.params.token_type.clone_from(&old_type);
    }
    role.params
        .update(&others, &[])
        .map_err(|fault| within("error parsing role fields", fault))?;
    if let Some(kind) = kind {
        if !matches!(
            kind.as_str(),
            "service" | "batch" | "default-service" | "default-batch"
        ) {
            return Err(Refused::bad(format!("invalid 'token_type' value {kind:?}")));
        }
        role.params.token_type = kind;
    }
    let mut warnings = role.update_old(args)?;
    let shown = if args.has("token_explicit_max_ttl") {
        role.params.explicit_max_ttl
    } else {
        role.old_explicit_max_ttl
    };
    if shown > most {
        warnings.push(format!(
            "Given explicit max TTL of {} is greater than system/mount allowed value of {} seconds; until this is fixed attempting to create tokens against this role will result in an error",
            shown.as_secs(),
            most.as_secs()
        ));
    }
    check_batch(&role)?;
    roles.insert(name, role);
    if warnings.is_empty() {
        return done();
    }
    Ok(Some(Reply {
        warnings,
        ..Reply::default()
    }))
}

impl TokenRole {
    /// What is set by an old name shows by both, and what is set by its new name no longer by the old one.
    fn update_old(&mut self, args: &Args) -> Result<Vec<String>, Refused> {
        let new = |name: &str| args.has(&format!("token_{name}"));
        for (name, to, old) in [
            ("period", &mut self.params.period, &mut self.old_period),
            (
                "explicit_max_ttl",
                &mut self.params.explicit_max_ttl,
                &mut self.old_explicit_max_ttl,
            ),
        ] {
            if new(name) {
                *old = Duration::ZERO;
            } else if let Some(d) = args.opt_seconds(name) {
                (*to, *old) = (d, d);
            }
        }
        if new("bound_cidrs") {
            self.old_bound_cidrs.clear();
        } else if let Some(cidrs) = args.opt_texts("bound_cidrs") {
            let cidrs =
                addresses(cidrs).map_err(|fault| within("error parsing bound_cidrs", fault))?;
            self.old_bound_cidrs.clone_from(&cidrs);
            self.params.bound_cidrs = cidrs;
        }
        let both = ["period", "bound_cidrs", "explicit_max_ttl"]
            .into_iter()
            .filter(|name| new(name) && args.has(name));
        Ok(both
            .map(|name| format!("Both 'token_{name}' and deprecated '{name}' value supplied, ignoring the deprecated value"))
            .collect())
    }
}

/// The fault with a word of where it was found before it.
fn within(place: &str, fault: Refused) -> Refused {
    match fault {
        Refused::Plain(status, text) => Refused::Plain(status, format!("{place}: {text}")),
        other => other,
    }
}

/// Letters, digits and `_`, with `-` and `.` inside, but never two dots.
fn check_suffix(suffix: &str) -> Result<(), Refused> {
    if suffix.contains("..") && suffix.len() > 2 && crate::route::is_name(suffix) {
        return Err(Refused::bad(
            "error registering path suffix: path cannot contain parent references",
        ));
    }
    if suffix.is_empty() || suffix.len() > 2 && crate::route::is_name(suffix) {
        return Ok(());
    }
    Err(Refused::bad(
        "given role path suffix contains invalid characters; must match \\w[\\w-.]+\\w",
    ))
}

fn check_batch(role: &TokenRole) -> Result<(), Refused> {
    if role.params.token_type != "batch" {
        return Ok(());
    }
    let fault = if !role.orphan {
        "'token_type' cannot be 'batch' when role is set to generate non-orphan tokens"
    } else if !role.params.period.is_zero() {
        "'token_type' cannot be 'batch' when role is set to generate periodic tokens"
    } else if !role.not_renewable {
        "'token_type' cannot be 'batch' when role is set to generate renewable tokens"
    } else if !role.params.explicit_max_ttl.is_zero() {
        "'token_type' cannot be 'batch' when role is set to generate tokens with an explicit max TTL"
    } else {
        return Ok(());
    };
    Err(Refused::bad(fault))
}

pub(super) fn read_role(core: &mut Core, call: &Call) -> Outcome {
    let name = call.args.text("role_name");
    let Some(role) = stored_roles(core, call)?.get(name).cloned() else {
        return Err(Refused::nothing());
    };
    let params = &role.params;
    let kind = match params.token_type.as_str() {
        "" | "default" => "default-service",
        kind => kind,
    };
    let mut data = crate::reply::object(json!({
        "allowed_entity_aliases": role.allowed_entity_aliases,
        "allowed_policies": role.allowed_policies,
        "allowed_policies_glob": role.allowed_policies_glob,
        "disallowed_policies": role.disallowed_policies,
        "disallowed_policies_glob": role.disallowed_policies_glob,
        "explicit_max_ttl": role.old_explicit_max_ttl.as_secs(),
        "name": name,
        "orphan": role.orphan,
        "path_suffix": role.path_suffix,
        "period": role.old_period.as_secs(),
        "renewable": !role.not_renewable,
        "token_explicit_max_ttl": params.explicit_max_ttl.as_secs(),
        "token_no_default_policy": params.no_default_policy,
        "token_period": params.period.as_secs(),
        "token_type": kind,
    }));
    if !params.bound_cidrs.is_empty() {
        data.insert("token_bound_cidrs".to_owned(), json!(params.bound_cidrs));
    }
    if !role.old_bound_cidrs.is_empty() {
        data.insert("bound_cidrs".to_owned(), json!(role.old_bound_cidrs));
    }
    if params.num_uses > 0 {
        data.insert("token_num_uses".to_owned(), params.num_uses.into());
    }
    Ok(Some(Reply::data(Value::Object(data))))
}

pub(super) fn delete_role(core: &mut Core, call: &Call) -> Outcome {
    stored_roles(core, call)?.remove(call.args.text("role_name"));
    done()
}
