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
    if key.soft_deleted {
        return Err(Refused::internal("refusing to use soft-deleted key"));
    }
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
    let whole: Backup =
        serde_json::from_slice(&bytes).map_err(|_| Refused::internal(unreadable(core, &bytes)))?;
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

/// Go's complaint about the first byte of what is no JSON.
fn unreadable(core: &Core, bytes: &[u8]) -> String {
    let Some(byte) = bytes.iter().find(|b| !b.is_ascii_whitespace()) else {
        return "unexpected end of JSON input".to_owned();
    };
    let shown = match byte {
        0x20..=0x7e => char::from(*byte).to_string(),
        0x80.. if core.flavour.is_vault() && (*byte < 0xa1 || *byte == 0xad) => {
            format!("\\u00{byte:02x}")
        }
        // a byte is shown as the letter of that number
        0x80.. if core.flavour.is_vault() => char::from(*byte).to_string(),
        byte => format!("\\x{byte:02x}"),
    };
    format!("invalid character '{shown}' looking for beginning of value")
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
    if !key.exportable && !matches!(kind, "public-key" | "certificate-chain") {
        return Err(Refused::bad("private key material is not exportable"));
    }
    if key.soft_deleted {
        return Err(Refused::internal("refusing to use soft-deleted key"));
    }
    if kind == "certificate-chain" && !key.kind.signs() {
        return Err(Refused::bad(
            "certificate chain not supported for keys that do not support signing",
        ));
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
            let Ok(n) = text.trim_start_matches('v').parse::<i64>() else {
                return Err(Refused::bad("invalid key version"));
            };
            let n = u32::try_from(n).unwrap_or(if n < 0 { 0 } else { u32::MAX });
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
    if kind == "certificate-chain" {
        return Err(Refused::internal(
            "selected key version does not have a certificate chain imported",
        ));
    }
    if kind == "public-key" && !key.kind.is_pair() {
        return Err(Refused::internal(format!(
            "unknown key type {} for export type public-key",
            key.kind.name()
        )));
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
    let context = gobase64::decode(args.text("context"))
        .map_err(|_| Refused::bad("failed to base64-decode context"))?;
    let Some(key) = engine(core, call)?.keys.get(args.text("name")).cloned() else {
        return Err(Refused::bad(ops::NOT_FOUND));
    };
    let size = match args.opt_int("bits").unwrap_or(256) {
        128 => 16,
        256 => 32,
        512 => 64,
        _ => return Err(Refused::bad("invalid bit length")),
    };
    let fresh = Zeroizing::new(core.random(size));
    let item = Item {
        payload: gobase64::encode(&fresh),
        context,
        key_version: args.int("key_version"),
        associated_data: if core.flavour.is_openbao() {
            args.text("associated_data").to_owned()
        } else {
            String::new()
        },
        ..Item::default()
    };
    let mut data = ops::encrypt_item(core, &key, &item).map_err(|e| match e {
        ItemError::User(text) | ItemError::Quiet(text) => Refused::bad(text),
        ItemError::Internal(text) => Refused::internal(text),
    })?;
    if with_plaintext {
        data.insert("plaintext".to_owned(), item.payload.into());
    }
    ok(Value::Object(data))
}

fn bytes_fault(core: &Core, text: &str) -> String {
    let quote = if core.flavour.is_openbao() { '\'' } else { '"' };
    format!("{quote}bytes{quote} {text}")
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
        return Err(Refused::bad(bytes_fault(core, "cannot be less than 1")));
    }
    let size = usize::try_from(wanted).ok().filter(|n| *n <= 131_072);
    let Some(size) = size else {
        return Err(Refused::bad(bytes_fault(
            core,
            "should be less than 131072",
        )));
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
