//! What tokens show of themselves.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{by_accessor, caller};
use crate::{
    Core,
    call::Call,
    reply::{Outcome, Refused, Reply},
    token::{Entry, TokenKind},
};

pub(super) fn look_up_self(core: &mut Core, call: &Call) -> Outcome {
    let token = caller(call)?;
    Ok(Some(Reply::data(Value::Object(describe(
        core, &token, true,
    )))))
}

pub(super) fn look_up(core: &mut Core, call: &Call) -> Outcome {
    let id = call.args.text("token");
    let id = if id.is_empty() {
        caller(call)?.id.clone()
    } else {
        id.to_owned()
    };
    match core.tokens.get(&id).cloned() {
        Some(entry) => Ok(Some(Reply::data(Value::Object(describe(
            core, &entry, true,
        ))))),
        None => Err(Refused::Plain(403, "bad token".to_owned())),
    }
}

pub(super) fn look_up_accessor(core: &mut Core, call: &Call) -> Outcome {
    let entry = by_accessor(core, call)?;
    Ok(Some(Reply::data(Value::Object(describe(
        core, &entry, false,
    )))))
}

/// A token as the lookups show it.
fn describe(core: &Core, entry: &Entry, with_id: bool) -> Map<String, Value> {
    let batch = entry.kind == TokenKind::Batch;
    let whole = |at: Duration| {
        if batch {
            Duration::from_secs(at.as_secs())
        } else {
            at
        }
    };
    let mut out = crate::reply::object(json!({
        "accessor": entry.accessor,
        "creation_time": core.options.start_unix + entry.issued.as_secs(),
        "creation_ttl": entry.creation_ttl.as_secs(),
        "display_name": entry.display_name,
        "entity_id": entry.entity_id,
        "expire_time": entry.expires.map(|at| core.rfc3339(whole(at))),
        "explicit_max_ttl": if batch { 0 } else { entry.explicit_max_ttl.as_secs() },
        "id": if with_id { entry.id.as_str() } else { "" },
        "meta": entry.meta,
        "num_uses": entry.num_uses,
        "orphan": entry.orphan,
        "path": entry.path,
        "policies": entry.policies,
        "ttl": entry.expires.map_or(0, |at| at.saturating_sub(nearest_second(core.now)).as_secs()),
        "type": entry.type_name(),
    }));
    let mut set = |name: &str, value: Value| {
        out.insert(name.to_owned(), value);
    };
    if entry.has_issue_time {
        set("issue_time", core.rfc3339(whole(entry.issued)).into());
        set(
            "renewable",
            (entry.renewable && !batch && entry.expires.is_some()).into(),
        );
    }
    if !entry.period.is_zero() {
        set("period", entry.period.as_secs().into());
    }
    if !entry.bound_cidrs.is_empty() {
        set("bound_cidrs", json!(entry.bound_cidrs));
    }
    if let Some(role) = &entry.role {
        set("role", role.as_str().into());
    }
    if let Some(at) = entry.last_renewal {
        set("last_renewal", core.rfc3339(at).into());
        set(
            "last_renewal_time",
            (core.options.start_unix + at.as_secs()).into(),
        );
    }
    if !entry.ns.is_empty() {
        set("namespace_path", entry.ns.as_str().into());
    }
    if !entry.identity_policies.is_empty() {
        set("identity_policies", json!(entry.identity_policies));
    }
    out
}

/// Lookups count from the nearest whole second.
fn nearest_second(at: Duration) -> Duration {
    Duration::from_secs((at + Duration::from_millis(500)).as_secs())
}

pub(super) fn accessors(core: &mut Core, _call: &Call) -> Outcome {
    Reply::keys(
        core.tokens
            .iter()
            .map(|t| t.accessor.clone())
            .filter(|a| !a.is_empty())
            .collect(),
    )
}
