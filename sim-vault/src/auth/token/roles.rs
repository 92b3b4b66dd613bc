//! Token roles.

use serde_json::{Value, json};

use super::stored_roles;
use crate::{
    Core,
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
    if let Some(policies) = args.opt_texts("allowed_policies") {
        role.allowed_policies = policies;
    }
    if let Some(policies) = args.opt_texts("disallowed_policies") {
        role.disallowed_policies = policies;
    }
    if let Some(b) = args.opt_bool("orphan") {
        role.orphan = b;
    }
    if let Some(b) = args.opt_bool("renewable") {
        role.not_renewable = !b;
    }
    if let Some(suffix) = args.opt_text("path_suffix") {
        suffix.clone_into(&mut role.path_suffix);
    }
    // token roles go by the old name `explicit_max_ttl` alone
    let explicit = role.params.explicit_max_ttl;
    role.params.update(args)?;
    role.params.explicit_max_ttl = explicit;
    for (name, to) in [
        ("period", &mut role.params.period),
        ("explicit_max_ttl", &mut role.params.explicit_max_ttl),
    ] {
        if let Some(d) = args.opt_seconds(name) {
            *to = d;
        }
    }
    roles.insert(name, role);
    done()
}

pub(super) fn read_role(core: &mut Core, call: &Call) -> Outcome {
    let name = call.args.text("role_name");
    let Some(role) = stored_roles(core, call)?.get(name).cloned() else {
        return Err(Refused::nothing());
    };
    let mut data = role.params.describe(core);
    data.extend(crate::reply::object(json!({
        "allowed_policies": role.allowed_policies,
        "disallowed_policies": role.disallowed_policies,
        "name": name,
        "orphan": role.orphan,
        "path_suffix": role.path_suffix,
        "renewable": !role.not_renewable,
    })));
    Ok(Some(Reply::data(Value::Object(data))))
}

pub(super) fn delete_role(core: &mut Core, call: &Call) -> Outcome {
    stored_roles(core, call)?.remove(call.args.text("role_name"));
    done()
}
