//! Backup, restore, export, data keys, random bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::{
    Key, asymmetric,
    batch::{Item, ItemError},
    engine,
    key::Version,
    ops,
};
use crate::{
    Core,
    call::Call,
    core::hex,
    fields::{Field, Kind},
    gobase64,
    reply::{Outcome, Refused, done, ok},
};

pub(super) const RANDOM: &[Field] = &[
    ("bytes", Kind::Int),
    ("format", Kind::Text),
    ("source", Kind::Text),
];

/// What a backup holds: the key, and its versions once more as the archive keeps them.
#[derive(Serialize, Deserialize)]
struct Backup {
    policy: Key,
    archived_keys: BTreeMap<u32, Version>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    document: Option<Map<String, Value>>,
}

pub(super) fn backup(core: &mut Core, call: &Call) -> Outcome {
    let name = call.args.text("name");
    let time = core.rfc3339(core.now);
    let Some(key) = engine(core, call)?.keys.get_mut(name) else {
        return Err(Refused::internal(format!("key {name:?} not found")));
    };
    if !key.exportable {
        return Err(Refused::internal("exporting is disallowed on the policy"));
    }
    if !key.allow_backup {
        return Err(Refused::internal(
            "plaintext backup is disallowed on the policy",
        ));
    }
    key.backup_info = Some((time, key.latest));
    let key = key.clone();
    let whole = Backup {
        // OpenBao's backups say more of the key
        document: core.flavour.is_openbao().then(|| key.document(core)),
        archived_keys: key.versions.clone(),
        policy: key,
    };
    let text = serde_json::to_vec_pretty(&whole).map(Zeroizing::new);
    let text = text.map_err(|_| Refused::internal("failed to encode the backup"))?;
    ok(json!({ "backup": gobase64::encode(&text) }))
}

pub(super) fn restore(core: &mut Core, call: &Call) -> Outcome {
    let backup = call.args.text("backup");
    if backup.is_empty() {
        return Err(Refused::bad("'backup' must be supplied"));
    }
    let bytes = Zeroizing::new(gobase64::decode(backup).map_err(Refused::internal)?);
    let whole: Backup = serde_json::from_slice(&bytes)
        .map_err(|_| Refused::internal("invalid character in backup"))?;
    let mut key = whole.policy;
    let name = call.args.opt_text("name").unwrap_or(&key.name).to_owned();
    let time = core.rfc3339(core.now);
    let keys = &mut engine(core, call)?.keys;
    if keys.contains_key(&name) && !call.args.flag("force") {
        return Err(Refused::internal(format!("key {name:?} already exists")));
    }
    key.restore_info = Some((time, key.latest));
    key.name.clone_from(&name);
    keys.insert(name, key);
    done()
}

pub(super) fn export(core: &mut Core, call: &Call) -> Outcome {
    let args = &call.args;
    let kind = args.text("type");
    if !matches!(
        kind,
        "encryption-key" | "signing-key" | "hmac-key" | "public-key" | "certificate-chain"
    ) {
        return Err(Refused::bad(format!("invalid export type: {kind}")));
    }
    let Some(key) = engine(core, call)?.keys.get(args.text("name")).cloned() else {
        return Err(Refused::nothing());
    };
    if !key.exportable && kind != "public-key" {
        return Err(Refused::bad("private key material is not exportable"));
    }
    if key.soft_deleted {
        return Err(Refused::internal("refusing to use soft-deleted key"));
    }
    if kind == "encryption-key" && !key.kind.encrypts() {
        return Err(Refused::bad("encryption not supported for the key"));
    }
    if kind == "signing-key" && !key.kind.signs() {
        return Err(Refused::bad("signing not supported for the key"));
    }
    let one = |n: u32| {
        key.versions
            .get(&n)
            .filter(|_| n >= key.min_decryption)
            .map(|v| (n, v))
    };
    let chosen: Vec<_> = match args.opt_text("version") {
        None => key
            .versions
            .range(key.min_decryption..)
            .map(|(n, v)| (*n, v))
            .collect(),
        Some("latest") => one(key.latest).into_iter().collect(),
        Some(text) => {
            let Ok(n) = text.trim_start_matches('v').parse::<u32>() else {
                return Err(Refused::bad("invalid key version"));
            };
            if n < key.min_decryption {
                return Err(Refused::bad(
                    "version for export is below minimum decryption version",
                ));
            }
            one(n).into_iter().collect()
        }
    };
    if chosen.is_empty() {
        return Err(Refused::bad("version does not exist or cannot be found"));
    }
    let shown = |v: &super::key::Version| match kind {
        "hmac-key" => gobase64::encode(&v.hmac),
        "public-key" => asymmetric::public(key.kind, &v.material).unwrap_or_default(),
        _ => asymmetric::private(key.kind, &v.material)
            .unwrap_or_else(|| gobase64::encode(&v.material)),
    };
    let keys: Map<String, Value> = chosen
        .into_iter()
        .map(|(n, v)| (n.to_string(), shown(v).into()))
        .collect();
    ok(json!({ "keys": keys, "name": key.name, "type": key.kind.name() }))
}

pub(super) fn datakey(core: &mut Core, call: &Call) -> Outcome {
    let args = &call.args;
    let with_plaintext = match args.text("plaintext") {
        "plaintext" => true,
        "wrapped" => false,
        _ => {
            return Err(Refused::bad(
                "Invalid path, must be 'plaintext' or 'wrapped'",
            ));
        }
    };
    let Some(key) = engine(core, call)?.keys.get(args.text("name")).cloned() else {
        return Err(Refused::bad(ops::NOT_FOUND));
    };
    let size = match args.opt_int("bits").unwrap_or(256) {
        128 => 16,
        256 => 32,
        512 => 64,
        _ => return Err(Refused::bad("invalid bit length")),
    };
    let context = gobase64::decode(args.text("context")).map_err(Refused::bad)?;
    let fresh = Zeroizing::new(core.random(size));
    let item = Item {
        payload: gobase64::encode(&fresh),
        context,
        key_version: args.int("key_version"),
        ..Item::default()
    };
    let mut data = ops::encrypt_item(core, &key, &item).map_err(|e| match e {
        ItemError::User(text) => Refused::bad(text),
        ItemError::Internal(text) => Refused::internal(text),
    })?;
    if with_plaintext {
        data.insert("plaintext".to_owned(), item.payload.into());
    }
    ok(Value::Object(data))
}

pub(super) fn random(core: &mut Core, call: &Call) -> Outcome {
    let wanted = match call.args.opt_text("urlbytes") {
        Some(text) => text.parse::<i64>().map_err(|_| {
            Refused::bad(format!(
                "error parsing url-set byte count: strconv.Atoi: parsing {text:?}: invalid syntax"
            ))
        })?,
        None => call.args.opt_int("bytes").unwrap_or(32),
    };
    if wanted < 1 {
        return Err(Refused::bad("\"bytes\" cannot be less than 1"));
    }
    let size = usize::try_from(wanted).ok().filter(|n| *n <= 131_072);
    let Some(size) = size else {
        return Err(Refused::bad("\"bytes\" should be less than 131072"));
    };
    let bytes = core.random(size);
    let text = match call.args.opt_text("format").unwrap_or("base64") {
        "hex" => hex(&bytes),
        "base64" => gobase64::encode(&bytes),
        other => {
            return Err(Refused::bad(format!(
                "unsupported encoding format {other:?}; must be \"hex\" or \"base64\""
            )));
        }
    };
    ok(json!({ "random_bytes": text }))
}
