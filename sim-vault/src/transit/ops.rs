//! Encrypt, decrypt, rewrap: one item or many, through the same code.

use serde_json::{Map, Value};

use super::{
    Key, KeyType, asymmetric,
    batch::{self, Item, ItemError, What},
    cipher, engine,
};
use crate::{
    Core,
    call::{Call, Op},
    gobase64,
    reply::{Outcome, Refused, Reply},
};

const NO_CONTEXT: &str = "missing 'context' for key derivation; the key was created using a derived key, which means additional, per-request information must be included in order to perform operations with the key";
const NONCE: &str = "provided nonce not allowed for this key";
const SOFT_DELETED: &str = "refusing to use soft-deleted key";
pub(super) const NOT_FOUND: &str = "encryption key not found";

/// The result of one item: ciphertext with its version, or plaintext.
type Made = Result<Map<String, Value>, ItemError>;

pub(super) fn encrypt(core: &mut Core, call: &Call) -> Outcome {
    let (items, many) = batch::items(core, call, What::Plaintext)?;
    let with_context = batch::check_contexts(&items)?;
    if call.op == Op::Create {
        upsert(core, call, with_context)?;
    }
    let Some(key) = super::view(core, call)? else {
        return Err(Refused::bad(NOT_FOUND));
    };
    let made: Vec<Made> = items
        .iter()
        .map(|item| encrypt_item(core, &key, item))
        .collect();
    batch::respond(call, What::Plaintext, &items, made, many)
}

fn upsert(core: &mut Core, call: &Call, derived: bool) -> Result<(), Refused> {
    let transit = engine(core, call)?;
    let name = call.args.text("name");
    if transit.keys.contains_key(name) {
        return Ok(());
    }
    let disabled = transit.disable_upsert;
    let convergent = call.args.flag("convergent_encryption");
    if convergent && !derived {
        return Err(Refused::bad(
            "convergent encryption requires derivation to be enabled, so context is required",
        ));
    }
    let wanted = call.args.opt_text("type").unwrap_or("aes256-gcm96");
    let Some(kind) = KeyType::parse(wanted, core.flavour) else {
        if core.flavour.is_vault() && wanted == "managed_key" {
            return Err(Refused::internal(if derived {
                super::admin::NO_DERIVATION.to_owned() + wanted
            } else {
                super::admin::MANAGED.to_owned()
            }));
        }
        return Err(Refused::bad(format!("unknown key type {wanted}")));
    };
    let fault = match kind {
        KeyType::Ecdsa(_) => format!("key type {wanted} not supported for this operation"),
        KeyType::Rsa(_) if core.flavour.is_vault() => String::new(),
        kind if kind.is_aead() => String::new(),
        _ => format!("unknown key type {wanted}"),
    };
    if !fault.is_empty() {
        return Err(Refused::bad(fault));
    }
    if disabled {
        return Err(Refused::bad(NOT_FOUND));
    }
    let mut key = Key::new(name, kind);
    key.derived = derived;
    key.convergent = convergent;
    key.rotate(core);
    engine(core, call)?.keys.insert(name.to_owned(), key);
    Ok(())
}

pub(super) fn encrypt_item(core: &mut Core, key: &Key, item: &Item) -> Made {
    let user = |text: &str| ItemError::User(text.to_owned());
    if let Some(text) = &item.fault {
        return Err(ItemError::User(text.clone()));
    }
    let plaintext = gobase64::decode(&item.payload).map_err(ItemError::User)?;
    if item.nonce && core.flavour.is_vault() {
        return Err(user(NONCE));
    }
    check_cipher_suite(key, item)?;
    if key.soft_deleted {
        return Err(user(SOFT_DELETED));
    }
    if !key.kind.encrypts() {
        return Err(ItemError::User(format!(
            "message encryption not supported for key type {}",
            key.kind.name()
        )));
    }
    let version = match item.key_version {
        0 => key.latest,
        v if v < 0 => return Err(user("requested version for encryption is negative")),
        v if v > i64::from(key.latest) => {
            return Err(user(
                "requested version for encryption is higher than the latest key version",
            ));
        }
        v if v < i64::from(key.min_encryption) => {
            return Err(user(
                "requested version for encryption is less than the minimum encryption key version",
            ));
        }
        v => u32::try_from(v).unwrap_or_default(),
    };
    if version < key.min_decryption {
        return Err(user("no such key version"));
    }
    if key.derived && item.context.is_empty() {
        return Err(user(NO_CONTEXT));
    }
    let aad = associated_data(item)?;
    if !key.kind.is_aead() {
        return rsa_item(core, key, version, &plaintext);
    }
    let Some((material, nonce_key)) = key.material(version, &item.context) else {
        return Err(user("no such key version"));
    };
    let size = cipher::nonce_size(key.kind);
    let nonce = if key.convergent {
        cipher::convergent_nonce(&nonce_key, &plaintext, size)
    } else {
        core.random(size)
    };
    let sealed = cipher::seal(key.kind, &material, &nonce, &aad, &plaintext)
        .ok_or_else(|| ItemError::Internal("unable to encrypt".to_owned()))?;
    Ok(labelled(version, &sealed))
}

