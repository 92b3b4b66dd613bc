//! Policies and capabilities.

use serde_json::{Map, Value, json};

use crate::{
    Core,
    call::Call,
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
    let mut names: Vec<String> = core
        .namespace(&call.ns)
        .map(|n| n.policies.keys().cloned().collect())
        .unwrap_or_default();
    names.retain(|n| n != "response-wrapping");
    if call.ns.is_empty() {
        names.push("root".to_owned());
    }
    if legacy(call) {
        let data = json!({ "keys": names, "policies": names });
        return Ok(Some(Reply::data(data).top_level()));
    }
    Reply::keys(names)
}

pub(super) fn write(core: &mut Core, call: &Call) -> Outcome {
    let name = name(call);
    if name == "root" {
        return Err(Refused::bad("cannot update \"root\" policy"));
    }
    let text = call.args.text("policy");
    if text.is_empty() {
        return Err(Refused::bad("'policy' parameter not supplied or empty"));
    }
    let mut policy = Policy::parse(text, core.flavour)
        .map_err(|e| Refused::bad(format!("failed to parse policy: {e}")))?;
    policy.modified = core.rfc3339(core.now);
    if let Some(space) = core.namespaces.get_mut(&call.ns) {
        policy.version = space.policies.get(&name).map_or(1, |p| p.version + 1);
        space.policies.insert(name, policy);
    }
    done()
}

pub(super) fn read(core: &mut Core, call: &Call) -> Outcome {
    let name = name(call);
    let text = |p: &Policy| p.text.clone();
    let Some(space) = core.namespace(&call.ns) else {
        return Err(Refused::nothing());
    };
    let Some(policy) = space.policies.get(&name) else {
        if name == "root" {
            return Ok(Some(Reply::data(json!({ "name": name, "policy": "" }))));
        }
        return Err(Refused::nothing());
    };
    if legacy(call) {
        return Ok(Some(
            Reply::data(json!({ "name": name, "rules": text(policy) })).top_level(),
        ));
    }
    let mut data = json!({ "name": name, "policy": text(policy) });
    if core.flavour.is_openbao() {
        data["allow_slashes_in_identity_templates"] = false.into();
        data["allow_wildcards_in_identity_templates"] = false.into();
        data["cas_required"] = false.into();
        data["modified"] = policy.modified.as_str().into();
        data["version"] = policy.version.into();
    }
    Ok(Some(Reply::data(data)))
}

pub(super) fn delete(core: &mut Core, call: &Call) -> Outcome {
    let name = name(call);
    if name == "default" || name == "root" {
        return Err(Refused::bad(format!("cannot delete {name} policy")));
    }
    if let Some(space) = core.namespaces.get_mut(&call.ns) {
        space.policies.remove(&name);
    }
    done()
}

pub(super) fn capabilities(core: &mut Core, call: &Call) -> Outcome {
    let token = match call.path.as_str() {
        "capabilities-self" => call.token.clone(),
        "capabilities-accessor" => core.tokens.by_accessor(call.args.text("accessor")).cloned(),
        _ => core.tokens.get(call.args.text("token")).cloned(),
    };
    let Some(token) = token.filter(|t| t.num_uses >= 0) else {
        return Err(Refused::Wrapped(400, "invalid token".to_owned()));
    };
    let paths = call
        .args
        .opt_texts("paths")
        .or_else(|| call.args.opt_texts("path"))
        .unwrap_or_default();
    if paths.is_empty() {
        return Err(Refused::bad("paths must be supplied"));
    }
    let mut data = Map::new();
    let mut single = None;
    for path in &paths {
        let inner = call.ns.strip_prefix(token.ns.as_str()).unwrap_or_default();
        let names = core.capabilities(&token, &format!("{inner}{path}"));
        single = Some(json!(names));
        data.insert(path.clone(), json!(names));
    }
    if let (1, Some(names)) = (paths.len(), single) {
        data.insert("capabilities".to_owned(), names);
    }
    Ok(Some(Reply::data(Value::Object(data)).top_level()))
}
