//! Versions of a secret: written, patched, read, deleted, restored, destroyed.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value, json};

use super::{KEPT, Rules, Secret, nothing_to_patch, secret, secrets};
use crate::{
    Core,
    call::Call,
    fields::Kind,
    reply::{Outcome, Refused, Reply, done, ok},
};

#[derive(Clone)]
pub(super) struct Version {
    /// `None` was written as null, or is destroyed.
    data: Option<Map<String, Value>>,
    pub created: Duration,
    /// In the future, too.
    deleted: Option<Duration>,
    destroyed: bool,
}

impl Version {
    fn is_deleted(&self, now: Duration) -> bool {
        self.deleted.is_some_and(|at| at <= now)
    }

    fn is_gone(&self, now: Duration) -> bool {
        self.destroyed || self.is_deleted(now)
    }

    /// What reading shows of it beside its data.
    pub fn describe(&self, core: &Core) -> Value {
        json!({
            "created_time": core.rfc3339(self.created),
            "deletion_time": self.deleted.map(|at| core.rfc3339(at)).unwrap_or_default(),
            "destroyed": self.destroyed,
        })
    }

    fn described_alone(
        &self,
        core: &Core,
        number: u64,
        custom: &BTreeMap<String, String>,
    ) -> Value {
        let mut data = self.describe(core);
        data["custom_metadata"] = shown_custom(custom);
        data["version"] = number.into();
        data
    }
}

/// No pairs are null.
pub(super) fn shown_custom(custom: &BTreeMap<String, String>) -> Value {
    if custom.is_empty() {
        Value::Null
    } else {
        json!(custom)
    }
}

/// A writer may say, or have to, which version it takes for the latest.
fn check_version(core: &mut Core, call: &Call) -> Result<(), Refused> {
    let required = secrets(core, call)?.rules.cas_required;
    let (required, current) = secret(core, call)?.map_or((required, 0), |s| {
        (required || s.rules.cas_required, s.current)
    });
    let Some(wanted) = call.args.get("options").and_then(|o| o.get("cas")) else {
        return match required {
            true => Err(Refused::bad(
                "check-and-set parameter required for this call",
            )),
            false => Ok(()),
        };
    };
    match crate::fields::convert(Kind::Int, wanted) {
        Err(_) => Err(Refused::bad("error parsing check-and-set parameter")),
        Ok(n) if n.as_u64() == Some(current) => Ok(()),
        Ok(_) => Err(Refused::bad(
            "check-and-set parameter did not match the current version",
        )),
    }
}

pub(super) fn write(core: &mut Core, call: &Call) -> Outcome {
    if !call.args.has("data") {
        return Err(Refused::bad("no data provided"));
    }
    check_version(core, call)?;
    // null is not the same as an empty object here
    let data = call.raw.get("data").and_then(Value::as_object).cloned();
    add(core, call, data)
}

/// One version more.
fn add(core: &mut Core, call: &Call, data: Option<Map<String, Value>>) -> Outcome {
    let now = core.now;
    let store = secrets(core, call)?;
    let mount: &Rules = &store.rules;
    let fresh = || Secret {
        created: now,
        ..Secret::default()
    };
    let path = call.args.text("path").to_owned();
    let secret = store.paths.entry(path).or_insert_with(fresh);
    let version = Version {
        data,
        created: now,
        deleted: secret.rules.end_of_version(mount, now),
        destroyed: false,
    };
    // the larger of both counts
    let kept = match mount.max_versions.max(secret.rules.max_versions) {
        0 => KEPT,
        most => most.into(),
    };
    secret.current += 1;
    let number = secret.current;
    secret.versions.insert(number, version.clone());
    if number - secret.oldest >= kept {
        secret.oldest = number - kept + 1;
        let oldest = secret.oldest;
        secret.versions.retain(|n, _| *n >= oldest);
    }
    let custom = secret.custom.clone();
    ok(version.described_alone(core, number, &custom))
}

