//! The Transit engine.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use crate::{
    Core,
    call::{Call, Op},
    fields::{Field, Kind},
    mounts::Backend,
    reply::Refused,
    route::Endpoint,
};

mod admin;
mod asymmetric;
mod auto_rotate;
mod backup;
mod batch;
mod cipher;
mod import;
mod key;
mod ops;

pub(crate) use auto_rotate::rotate_due;
pub(crate) use key::{Key, KeyType};

/// The keys and settings of one mount.
#[derive(Clone, Default)]
pub(crate) struct Transit {
    pub keys: BTreeMap<String, Key>,
    pub disable_upsert: bool,
    pub cache_size: i64,
    /// For imports; made when it is first needed.
    pub wrapping_key: Option<Zeroizing<Vec<u8>>>,
}

const CREATE: &[Field] = &[
    ("type", Kind::Text),
    ("derived", Kind::Bool),
    ("convergent_encryption", Kind::Bool),
    ("exportable", Kind::Bool),
    ("allow_plaintext_backup", Kind::Bool),
    ("auto_rotate_period", Kind::Seconds),
    ("key_size", Kind::Int),
    ("context", Kind::Text),
    ("managed_key_name", Kind::Text),
    ("managed_key_id", Kind::Text),
];
const CONFIG: &[Field] = &[
    ("min_decryption_version", Kind::Int),
    ("min_encryption_version", Kind::Int),
    ("deletion_allowed", Kind::Bool),
    ("exportable", Kind::Bool),
    ("allow_plaintext_backup", Kind::Bool),
    ("auto_rotate_period", Kind::Seconds),
];
const ENCRYPT: &[Field] = &[
    ("plaintext", Kind::Text),
    ("context", Kind::Text),
    ("associated_data", Kind::Text),
    ("nonce", Kind::Text),
    ("key_version", Kind::Int),
    ("type", Kind::Text),
    ("convergent_encryption", Kind::Bool),
    ("partial_failure_response_code", Kind::Int),
    ("batch_input", Kind::Any),
];
const DECRYPT: &[Field] = &[
    ("nonce", Kind::Text),
    ("ciphertext", Kind::Text),
    ("context", Kind::Text),
    ("associated_data", Kind::Text),
    ("partial_failure_response_code", Kind::Int),
    ("batch_input", Kind::Any),
];
const REWRAP: &[Field] = &[
    ("ciphertext", Kind::Text),
    ("context", Kind::Text),
    ("key_version", Kind::Int),
    ("batch_input", Kind::Any),
];
const DATAKEY: &[Field] = &[
    ("context", Kind::Text),
    ("bits", Kind::Int),
    ("key_version", Kind::Int),
    ("associated_data", Kind::Text),
];