/// Associated data is for authenticated ciphers alone.
fn check_cipher_suite(key: &Key, item: &Item) -> Result<(), ItemError> {
    if key.kind.is_aead() || item.associated_data.is_empty() {
        return Ok(());
    }
    let place = item.index.map(|n| format!("[{n}].")).unwrap_or_default();
    let name = key.kind.name();
    Err(ItemError::Quiet(format!(
        "'{place}associated_data' provided for non-AEAD cipher suite {name}"
    )))
}

fn rsa_item(core: &mut Core, key: &Key, version: u32, plaintext: &[u8]) -> Made {
    let Some((material, _)) = key.material(version, &[]) else {
        return Err(ItemError::User("no such key version".to_owned()));
    };
    let sealed = asymmetric::rsa_encrypt(core, &material, plaintext)
        .map_err(|text| ItemError::Internal(text.to_owned()))?;
    Ok(labelled(version, &sealed))
}

fn labelled(version: u32, sealed: &[u8]) -> Map<String, Value> {
    let mut out = Map::new();
    out.insert(
        "ciphertext".to_owned(),
        format!("vault:v{version}:{}", gobase64::encode(sealed)).into(),
    );
    out.insert("key_version".to_owned(), version.into());
    out
}

fn associated_data(item: &Item) -> Result<Vec<u8>, ItemError> {
    gobase64::decode(&item.associated_data).map_err(|text| {
        ItemError::Internal(format!(
            "unable to get associated_data/additional_data from factory[0]: {text}"
        ))
    })
}

pub(super) fn decrypt(core: &mut Core, call: &Call) -> Outcome {
    let (items, many) = batch::items(core, call, What::Ciphertext)?;
    batch::check_contexts(&items)?;
    let Some(key) = super::view(core, call)? else {
        return Err(Refused::bad(NOT_FOUND));
    };
    let made = items
        .iter()
        .map(|item| {
            let plaintext = decrypt_item(&key, item)?;
            let mut out = Map::new();
            out.insert("plaintext".to_owned(), gobase64::encode(&plaintext).into());
            Ok(out)
        })
        .collect();
    batch::respond(call, What::Ciphertext, &items, made, many)
}

pub(super) fn decrypt_item(key: &Key, item: &Item) -> Result<Vec<u8>, ItemError> {
    let user = |text: &str| ItemError::User(text.to_owned());
    if let Some(text) = &item.fault {
        return Err(ItemError::User(text.clone()));
    }
    check_cipher_suite(key, item).map_err(ItemError::quiet)?;
    if key.soft_deleted {
        return Err(user(SOFT_DELETED));
    }
    if !key.kind.encrypts() {
        return Err(ItemError::User(format!(
            "message decryption not supported for key type {}",
            key.kind.name()
        )));
    }
    let Some(rest) = item.payload.strip_prefix("vault:v") else {
        return Err(user("invalid ciphertext: no prefix"));
    };
    let Some((label, body)) = rest.split_once(':') else {
        return Err(user("invalid ciphertext: wrong number of fields"));
    };
    let Some(label) = label
        .strip_prefix('+')
        .unwrap_or(label)
        .parse::<i64>()
        .ok()
        .filter(|_| !label.starts_with("+-"))
    else {
        return Err(user(
            "invalid ciphertext: version number could not be decoded",
        ));
    };
    let version = if label == 0 { 1 } else { label };
    if version > i64::from(key.latest) {
        return Err(user("invalid ciphertext: version is too new"));
    }
    if version < i64::from(key.min_decryption.max(1)) {
        return Err(user(
            "ciphertext or signature version is disallowed by policy (too old)",
        ));
    }
    let sealed =
        gobase64::decode(body).map_err(|_| user("invalid ciphertext: could not decode base64"))?;
    if key.derived && item.context.is_empty() {
        return Err(user(NO_CONTEXT));
    }
    let aad = associated_data(item)?;
    let version = u32::try_from(version).unwrap_or_default();
    let Some((material, _)) = key.material(version, &item.context) else {
        return Err(user("no such key version"));
    };
    if !key.kind.is_aead() {
        let opened = asymmetric::rsa_decrypt(&material, &sealed);
        return opened
            .map(|p| p.to_vec())
            .map_err(|text| ItemError::Internal(text.to_owned()));
    }
    cipher::open(key.kind, &material, &aad, &sealed).map_err(user)
}

/// A batch keeps its 200 whatever its items' errors; associated data is not known here.
pub(super) fn rewrap(core: &mut Core, call: &Call) -> Outcome {
    let (items, many) = batch::items(core, call, What::Rewrap)?;
    batch::check_contexts(&items)?;
    let Some(key) = super::view(core, call)? else {
        return Err(Refused::bad(NOT_FOUND));
    };
    let made: Vec<Made> = items
        .iter()
        .map(|item| {
            if item.fault.is_none() && item.nonce && core.flavour.is_vault() {
                return Err(ItemError::User(NONCE.to_owned()));
            }
            let plaintext = decrypt_item(&key, item)?;
            let again = Item {
                payload: gobase64::encode(&plaintext),
                fault: None,
                ..item.clone()
            };
            encrypt_item(core, &key, &again)
        })
        .collect();
    let outcome = batch::respond(call, What::Rewrap, &items, made, many);
    match outcome {
        Ok(Some(reply)) if many => Ok(Some(Reply {
            status: None,
            finished: false,
            ..reply
        })),
        other => other,
    }
}