/// A version that is the latest one with some of its data replaced (JSON Merge Patch).
pub(super) fn patch(core: &mut Core, call: &Call) -> Outcome {
    if !call.args.has("data") {
        return Err(Refused::bad("no data provided"));
    }
    if secret(core, call)?.is_none() {
        return nothing_to_patch();
    }
    check_version(core, call)?;
    let found = secret(core, call)?.and_then(|s| {
        let version = s.versions.get(&s.current)?.clone();
        Some((s.current, version, s.custom.clone()))
    });
    let Some((number, version, custom)) = found else {
        return nothing_to_patch();
    };
    if version.is_gone(core.now) {
        return Ok(Some(Reply {
            status: Some(404),
            finished: true,
            ..Reply::data(version.described_alone(core, number, &custom))
        }));
    }
    let wanted = call.raw.get("data").unwrap_or(&Value::Null);
    if wanted.is_null() && core.flavour.is_vault() {
        return Err(Refused::internal("Invalid JSON Patch"));
    }
    let Some(data) = version.data else {
        return Err(Refused::internal("resource does not exist"));
    };
    let mut patched = Value::Object(data);
    merge(&mut patched, wanted);
    match patched {
        Value::Object(data) => add(core, call, Some(data)),
        _ => add(core, call, None),
    }
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Some(target) = target.as_object_mut() else {
        return;
    };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

pub(super) fn read(core: &mut Core, call: &Call) -> Outcome {
    let wanted = u64::try_from(call.args.int("version")).unwrap_or_default();
    let found = secret(core, call)?.and_then(|secret| {
        let number = if wanted > 0 { wanted } else { secret.current };
        let version = secret.versions.get(&number)?.clone();
        Some((number, version, secret.custom.clone()))
    });
    let Some((number, version, custom)) = found else {
        return Err(Refused::nothing());
    };
    let metadata = version.described_alone(core, number, &custom);
    if version.is_gone(core.now) {
        return Ok(Some(Reply {
            status: Some(404),
            finished: true,
            ..Reply::data(json!({ "data": null, "metadata": metadata }))
        }));
    }
    ok(json!({ "data": version.data, "metadata": metadata }))
}

pub(super) fn delete_latest(core: &mut Core, call: &Call) -> Outcome {
    let now = core.now;
    if let Some(secret) = secret(core, call)?
        && let Some(version) = secret.versions.get_mut(&secret.current)
        && !version.is_gone(now)
    {
        version.deleted = Some(now);
    }
    done()
}

/// Changes the versions that the request names; those that are destroyed stay so. `end` is when a new version would go.
fn change(
    core: &mut Core,
    call: &Call,
    missing: &str,
    change: impl Fn(&mut Version, Duration, Option<Duration>),
) -> Outcome {
    let named = call.args.get("versions").and_then(Value::as_array);
    let Some(named) = named.filter(|list| !list.is_empty()) else {
        return Err(Refused::bad(missing));
    };
    let now = core.now;
    let mount = secrets(core, call)?.rules.clone();
    if let Some(secret) = secret(core, call)? {
        let end = secret.rules.end_of_version(&mount, now);
        for number in named.iter().filter_map(Value::as_u64) {
            let version = secret.versions.get_mut(&number);
            if let Some(version) = version.filter(|v| !v.destroyed) {
                change(version, now, end);
            }
        }
    }
    done()
}

pub(super) fn delete(core: &mut Core, call: &Call) -> Outcome {
    change(
        core,
        call,
        "No version number provided",
        |version, now, _| {
            if !version.is_deleted(now) {
                version.deleted = Some(now);
            }
        },
    )
}

pub(super) fn undelete(core: &mut Core, call: &Call) -> Outcome {
    change(
        core,
        call,
        "No version number provided",
        |version, _, end| {
            version.deleted = end;
        },
    )
}

pub(super) fn destroy(core: &mut Core, call: &Call) -> Outcome {
    change(core, call, "no version number provided", |version, _, _| {
        version.destroyed = true;
        version.data = None;
    })
}
