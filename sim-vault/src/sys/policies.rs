//! Policies and capabilities.

use serde_json::{Map, Value, json};

use crate::{
    Core,
    call::Call,
    gobase64, kv,
    policy::Policy,
    reply::{Outcome, Refused, Reply, done},
};

fn name(call: &Call) -> String {
    call.args.text("policy_name").to_lowercase()
}

fn legacy(call: &Call) -> bool {
    call.path.starts_with("policy")
}

pub(super) fn list(core: &mut Core, call: &Call) -> Outcome {
    // OpenBao lists what lies below a name, too
    let under = name(call);
    if !under.is_empty() && core.flavour.is_vault() {
        return Err(Refused::unsupported_operation());
    }
    let kept = core.namespace(&call.ns).map(|n| &n.policies);
    let kept: Vec<&String> = kept.into_iter().flat_map(|p| p.keys()).collect();
    let mut names = scan(&kept, &under);
    names.retain(|n| n != "response-wrapping");
    if call.ns.is_empty() && under.is_empty() {
        names.push("root".to_owned());
    }
    match (legacy(call), names.is_empty()) {
        (false, _) => Reply::keys(names),
        (true, true) => Ok(Some(Reply::data(json!({ "policies": null })).top_level())),
        (true, false) => {
            let data = json!({ "keys": names, "policies": names });
            Ok(Some(Reply::data(data).top_level()))
        }
    }
}

/// Names in the order in which a store is gone through: those of a folder, then its folders, the last one first.
fn scan(names: &[&String], under: &str) -> Vec<String> {
    let (folders, here): (Vec<String>, Vec<String>) = kv::below(names.iter().copied(), under)
        .into_iter()
        .map(|below| format!("{under}{below}"))
        .partition(|path| path.ends_with('/'));
    let inner = folders.iter().rev().flat_map(|folder| scan(names, folder));
    here.into_iter().chain(inner).collect()
}

pub(super) fn write(core: &mut Core, call: &Call) -> Outcome {
    let name = name(call);
    let text = call.args.text("policy");
    if text.is_empty() {
        return Err(Refused::bad("'policy' parameter not supplied or empty"));
    }
    // the text may come as base64 of itself
    let decoded = gobase64::decode(text).ok();
    let decoded = decoded.as_deref().map(String::from_utf8_lossy);
    let text = decoded.as_deref().unwrap_or(text);
    let mut policy = Policy::parse(text, core.flavour)
        .map_err(|e| Refused::bad(format!("failed to parse policy: {e}")))?;
    if name == "root" || name == "response-wrapping" {
        return Err(Refused::bad(format!("cannot update {name:?} policy")));
    }
    policy.modified = core.rfc3339(core.now);
    if let Some(wanted) = call
        .args
        .opt_int("cas")
        .filter(|_| core.flavour.is_openbao())
    {
        let current = core
            .namespace(&call.ns)
            .and_then(|n| n.policies.get(&name))
            .map(|p| i64::try_from(p.version).unwrap_or(i64::MAX));
        match (wanted, current) {
            (-1 | 0, None) => {}
            (-1, Some(_)) => {
                return Err(Refused::bad(
                    "check-and-set parameter set to -1 on existing entry",
                ));
            }
            (wanted, current) if Some(wanted) == current => {}
            (wanted, Some(current)) => {
                return Err(Refused::bad(format!(
                    "check-and-set parameter {wanted} did not match the current version {current}"
                )));
            }
            (wanted, None) => {
                return Err(Refused::bad(format!(
                    "check-and-set parameter {wanted} did not match the current version 0"
                )));
            }
        }
    }
    if let Some(space) = core.namespaces.get_mut(&call.ns) {
        policy.version = space.policies.get(&name).map_or(1, |p| p.version + 1);
        space.policies.insert(name.clone(), policy);
    }
    if core.flavour.is_vault() && name != call.args.text("policy_name") {
        let text = format!("policy name was converted to {name}");
        return Ok(Some(Reply::default().warn(text)));
    }
    done()
}

pub(super) fn read(core: &mut Core, call: &Call) -> Outcome {
    let name = name(call);
    let field = if legacy(call) { "rules" } else { "policy" };
    let found = core
        .namespace(&call.ns)
        .and_then(|space| space.policies.get(&name));
    let mut data = match found {
        Some(policy) => json!({ "name": name, field: policy.text }),
        None if name == "root" => json!({ "name": name, field: "" }),
        None => return Err(Refused::nothing()),
    };
    if core.flavour.is_openbao() {
        data["allow_slashes_in_identity_templates"] = false.into();
        data["allow_wildcards_in_identity_templates"] = false.into();
        data["cas_required"] = false.into();
        data["version"] = found.map_or(0, |p| p.version).into();
        if let Some(policy) = found {
            data["modified"] = policy.modified.as_str().into();
        }
    }
    let reply = Reply::data(data);
    Ok(Some(if legacy(call) {
        reply.top_level()
    } else {
        reply
    }))
}

pub(super) fn delete(core: &mut Core, call: &Call) -> Outcome {
    let name = name(call);
    match name.as_str() {
        "default" => return Err(Refused::bad("cannot delete default policy")),
        "root" | "response-wrapping" => {
            return Err(Refused::bad(format!("cannot delete {name:?} policy")));
        }
        _ => {}
    }
    if let Some(space) = core.namespaces.get_mut(&call.ns) {
        space.policies.remove(&name);
    }
    done()
}

pub(super) fn capabilities(core: &mut Core, call: &Call) -> Outcome {
    let wrong = |text: &str| Err(Refused::Wrapped(400, text.to_owned()));
    let token = match call.path.as_str() {
        "capabilities-self" => call.token.clone(),
        "capabilities-accessor" => {
            let accessor = call.args.text("accessor");
            if accessor.is_empty() {
                return Err(Refused::bad("missing accessor"));
            }
            let found = core.tokens.by_accessor(accessor).cloned();
            if found.is_none() {
                return wrong("invalid accessor");
            }
            found
        }
        _ if call.args.text("token").is_empty() => {
            return Err(Refused::internal("no token found"));
        }
        _ => core.tokens.get(call.args.text("token")).cloned(),
    };
    let given = |name: &str| call.args.opt_texts(name).filter(|list| !list.is_empty());
    let Some(paths) = given("paths").or_else(|| given("path")) else {
        return Err(Refused::bad("paths must be supplied"));
    };
    let token = token.filter(|t| t.num_uses >= 0);
    let mut data = Map::new();
    let mut single = None;
    for path in &paths {
        if path.is_empty() {
            return wrong("missing path");
        }
        let Some(token) = &token else {
            return wrong("invalid token");
        };
        let full = format!("{}{path}", call.ns);
        let names = match full.strip_prefix(token.ns.as_str()) {
            Some(inner) => core.capabilities(token, inner),
            None => vec!["deny"],
        };
        single = Some(json!(names));
        data.insert(path.clone(), json!(names));
    }
    if let (1, Some(names)) = (paths.len(), single) {
        data.insert("capabilities".to_owned(), names);
    }
    Ok(Some(Reply::data(Value::Object(data)).top_level()))
}