pub(crate) const TABLE: &[Endpoint] = &[
    Endpoint {
        pattern: "encrypt/{name}",
        fields: ENCRYPT,
        ops: &[(Op::Create, ops::encrypt), (Op::Update, ops::encrypt)],
        exists: Some(|core, call| {
            Ok(engine(core, call)?
                .keys
                .contains_key(call.args.text("name")))
        }),
    },
    Endpoint {
        pattern: "decrypt/{name}",
        fields: DECRYPT,
        ops: &[(Op::Update, ops::decrypt)],
        exists: None,
    },
    Endpoint {
        pattern: "keys/{name}",
        fields: CREATE,
        ops: &[
            (Op::Update, admin::create),
            (Op::Read, admin::read),
            (Op::Delete, admin::delete),
        ],
        exists: None,
    },
    Endpoint {
        pattern: "keys?",
        fields: &[("after", Kind::Text), ("limit", Kind::Int)],
        ops: &[(Op::List, admin::list)],
        exists: None,
    },
    Endpoint {
        pattern: "keys/{name}/rotate",
        fields: &[],
        ops: &[(Op::Update, admin::rotate)],
        exists: None,
    },
    Endpoint {
        pattern: "keys/{name}/config",
        fields: CONFIG,
        ops: &[(Op::Update, admin::config)],
        exists: None,
    },
    Endpoint {
        pattern: "keys/{name}/trim",
        fields: &[("min_available_version", Kind::Int)],
        ops: &[(Op::Update, admin::trim)],
        exists: None,
    },
    Endpoint {
        pattern: "keys/{name}/soft-delete",
        fields: &[],
        ops: &[(Op::Delete, admin::soft_delete)],
        exists: None,
    },
    Endpoint {
        pattern: "keys/{name}/soft-delete-restore",
        fields: &[],
        ops: &[(Op::Update, admin::soft_restore)],
        exists: None,
    },
    Endpoint {
        pattern: "rewrap/{name}",
        fields: REWRAP,
        ops: &[(Op::Update, ops::rewrap)],
        exists: None,
    },
    Endpoint {
        pattern: "datakey/{plaintext:word}/{name}",
        fields: DATAKEY,
        ops: &[(Op::Update, backup::datakey)],
        exists: None,
    },
    Endpoint {
        pattern: "backup/{name}",
        fields: &[],
        ops: &[(Op::Read, backup::backup)],
        exists: None,
    },
    Endpoint {
        pattern: "restore",
        fields: &[("backup", Kind::Text), ("force", Kind::Bool)],
        ops: &[(Op::Update, backup::restore)],
        exists: None,
    },
    Endpoint {
        pattern: "restore/{name}",
        fields: &[("backup", Kind::Text), ("force", Kind::Bool)],
        ops: &[(Op::Update, backup::restore)],
        exists: None,
    },
    Endpoint {
        pattern: "export/{type}/{name}",
        fields: &[],
        ops: &[(Op::Read, backup::export)],
        exists: None,
    },
    Endpoint {
        pattern: "export/{type}/{name}/{version:seg}",
        fields: &[],
        ops: &[(Op::Read, backup::export)],
        exists: None,
    },
    Endpoint {
        pattern: "random",
        fields: backup::RANDOM,
        ops: &[(Op::Update, backup::random)],
        exists: None,
    },
    Endpoint {
        pattern: "random/{urlbytes:word}",
        fields: backup::RANDOM,
        ops: &[(Op::Update, backup::random)],
        exists: None,
    },
    Endpoint {
        pattern: "config/keys",
        fields: &[("disable_upsert", Kind::Bool)],
        ops: &[
            (Op::Update, admin::write_config_keys),
            (Op::Read, admin::read_config_keys),
        ],
        exists: None,
    },
    Endpoint {
        pattern: "cache-config",
        fields: &[("size", Kind::Int)],
        ops: &[
            (Op::Update, admin::write_cache),
            (Op::Read, admin::read_cache),
        ],
        exists: None,
    },
    Endpoint {
        pattern: "wrapping_key",
        fields: &[],
        ops: &[(Op::Read, import::wrapping_key)],
        exists: None,
    },
    Endpoint {
        pattern: "keys/{name}/import",
        fields: import::FIELDS,
        ops: &[(Op::Update, import::import)],
        exists: None,
    },
    Endpoint {
        pattern: "keys/{name}/import_version",
        fields: import::VERSION_FIELDS,
        ops: &[(Op::Update, import::import_version)],
        exists: None,
    },
];

pub(crate) fn engine<'a>(core: &'a mut Core, call: &Call) -> Result<&'a mut Transit, Refused> {
    match core.mounts.get_mut(&call.mount).map(|m| &mut m.backend) {
        Some(Backend::Transit(engine)) => Ok(engine),
        _ => Err(Refused::unsupported_path()),
    }
}

/// The key that a request names, as the asked node sees it.
fn view(core: &mut Core, call: &Call) -> Result<Option<Key>, Refused> {
    let horizon = core.horizon();
    let key = engine(core, call)?
        .keys
        .get(call.args.text("name"))
        .cloned();
    Ok(key.map(|k| k.seen_until(horizon)))
}

/// See [`Core::collide_rotation`].
pub(crate) fn phantom_rotation(core: &mut Core, mount: &str, name: &str) -> bool {
    let Some(id) = core.mount_at("", mount).map(|m| m.id) else {
        return false;
    };
    let transit = |core: &mut Core| match core.mounts.get_mut(&id).map(|m| &mut m.backend) {
        Some(Backend::Transit(engine)) => engine.keys.get(name).cloned(),
        _ => None,
    };
    let Some(mut key) = transit(core) else {
        return false;
    };
    let stored: Vec<u32> = key
        .versions
        .iter()
        .filter(|(_, v)| v.phantom)
        .map(|(n, _)| *n)
        .collect();
    key.rotate(core);
    for (n, version) in &mut key.versions {
        version.phantom = *n == key.latest || stored.contains(n);
    }
    if let Some(Backend::Transit(engine)) = core.mounts.get_mut(&id).map(|m| &mut m.backend) {
        engine.keys.insert(name.to_owned(), key);
    }
    true
}

/// Drops what no rotation has stored.
pub(crate) fn forget_phantoms(core: &mut Core) {
    for mount in core.mounts.values_mut() {
        if let Backend::Transit(engine) = &mut mount.backend {
            for key in engine.keys.values_mut() {
                key.versions.retain(|_, v| !v.phantom);
                key.latest = key
                    .versions
                    .keys()
                    .next_back()
                    .copied()
                    .unwrap_or(key.latest);
            }
        }
    }
}
