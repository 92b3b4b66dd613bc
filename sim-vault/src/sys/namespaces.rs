//! Creating, reading, locking and deleting namespaces (OpenBao).

use serde_json::{Value, json};

use crate::{
    Core,
    call::Call,
    reply::{Outcome, Refused, Reply, ok},
};

/// Vault's community edition knows the paths and refuses them.
fn supported(core: &Core) -> Result<(), Refused> {
    if core.has_namespaces() {
        Ok(())
    } else {
        Err(super::enterprise_only(core))
    }
}

fn target(call: &Call) -> String {
    format!("{}{}/", call.ns, call.args.text("path").trim_matches('/'))
}

fn describe(core: &Core, path: &str) -> Option<Value> {
    let space = core.namespace(path)?;
    if core.is_enterprise() {
        // DOCS-ONLY
        return Some(json!({
            "custom_metadata": space.metadata,
            "id": space.id,
            "path": space.path,
        }));
    }
    Some(json!({
        "custom_metadata": space.metadata,
        "id": space.id,
        "locked": space.lock.is_some(),
        "path": space.path,
        "tainted": false,
        "uuid": space.uuid,
    }))
}

pub(super) fn list(core: &mut Core, call: &Call) -> Outcome {
    supported(core)?;
    let children: Vec<String> = core
        .namespaces
        .keys()
        .filter_map(|p| p.strip_prefix(call.ns.as_str()))
        .filter(|p| p.matches('/').count() == 1)
        .map(str::to_owned)
        .collect();
    if children.is_empty() {
        return Err(Refused::nothing());
    }
    let info: serde_json::Map<String, Value> = children
        .iter()
        .filter_map(|c| Some((c.clone(), describe(core, &format!("{}{c}", call.ns))?)))
        .collect();
    ok(json!({ "key_info": info, "keys": children }))
}

pub(super) fn create(core: &mut Core, call: &Call) -> Outcome {
    supported(core)?;
    let path = target(call);
    let name = call.args.text("path").trim_matches('/');
    if matches!(
        name,
        "root" | "sys" | "audit" | "auth" | "cubbyhole" | "identity"
    ) {
        return Err(Refused::bad(format!(
            "\"{name}/\" is a reserved path and cannot be used as a namespace name"
        )));
    }
    if core.namespace(&path).is_none() {
        core.add_namespace(&path);
    }
    if let Some(space) = core.namespaces.get_mut(&path) {
        // what is not given again is gone
        space.metadata = call.args.pairs("custom_metadata").unwrap_or_default();
    }
    read(core, call)
}

pub(super) fn read(core: &mut Core, call: &Call) -> Outcome {
    supported(core)?;
    match describe(core, &target(call)) {
        Some(data) => ok(data),
        None => Err(Refused::nothing()),
    }
}

pub(super) fn delete(core: &mut Core, call: &Call) -> Outcome {
    supported(core)?;
    let path = target(call);
    if core.namespace(&path).is_none() {
        let text = format!(
            "requested namespace {:?} does not exist",
            call.args.text("path")
        );
        return Ok(Some(Reply::default().warn(text)));
    }
    if core
        .namespaces
        .keys()
        .any(|p| p != &path && p.starts_with(&path))
    {
        return Err(Refused::bad(
            "unable to delete namespace containing child namespaces",
        ));
    }
    core.remove_namespace(&path);
    ok(json!({ "status": "in-progress" }))
}

pub(super) fn lock(core: &mut Core, call: &Call) -> Outcome {
    supported(core)?;
    if call.ns.is_empty() {
        return Err(Refused::bad("root namespace cannot be locked/unlocked"));
    }
    let key = core.base62(24);
    if let Some(space) = core.namespaces.get_mut(&call.ns) {
        if space.lock.is_some() {
            return Err(Refused::bad(format!(
                "cannot lock namespace {:?}: is already locked",
                space.path
            )));
        }
        space.lock = Some(key.clone());
    }
    ok(json!({ "unlock_key": key }))
}

pub(super) fn unlock(core: &mut Core, call: &Call) -> Outcome {
    supported(core)?;
    if call.ns.is_empty() {
        return Err(Refused::bad("root namespace cannot be locked/unlocked"));
    }
    if core.namespace(&call.ns).is_some_and(|n| n.lock.is_none()) {
        return Err(Refused::bad(format!(
            "namespace {:?} is not locked",
            call.ns
        )));
    }
    let root = call.token.as_ref().is_some_and(|t| t.is_root());
    let Some(space) = core.namespaces.get_mut(&call.ns) else {
        return Ok(None);
    };
    let key = call.args.text("unlock_key");
    let fits = space.lock.as_deref() == Some(key);
    let by_right = root && key.is_empty();
    if !fits && !by_right {
        return Err(Refused::bad("incorrect unlock key"));
    }
    space.lock = None;
    if fits {
        return Ok(None);
    }
    let text = "Namespace unlocked using sudo capabilities";
    Ok(Some(Reply::default().warn(text)))
}
