//! Token roles.

use serde_json::{Value, json};

use super::{TokenRole, stored_roles};
use crate::{
    Core,
    auth::{effective_policies, tidied},
    call::Call,
    reply::{Outcome, Refused, Reply, done},
};

pub(super) fn list_roles(core: &mut Core, call: &Call) -> Outcome {
    Reply::keys(stored_roles(core, call)?.keys().cloned().collect())
}

pub(super) fn write_role(core: &mut Core, call: &Call) -> Outcome {
    let args = &call.args;
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
        ("allowed_entity_aliases", &mut role.allowed_entity_aliases),
    ] {
        if let Some(texts) = args.opt_texts(field) {
            *to = tidied(&texts);
        }
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
        .map_err(|fault| match fault {
            Refused::Plain(status, text) => {
                Refused::Plain(status, format!("error parsing role fields: {text}"))
            }
            other => other,
        })?;
    let mut warnings = Vec::new();
    for (name, to, old) in [
        ("period", &mut role.params.period, &mut role.old_period),
        (
            "explicit_max_ttl",
            &mut role.params.explicit_max_ttl,
            &mut role.old_explicit_max_ttl,
        ),
    ] {
        let new = format!("token_{name}");
        match args.opt_seconds(name) {
            Some(_) if args.has(&new) => {
                *old = std::time::Duration::ZERO;
                warnings.push(format!(
                    "Both '{new}' and deprecated '{name}' value supplied, ignoring the deprecated value"
                ));
            }
            Some(d) => (*to, *old) = (d, d),
            None => {}
        }
    }
    if let Some(kind) = kind {
        if !matches!(
            kind.as_str(),
            "service" | "batch" | "default-service" | "default-batch"
        ) {
            return Err(Refused::bad(format!("invalid 'token_type' value {kind:?}")));
        }
        role.params.token_type = kind;
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

/// Letters, digits and `_`, with `-` and `.` inside.
fn check_suffix(suffix: &str) -> Result<(), Refused> {
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
        "allowed_entity_aliases": (!role.allowed_entity_aliases.is_empty()).then_some(&role.allowed_entity_aliases),
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
    if params.num_uses > 0 {
        data.insert("token_num_uses".to_owned(), params.num_uses.into());
    }
    Ok(Some(Reply::data(Value::Object(data))))
}

pub(super) fn delete_role(core: &mut Core, call: &Call) -> Outcome {
    stored_roles(core, call)?.remove(call.args.text("role_name"));
    done()
}
