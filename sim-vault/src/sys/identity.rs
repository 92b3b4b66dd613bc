//! The identity endpoints a test of a plugin needs: read, disable and delete an entity.

use serde_json::json;

use crate::{
    Core,
    call::{Call, Op},
    fields::Kind,
    reply::{Outcome, Refused, done, ok},
    route::Endpoint,
};

pub(crate) const TABLE: &[Endpoint] = &[Endpoint {
    pattern: "entity/id/{id:seg}",
    fields: &[
        ("name", Kind::Text),
        ("metadata", Kind::Pairs),
        ("policies", Kind::Texts),
        ("disabled", Kind::Bool),
    ],
    ops: &[(Op::Update, write), (Op::Read, read), (Op::Delete, delete)],
    exists: None,
}];

fn write(core: &mut Core, call: &Call) -> Outcome {
    let Some(entity) = core.identity.entities.get_mut(call.args.text("id")) else {
        return Err(Refused::bad("entity not found from id"));
    };
    if let Some(disabled) = call.args.opt_bool("disabled") {
        entity.disabled = disabled;
    }
    if let Some(policies) = call.args.opt_texts("policies") {
        entity.policies = policies;
    }
    done()
}

fn read(core: &mut Core, call: &Call) -> Outcome {
    match core.identity.entities.get(call.args.text("id")) {
        Some(entity) => ok(json!({
            "disabled": entity.disabled,
            "id": entity.id,
            "name": entity.name,
            "policies": entity.policies,
        })),
        None => Err(Refused::nothing()),
    }
}

fn delete(core: &mut Core, call: &Call) -> Outcome {
    let id = call.args.text("id").to_owned();
    core.identity.entities.remove(&id);
    core.identity.aliases.retain(|_, e| *e != id);
    done()
}
