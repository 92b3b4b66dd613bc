//! The key-value engine, version 2: a dev server's `secret/`. Here because a plugin that is pointed at the wrong mount writes
//! plaintext into it, or is told at every call that the path is none of a versioned engine. Versions are written, read,
//! deleted, restored and destroyed, and their metadata read; what configures the engine (`config`, writing metadata, PATCH,
//! subkeys) is not here.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value, json};

use crate::{
    Core,
    call::{Call, Op},
    fields::{Field, Kind},
    mounts::Backend,
    reply::{Outcome, Refused, Reply, done, ok},
    route::{Endpoint, Handler},
};

/// Versions that a secret keeps; the oldest go first.
const KEPT: u64 = 10;

/// The secrets of one mount.
pub(crate) type Secrets = BTreeMap<String, Secret>;

/// One path.
#[derive(Clone, Default)]
pub(crate) struct Secret {
    versions: BTreeMap<u64, Version>,
    current: u64,
    /// 0 until the first version has gone.
    oldest: u64,
    created: Duration,
}

#[derive(Clone)]
struct Version {
    /// `None` was written as null, or is destroyed.
    data: Option<Map<String, Value>>,
    created: Duration,
    deleted: Option<Duration>,
    destroyed: bool,
}

const VERSIONS: &[Field] = &[("versions", Kind::Ints)];

pub(crate) const TABLE: &[Endpoint] = &[
    Endpoint {
        pattern: "data/{path:any}",
        fields: &[
            ("data", Kind::Object),
            ("options", Kind::Object),
            ("version", Kind::Int),
        ],
        ops: &[
            (Op::Create, write),
            (Op::Update, write),
            (Op::Read, read),
            (Op::Delete, delete_latest),
            (Op::List, list_data),
        ],
        exists: Some(|core, call| Ok(secret(core, call)?.is_some())),
    },
    Endpoint {
        pattern: "delete/{path:any}",
        fields: VERSIONS,
        ops: &[(Op::Update, delete), (Op::List, not_listed)],
        exists: None,
    },
    Endpoint {
        pattern: "undelete/{path:any}",
        fields: VERSIONS,
        ops: &[(Op::Update, undelete), (Op::List, not_listed)],
        exists: None,
    },
    Endpoint {
        pattern: "destroy/{path:any}",
        fields: VERSIONS,
        ops: &[(Op::Update, destroy), (Op::List, not_listed)],
        exists: None,
    },
    Endpoint {
        pattern: "metadata/{path:any}",
        fields: &[],
        ops: &[
            (Op::Read, read_metadata),
            (Op::Delete, forget),
            (Op::List, list),
        ],
        exists: None,
    },
    folder("data/", &[(Op::List, list_data)]),
    folder("delete/", &[(Op::List, not_listed)]),
    folder("undelete/", &[(Op::List, not_listed)]),
    folder("destroy/", &[(Op::List, not_listed)]),
    Endpoint {
        pattern: "metadata/",
        fields: &[],
        ops: &[
            (Op::Read, read_metadata),
            (Op::Delete, forget),
            (Op::List, list),
        ],
        exists: None,
    },
    Endpoint {
        pattern: "{elsewhere:any}",
        fields: &[("*", Kind::Any)],
        ops: &[
            (Op::Update, elsewhere),
            (Op::Read, elsewhere),
            (Op::Delete, elsewhere),
            (Op::List, elsewhere),
            (Op::Patch, elsewhere),
        ],
        exists: None,
    },
];

/// A folder by itself.
const fn folder(pattern: &'static str, ops: &'static [(Op, Handler)]) -> Endpoint {
    Endpoint {
        pattern,
        fields: &[],
        ops,
        exists: None,
    }
}

/// The pattern takes the slash that a LIST brings, so the path is known and the operation is not.
fn not_listed(_: &mut Core, _: &Call) -> Outcome {
    Err(Refused::unsupported_operation())
}

/// Vault's pattern does not take it.
fn list_data(core: &mut Core, call: &Call) -> Outcome {
    if core.flavour.is_openbao() {
        return not_listed(core, call);
    }
    elsewhere(core, call)
}

/// Paths that only the first version of the engine would take.
fn elsewhere(core: &mut Core, call: &Call) -> Outcome {
    let folders = ["metadata", "data", "delete", "undelete", "destroy"];
    let text = if folders.contains(&call.path.as_str()) {
        "Non-listing operations on the root of a K/V v2 mount are not supported.".to_owned()
    } else {
        let (product, command) = if core.flavour.is_openbao() {
            ("OpenBao", "bao")
        } else {
            ("Vault", "vault")
        };
        let verb = match call.op {
            Op::Read => "get",
            Op::List => "list",
            Op::Delete => "delete",
            Op::Patch => "patch",
            _ => "put",
        };
        format!(
            "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use. If using the {product} CLI, use '{command} kv {verb}' for this operation."
        )
    };
    let reply = Reply {
        status: Some(404),
        no_mount_type: true,
        ..Reply::default()
    };
    Ok(Some(reply.warn(text)))
}

fn secrets<'a>(core: &'a mut Core, call: &Call) -> Result<&'a mut Secrets, Refused> {
    match core.mounts.get_mut(&call.mount).map(|m| &mut m.backend) {
        Some(Backend::Kv2(store)) => Ok(store),
        _ => Err(Refused::unsupported_path()),
    }
}

fn secret<'a>(core: &'a mut Core, call: &Call) -> Result<Option<&'a mut Secret>, Refused> {
    Ok(secrets(core, call)?.get_mut(call.args.text("path")))
}

impl Version {
    fn is_gone(&self) -> bool {
        self.destroyed || self.deleted.is_some()
    }

