//! Creating, reading, rotating, configuring, trimming and deleting keys.

use serde_json::{Value, json};

use super::{Key, KeyType, engine};
use crate::{
    Core,
    call::Call,
    reply::{Outcome, Refused, Reply, done, ok},
};

/// Followed by the type.
pub(super) const NO_DERIVATION: &str =
    "key derivation and convergent encryption not supported for keys of type ";
pub(super) const MANAGED: &str = "managed keys are supported within enterprise edition only";

fn name(call: &Call) -> &str {
    call.args.text("name")
}

/// The key's document, or 404.
pub(super) fn read(core: &mut Core, call: &Call) -> Outcome {
    match super::view(core, call)? {
        Some(key) => Ok(Some(Reply {
            data: Some(key.document(core)),
            ..Reply::default()
        })),
        None => Err(Refused::nothing()),
    }
}

fn document(core: &mut Core, call: &Call) -> Result<Reply, Refused> {
    read(core, call)?.ok_or_else(Refused::nothing)
}

pub(super) fn list(core: &mut Core, call: &Call) -> Outcome {
    let mut keys: Vec<String> = engine(core, call)?.keys.keys().cloned().collect();
    if core.flavour.is_openbao() {
        let raw = |name: &str| {
            call.raw
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        keys.retain(|k| k.as_str() > raw("after"));
        if let Ok(limit @ 1..) = raw("limit").parse::<usize>() {
            keys.truncate(limit);
        }
    }
    Reply::keys(keys)
}

pub(super) fn create(core: &mut Core, call: &Call) -> Outcome {
    let args = &call.args;
    let period = args.seconds("auto_rotate_period");
    if !period.is_zero() && period.as_secs() < 3600 {
        return Err(Refused::bad(
            "auto rotate period must be 0 to disable or at least an hour",
        ));
    }
    let convergent = args.flag("convergent_encryption");
    let derived = args.flag("derived");
    if convergent && !derived {
        return Err(Refused::bad(
            "convergent encryption requires derivation to be enabled",
        ));
    }
    let wanted = args.opt_text("type").unwrap_or("aes256-gcm96");
    let size = args.int("key_size");
    let Some(kind) = KeyType::parse(wanted, core.flavour) else {
        let sized = wanted.ends_with("-cmac") || wanted == "managed_key";
        if core.flavour.is_vault() && sized && size != 0 {
            return Err(Refused::bad(format!(
                "key_size is not valid for algorithm {wanted}"
            )));
        }
        if core.flavour.is_vault() && wanted == "managed_key" {
            return Err(Refused::internal(MANAGED));
        }
        return Err(Refused::bad(unknown_type(core, wanted)));
    };
    if size != 0 && kind != KeyType::Hmac {
        return Err(Refused::bad(format!(
            "key_size is not valid for algorithm {wanted}"
        )));
    }
    if size != 0 && !(32..=512).contains(&size) {
        return Err(Refused::bad(format!("invalid key_size {size}")));
    }
    if engine(core, call)?.keys.contains_key(name(call)) {
        return read(core, call);
    }
    if (derived || convergent) && !kind.derives() {
        return Err(Refused::internal(NO_DERIVATION.to_owned() + wanted));
    }
    if convergent && kind == KeyType::Ed25519 {
        return Err(Refused::internal(format!(
            "convergent encryption not supported for keys of type {wanted}"
        )));
    }
    if kind == KeyType::Hmac && size == 0 {
        return Err(Refused::internal(
            "invalid key size for HMAC key, must be between 32 and 512 bytes",
        ));
    }
    let mut key = Key::new(name(call), kind);
    key.derived = derived;
    key.convergent = convergent;
    key.exportable = args.flag("exportable");
    key.allow_backup = args.flag("allow_plaintext_backup");
    key.auto_rotate = period;
    key.key_size = usize::try_from(size).unwrap_or_default();
    key.rotate(core);
    engine(core, call)?.keys.insert(name(call).to_owned(), key);
    read(core, call)
}

fn unknown_type(core: &Core, wanted: &str) -> String {
    if core.flavour.is_vault() {
        return match wanted {
            "aes128-cmac" | "aes256-cmac" => {
                "CMAC operations are only available in enterprise versions of Vault".to_owned()
            }
            "ml-dsa" => "invalid parameter set  for key type ml-dsa".to_owned(),
            "hybrid" => "invalid config for hybrid key: invalid PQC key type: ".to_owned(),
            _ => format!("unknown key type {wanted}"),
        };
    }
    if wanted == "external-key" {
        return "must provide external_key_ref to create policy of type external-key".to_owned();
    }
    format!("unknown key type {wanted}")
}

pub(super) fn rotate(core: &mut Core, call: &Call) -> Outcome {
    let Some(mut key) = engine(core, call)?.keys.get(name(call)).cloned() else {
        return Err(Refused::bad("key not found"));
    };
    if key.soft_deleted {
        return Err(Refused::internal("refusing to use soft-deleted key"));
    }
    if key.imported && !key.import_rotation {
        return Err(Refused::internal(format!(
            "imported key {} does not allow rotation within Vault",
            key.name
        )));
    }
    key.rotate(core);
    // from now on its material is the server's own
    key.imported = false;
    engine(core, call)?.keys.insert(name(call).to_owned(), key);
    read(core, call)
}

pub(super) fn config(core: &mut Core, call: &Call) -> Outcome {
    let args = &call.args;
    let openbao = core.flavour.is_openbao();
    let Some(mut key) = engine(core, call)?.keys.get(name(call)).cloned() else {
        return Err(Refused::bad(format!(
            "no existing key named {} could be found",
            name(call)
        )));
    };
    let mut warnings = Vec::new();
    let latest = i64::from(key.latest);
    let version = |v: i64| u32::try_from(v).unwrap_or_default();
    if let Some(mut min) = args.opt_int("min_decryption_version") {
        if min < 0 {
            return Err(Refused::bad("min decryption version cannot be negative"));
        }
        if min == 0 {
            min = 1;
            warnings.push(if openbao {
                "since Vault 0.3 (prior to the OpenBao fork), transit key numbering starts at 1; forcing minimum to 1"
            } else {
                "since Vault 0.3, transit key numbering starts at 1; forcing minimum to 1"
            });
        }
        if min > latest {
            return Err(Refused::bad(format!(
                "cannot set min decryption version of {min}, latest key version is {latest}"
            )));
        }
        key.min_decryption = version(min);
    }
    if let Some(min) = args.opt_int("min_encryption_version") {
        if min < 0 {
            return Err(Refused::bad("min encryption version cannot be negative"));
        }
        if min > latest {
            return Err(Refused::bad(format!(
                "cannot set min encryption version of {min}, latest key version is {latest}"
            )));
        }
        key.min_encryption = version(min);
    }
    if key.min_encryption > 0 && key.min_encryption < key.min_decryption {
        return Err(Refused::bad(format!(
            "cannot set min encryption/decryption values; min encryption version of {} must be greater than or equal to min decryption version of {}",
            key.min_encryption, key.min_decryption
        )));
    }
    if let Some(allowed) = args.opt_bool("deletion_allowed") {
        key.deletion_allowed = allowed;
    }
    // both can be switched on, never off
    key.exportable |= args.flag("exportable");
    key.allow_backup |= args.flag("allow_plaintext_backup");
    if let Some(period) = args.opt_seconds("auto_rotate_period") {
        if !period.is_zero() && period.as_secs() < 3600 {
            return Err(Refused::bad(
                "auto rotate period must be 0 to disable or at least an hour",
            ));
        }
        key.auto_rotate = period;
    }
    if key.min_available > key.min_encryption {
        return Err(Refused::bad(
            "min encryption version should not be less than min available version",
        ));
    }
    if key.min_available > key.min_decryption {
        return Err(Refused::bad(
            "min decryption version should not be less then min available version",
        ));
    }
    engine(core, call)?.keys.insert(name(call).to_owned(), key);
    let mut reply = document(core, call)?;
    reply
        .warnings
        .extend(warnings.into_iter().map(str::to_owned));
    Ok(Some(reply))
}

pub(super) fn trim(core: &mut Core, call: &Call) -> Outcome {
    let Some(key) = engine(core, call)?.keys.get_mut(name(call)) else {
        return Err(Refused::bad("invalid key name"));
    };
    let Some(wanted) = call.args.opt_int("min_available_version") else {
        return Err(Refused::bad("missing min_available_version"));
    };
    let text = if wanted < i64::from(key.min_available) {
        "minimum available version cannot be decremented"
    } else if key.min_encryption == 0 {
        "minimum available version cannot be set when minimum encryption version is not set"
    } else if key.min_decryption == 0 {
        "minimum available version cannot be set when minimum decryption version is not set"
    } else if wanted > i64::from(key.min_encryption) {
        "minimum available version cannot be greater than minmum encryption version"
    } else if wanted > i64::from(key.min_decryption) {
        "minimum available version cannot be greater than minimum decryption version"
    } else if wanted <= 0 {
        "minimum available version should be positive"
    } else {
        key.min_available = u32::try_from(wanted).unwrap_or_default();
        let kept = key.versions.split_off(&key.min_available);
        key.versions = kept;
        return read(core, call);
    };
    Err(Refused::bad(text))
}

pub(super) fn delete(core: &mut Core, call: &Call) -> Outcome {
    let name = name(call);
    let keys = &mut engine(core, call)?.keys;
    let text = match keys.get(name) {
        None => "could not delete key; not found",
        Some(key) if !key.deletion_allowed => "deletion is not allowed for this key",
        Some(_) => {
            keys.remove(name);
            return done();
        }
    };
    Err(Refused::bad(format!(
        "error deleting policy {name}: {text}"
    )))
}

pub(super) fn soft_delete(core: &mut Core, call: &Call) -> Outcome {
    set_soft_deleted(core, call, true, "key was already marked as soft deleted")
}

pub(super) fn soft_restore(core: &mut Core, call: &Call) -> Outcome {
    set_soft_deleted(core, call, false, "key was already restored")
}

fn set_soft_deleted(core: &mut Core, call: &Call, to: bool, already: &str) -> Outcome {
    if core.flavour.is_vault() {
        return Err(Refused::unsupported_path());
    }
    let Some(key) = engine(core, call)?.keys.get_mut(name(call)) else {
        return done();
    };
    let before = std::mem::replace(&mut key.soft_deleted, to);
    let reply = document(core, call)?;
    Ok(Some(if before == to {
        reply.warn(already)
    } else {
        reply
    }))
}

pub(super) fn write_config_keys(core: &mut Core, call: &Call) -> Outcome {
    // what is not said is false
    engine(core, call)?.disable_upsert = call.args.flag("disable_upsert");
    read_config_keys(core, call)
}

pub(super) fn read_config_keys(core: &mut Core, call: &Call) -> Outcome {
    ok(json!({ "disable_upsert": engine(core, call)?.disable_upsert }))
}

pub(super) fn write_cache(core: &mut Core, call: &Call) -> Outcome {
    let size = call.args.int("size");
    if size != 0 && size < 10 {
        return Err(Refused::bad(
            "size must be 0 or a value greater or equal to 10",
        ));
    }
    engine(core, call)?.cache_size = size;
    read_cache(core, call)
}

pub(super) fn read_cache(core: &mut Core, call: &Call) -> Outcome {
    ok(json!({ "size": engine(core, call)?.cache_size }))
}
