//! The key-value engine, version 2: a dev server's `secret/`. Here because a plugin that is pointed at the wrong mount writes
//! plaintext into it, or is told at every call that the path is none of a versioned engine. What of it is not here: `subkeys`
//! and OpenBao's `detailed-metadata`.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use crate::{
    Core,
    call::{Call, Op},
    duration,
    fields::{Field, Kind},
    mounts::Backend,
    reply::{Outcome, Refused, Reply, done, ok},
    route::{Endpoint, Handler},
};

mod data;
mod metadata;

use data::Version;

/// Versions that a secret keeps where nobody says how many; the oldest go first.
const KEPT: u64 = 10;

/// One mount: how it is set, and its secrets.
#[derive(Clone, Default)]
pub(crate) struct Secrets {
    rules: Rules,
    paths: BTreeMap<String, Secret>,
}

/// What a mount rules for all its secrets, and each secret for itself.
#[derive(Clone, Default)]
struct Rules {
    cas_required: bool,
    metadata_cas_required: bool,
    /// 0: not said here.
    max_versions: u32,
    /// Seconds; 0: not said here, negative (a mount alone): never.
    delete_after: i64,
}

/// One path.
#[derive(Clone, Default)]
struct Secret {
    rules: Rules,
    versions: BTreeMap<u64, Version>,
    current: u64,
    /// 0 until the first version has gone.
    oldest: u64,
    created: Duration,
    /// When its metadata was last written, which OpenBao alone takes for an update.
    described: Duration,
    custom: BTreeMap<String, String>,
    /// Counts changes of the metadata (OpenBao).
    metadata_version: u64,
}

impl Rules {
    /// The fields that mount and secret have in common.
    fn shown(&self, core: &Core) -> Value {
        let after = match u64::try_from(self.delete_after) {
            Ok(seconds) => duration::long(Duration::from_secs(seconds)),
            Err(_) => "-1s".to_owned(),
        };
        let mut shown = json!({
            "cas_required": self.cas_required,
            "delete_version_after": after,
            "max_versions": self.max_versions,
        });
        if core.flavour.is_openbao() {
            shown["metadata_cas_required"] = self.metadata_cas_required.into();
        }
        shown
    }

    /// Takes what a request says; false if it says nothing.
    fn take(&mut self, core: &Core, call: &Call) -> bool {
        let args = &call.args;
        let mut said = false;
        if let Some(required) = args.opt_bool("cas_required") {
            (self.cas_required, said) = (required, true);
        }
        let required = args.opt_bool("metadata_cas_required");
        if let Some(required) = required.filter(|_| core.flavour.is_openbao()) {
            (self.metadata_cas_required, said) = (required, true);
        }
        if let Some(most) = args.opt_int("max_versions") {
            // as Go makes an unsigned number of it
            let low = u64::from_ne_bytes(most.to_ne_bytes()) & u64::from(u32::MAX);
            (self.max_versions, said) = (u32::try_from(low).unwrap_or_default(), true);
        }
        if let Some(seconds) = args.opt_int("delete_version_after") {
            (self.delete_after, said) = (seconds, true);
        }
        said
    }

    /// When a version of a secret with these rules goes by itself.
    fn end_of_version(&self, mount: &Self, now: Duration) -> Option<Duration> {
        let said = [mount.delete_after, self.delete_after];
        let shortest = said.into_iter().filter(|s| *s != 0).min()?;
        Some(now + Duration::from_secs(u64::try_from(shortest).ok()?))
    }
}

const VERSIONS: &[Field] = &[("versions", Kind::Ints)];
const DATA: &[Field] = &[
    ("data", Kind::Object),
    ("options", Kind::Object),
    ("version", Kind::Int),
];
const CONFIG: &[Field] = &[
    ("cas_required", Kind::Bool),
    ("metadata_cas_required", Kind::Bool),
    ("max_versions", Kind::Int),
    ("delete_version_after", Kind::Leeway),
];
const METADATA: &[Field] = &[
    ("cas_required", Kind::Bool),
    ("metadata_cas_required", Kind::Bool),
    ("metadata_cas", Kind::Int),
    ("max_versions", Kind::Int),
    ("delete_version_after", Kind::Seconds),
    ("custom_metadata", Kind::Object),
];

pub(crate) const TABLE: &[Endpoint] = &[
    of_mount(
        "config",
        CONFIG,
        &[(Op::Read, read_config), (Op::Update, write_config)],
    ),
    Endpoint {
        exists: Some(is_there),
        ..of_mount(
            "data/{path:any}",
            DATA,
            &[
                (Op::Create, data::write),
                (Op::Update, data::write),
                (Op::Patch, data::patch),
                (Op::Read, data::read),
                (Op::Delete, data::delete_latest),
                (Op::List, list_data),
            ],
        )
    },
    of_mount(
        "delete/{path:any}",
        VERSIONS,
        &[(Op::Update, data::delete), NOT_LISTED],
    ),
    of_mount(
        "undelete/{path:any}",
        VERSIONS,
        &[(Op::Update, data::undelete), NOT_LISTED],
    ),
    of_mount(
        "destroy/{path:any}",
        VERSIONS,
        &[(Op::Update, data::destroy), NOT_LISTED],
    ),
    Endpoint {
        exists: Some(is_there),
        ..of_mount(
            "metadata/{path:any}",
            METADATA,
            &[
                (Op::Create, metadata::write),
                (Op::Update, metadata::write),
                (Op::Patch, metadata::patch),
                (Op::Read, metadata::read),
                (Op::Delete, metadata::forget),
                (Op::List, metadata::list),
            ],
        )
    },
    of_mount("data/", &[], &[(Op::List, list_data)]),
    of_mount("delete/", &[], &[NOT_LISTED]),
    of_mount("undelete/", &[], &[NOT_LISTED]),
    of_mount("destroy/", &[], &[NOT_LISTED]),
    of_mount(
        "metadata/",
        &[],
        &[
            (Op::Read, metadata::read),
            (Op::Delete, metadata::forget),
            (Op::List, metadata::list),
        ],
    ),
    of_mount(
        "{elsewhere:any}",
        &[("*", Kind::Any)],
        &[
            (Op::Update, elsewhere),
            (Op::Read, elsewhere),
            (Op::Delete, elsewhere),
            (Op::List, elsewhere),
            (Op::Patch, elsewhere),
        ],
    ),
];

const fn of_mount(
    pattern: &'static str,
    fields: &'static [Field],
    ops: &'static [(Op, Handler)],
) -> Endpoint {
    Endpoint {
        pattern,
        fields,
        ops,
        exists: None,
    }
}

fn is_there(core: &mut Core, call: &Call) -> Result<bool, Refused> {
    Ok(secret(core, call)?.is_some())
}

/// The pattern takes the slash that a LIST brings, so the path is known and the operation is not.
const NOT_LISTED: (Op, Handler) = (Op::List, not_listed);

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
        finished: true,
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
    Ok(secrets(core, call)?.paths.get_mut(call.args.text("path")))
}

/// 404 without even an envelope: what is to be patched is not there.
fn nothing_to_patch() -> Outcome {
    Ok(Some(Reply {
        status: Some(404),
        ..Reply::default()
    }))
}

fn read_config(core: &mut Core, call: &Call) -> Outcome {
    let rules = secrets(core, call)?.rules.clone();
    ok(rules.shown(core))
}

fn write_config(core: &mut Core, call: &Call) -> Outcome {
    let mut rules = secrets(core, call)?.rules.clone();
    rules.take(core, call);
    secrets(core, call)?.rules = rules;
    done()
}