    /// What reading shows of it beside its data.
    fn describe(&self, core: &Core) -> Value {
        json!({
            "created_time": core.rfc3339(self.created),
            "deletion_time": self.deleted.map(|at| core.rfc3339(at)).unwrap_or_default(),
            "destroyed": self.destroyed,
        })
    }

    fn described_alone(&self, core: &Core, number: u64) -> Value {
        let mut data = self.describe(core);
        data["custom_metadata"] = Value::Null;
        data["version"] = number.into();
        data
    }
}

/// A writer may say which version it takes for the latest.
fn check_version(call: &Call, current: u64) -> Result<(), Refused> {
    let Some(wanted) = call.args.get("options").and_then(|o| o.get("cas")) else {
        return Ok(());
    };
    match crate::fields::convert(Kind::Int, wanted) {
        Err(_) => Err(Refused::bad("error parsing check-and-set parameter")),
        Ok(n) if n.as_u64() == Some(current) => Ok(()),
        Ok(_) => Err(Refused::bad(
            "check-and-set parameter did not match the current version",
        )),
    }
}

fn write(core: &mut Core, call: &Call) -> Outcome {
    if !call.args.has("data") {
        return Err(Refused::bad("no data provided"));
    }
    // null is not the same as an empty object here
    let data = call.raw.get("data").and_then(Value::as_object).cloned();
    let current = secret(core, call)?.map_or(0, |s| s.current);
    check_version(call, current)?;
    let now = core.now;
    let secret = secrets(core, call)?
        .entry(call.args.text("path").to_owned())
        .or_insert_with(|| Secret {
            created: now,
            ..Secret::default()
        });
    let version = Version {
        data,
        created: now,
        deleted: None,
        destroyed: false,
    };
    secret.current += 1;
    let number = secret.current;
    secret.versions.insert(number, version.clone());
    if number - secret.oldest >= KEPT {
        secret.oldest = number - KEPT + 1;
        let oldest = secret.oldest;
        secret.versions.retain(|n, _| *n >= oldest);
    }
    ok(version.described_alone(core, number))
}

fn read(core: &mut Core, call: &Call) -> Outcome {
    let wanted = u64::try_from(call.args.int("version")).unwrap_or_default();
    let found = secret(core, call)?.and_then(|secret| {
        let number = if wanted > 0 { wanted } else { secret.current };
        Some((number, secret.versions.get(&number)?.clone()))
    });
    let Some((number, version)) = found else {
        return Err(Refused::nothing());
    };
    let metadata = version.described_alone(core, number);
    if version.is_gone() {
        return Ok(Some(Reply {
            status: Some(404),
            no_mount_type: true,
            ..Reply::data(json!({ "data": null, "metadata": metadata }))
        }));
    }
    ok(json!({ "data": version.data, "metadata": metadata }))
}

fn delete_latest(core: &mut Core, call: &Call) -> Outcome {
    let now = core.now;
    if let Some(secret) = secret(core, call)?
        && let Some(version) = secret.versions.get_mut(&secret.current)
        && !version.is_gone()
    {
        version.deleted = Some(now);
    }
    done()
}

/// Changes the versions that the request names; those that are destroyed stay so.
fn change(
    core: &mut Core,
    call: &Call,
    missing: &str,
    change: impl Fn(&mut Version, Duration),
) -> Outcome {
    let named = call.args.get("versions").and_then(Value::as_array);
    let Some(named) = named.filter(|list| !list.is_empty()) else {
        return Err(Refused::bad(missing));
    };
    let now = core.now;
    if let Some(secret) = secret(core, call)? {
        for number in named.iter().filter_map(Value::as_u64) {
            let version = secret.versions.get_mut(&number);
            if let Some(version) = version.filter(|v| !v.destroyed) {
                change(version, now);
            }
        }
    }
    done()
}

fn delete(core: &mut Core, call: &Call) -> Outcome {
    change(core, call, "No version number provided", |version, now| {
        version.deleted.get_or_insert(now);
    })
}

fn undelete(core: &mut Core, call: &Call) -> Outcome {
    change(core, call, "No version number provided", |version, _| {
        version.deleted = None;
    })
}

fn destroy(core: &mut Core, call: &Call) -> Outcome {
    change(core, call, "no version number provided", |version, _| {
        version.destroyed = true;
        version.data = None;
    })
}

fn read_metadata(core: &mut Core, call: &Call) -> Outcome {
    let Some(secret) = secret(core, call)?.cloned() else {
        return Err(Refused::nothing());
    };
    let shown = secret.versions.iter();
    let shown: Map<String, Value> = shown
        .map(|(number, version)| (number.to_string(), version.describe(core)))
        .collect();
    // deleting and destroying do not count as updates
    let updated = secret.versions.get(&secret.current).map(|v| v.created);
    let mut data = json!({
        "cas_required": false,
        "created_time": core.rfc3339(secret.created),
        "current_version": secret.current,
        "custom_metadata": null,
        "delete_version_after": "0s",
        "max_versions": 0,
        "oldest_version": secret.oldest,
        "updated_time": core.rfc3339(updated.unwrap_or(secret.created)),
        "versions": shown,
    });
    if core.flavour.is_openbao() {
        data["current_metadata_version"] = 0.into();
        data["metadata_cas_required"] = false.into();
    }
    ok(data)
}

fn forget(core: &mut Core, call: &Call) -> Outcome {
    secrets(core, call)?.remove(call.args.text("path"));
    done()
}

fn list(core: &mut Core, call: &Call) -> Outcome {
    let prefix = call.args.text("path").to_owned();
    Reply::keys(crate::kv::below(secrets(core, call)?.keys(), &prefix))
}
