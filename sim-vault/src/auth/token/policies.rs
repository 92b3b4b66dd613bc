//! Which policies a new token gets, by its parent and its role.

use serde_json::Value;

use super::TokenRole;
use crate::{
    acl::globbed, auth::effective_policies, call::Call, fields::Args, reply::Refused, token::Entry,
};

/// A text is one policy, whatever is in it.
pub(super) fn wanted_policies(args: &Args) -> Vec<String> {
    match args.get("policies") {
        Some(Value::String(one)) if !one.is_empty() => vec![one.to_lowercase()],
        Some(Value::Number(one)) => vec![one.to_string()],
        Some(Value::Array(list)) => list
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_lowercase)
            .collect(),
        _ => Vec::new(),
    }
}

pub(super) fn chosen_policies(
    parent: &Entry,
    role: Option<&TokenRole>,
    call: &Call,
    sudo: bool,
) -> Result<Vec<String>, Refused> {
    let wanted = wanted_policies(&call.args);
    let no_default = call.args.flag("no_default_policy");
    let mut chosen = match role.filter(|r| r.limits_policies()) {
        Some(role) => by_role(parent, role, &wanted, no_default)?,
        None if parent.ns != call.ns => effective_policies(&wanted, no_default),
        // "default" comes along only if the parent has it
        None if wanted.is_empty() => effective_policies(&parent.policies, true),
        None if sudo => effective_policies(&wanted, no_default),
        None => {
            let chosen = effective_policies(&wanted, true);
            if !chosen.iter().all(|p| parent.policies.contains(p)) {
                return Err(Refused::bad("child policies must be subset of parent"));
            }
            let inherits = parent.policies.iter().any(|p| p == "default");
            effective_policies(&wanted, no_default || !inherits)
        }
    };
    if no_default {
        chosen.retain(|p| p != "default");
    }
    if let Some(own) = chosen.iter().find(|p| *p == "response-wrapping") {
        return Err(Refused::bad(format!("cannot assign policy {own:?}")));
    }
    if chosen.iter().any(|p| p == "root") && !parent.is_root() {
        return Err(Refused::bad(
            "root tokens may not be created without parent token being root",
        ));
    }
    Ok(chosen)
}

/// A role that allows or forbids policies has rules of its own.
fn by_role(
    parent: &Entry,
    role: &TokenRole,
    wanted: &[String],
    no_default: bool,
) -> Result<Vec<String>, Refused> {
    let forbidden = |p: &str| {
        role.disallowed_policies.iter().any(|d| d == p)
            || role.disallowed_policies_glob.iter().any(|d| globbed(d, p))
    };
    let no_default = no_default || role.params.no_default_policy || forbidden("default");
    let mut chosen = if wanted.is_empty() {
        Vec::new()
    } else {
        effective_policies(wanted, no_default)
    };
    if role.allowed_policies.is_empty() && role.allowed_policies_glob.is_empty() {
        if chosen.is_empty() {
            chosen = effective_policies(&parent.policies, no_default);
        }
    } else {
        let allowed = effective_policies(&role.allowed_policies, no_default);
        let globs = effective_policies(&role.allowed_policies_glob, true);
        if chosen.is_empty() {
            chosen = allowed;
        } else if !chosen
            .iter()
            .all(|p| allowed.contains(p) || globs.iter().any(|g| globbed(g, p)))
        {
            return Err(Refused::bad(format!(
                "token policies ({}) must be subset of the role's allowed policies ({}) or glob policies ({})",
                quoted(&chosen),
                quoted(&allowed),
                quoted(&globs)
            )));
        }
    }
    if let Some(bad) = chosen.iter().find(|p| forbidden(p)) {
        return Err(Refused::bad(format!(
            "token policy {bad:?} is disallowed by this role"
        )));
    }
    Ok(chosen)
}

/// A list as Go's `%q` prints it.
fn quoted(list: &[String]) -> String {
    let texts: Vec<String> = list.iter().map(|t| format!("{t:?}")).collect();
    format!("[{}]", texts.join(" "))
}

impl TokenRole {
    fn limits_policies(&self) -> bool {
        [
            &self.allowed_policies,
            &self.allowed_policies_glob,
            &self.disallowed_policies,
            &self.disallowed_policies_glob,
        ]
        .iter()
        .any(|list| !list.is_empty())
    }
}
