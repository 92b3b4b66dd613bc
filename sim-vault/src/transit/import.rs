//! Bringing one's own key: wrapped with AES-KWP under a key that is wrapped with the mount's RSA key.

use aes_kw::KekAes256;
use serde_json::json;
use zeroize::Zeroizing;

use super::{
    Key, KeyType,
    asymmetric::{self, Hash},
    engine,
};
use crate::{
    Core,
    call::Call,
    fields::{Field, Kind},
    gobase64,
    reply::{Outcome, Refused, done, ok},
};

pub(super) const FIELDS: &[Field] = &[
    ("ciphertext", Kind::Text),
    ("type", Kind::Text),
    ("hash_function", Kind::Text),
    ("allow_rotation", Kind::Bool),
    ("derived", Kind::Bool),
    ("exportable", Kind::Bool),
    ("allow_plaintext_backup", Kind::Bool),
    ("auto_rotate_period", Kind::Seconds),
    ("context", Kind::Text),
    ("public_key", Kind::Text),
];
pub(super) const VERSION_FIELDS: &[Field] = &[
    ("ciphertext", Kind::Text),
    ("hash_function", Kind::Text),
    ("public_key", Kind::Text),
    ("version", Kind::Int),
];

/// The wrapping key is RSA-4096: its part of the ciphertext has 512 bytes.
const WRAPPING: KeyType = KeyType::Rsa(4096);
const WRAPPED_KEK: usize = 512;

/// Made when it is first asked for: that takes seconds.
fn wrapping_material(core: &mut Core, call: &Call) -> Result<Zeroizing<Vec<u8>>, Refused> {
    if let Some(key) = &engine(core, call)?.wrapping_key {
        return Ok(key.clone());
    }
    let key = Zeroizing::new(asymmetric::generate(core, WRAPPING));
    engine(core, call)?.wrapping_key = Some(key.clone());
    Ok(key)
}

pub(super) fn wrapping_key(core: &mut Core, call: &Call) -> Outcome {
    let material = wrapping_material(core, call)?;
    ok(json!({ "public_key": asymmetric::public(WRAPPING, &material) }))
}

fn unwrapped(core: &mut Core, call: &Call) -> Result<Zeroizing<Vec<u8>>, Refused> {
    let hash = hash(call)?;
    let sealed = gobase64::decode(call.args.text("ciphertext")).map_err(Refused::internal)?;
    let (Some(kek), Some(key)) = (sealed.get(..WRAPPED_KEK), sealed.get(WRAPPED_KEK..)) else {
        return Err(Refused::internal("provided ciphertext is too short"));
    };
    let material = wrapping_material(core, call)?;
    let kek = asymmetric::unwrap_key(&material, kek, hash)
        .ok_or_else(|| Refused::internal("crypto/rsa: decryption error"))?;
    let kek: [u8; 32] = kek
        .as_slice()
        .try_into()
        .map_err(|_| Refused::internal("unexpected ephemeral AES key length"))?;
    KekAes256::from(kek)
        .unwrap_with_padding_vec(key)
        .map(Zeroizing::new)
        .map_err(|_| Refused::internal("failed to unwrap key material"))
}

pub(super) fn import(core: &mut Core, call: &Call) -> Outcome {
    let args = &call.args;
    let name = args.text("name");
    if !args.seconds("auto_rotate_period").is_zero() && !args.flag("allow_rotation") {
        return Err(Refused::internal(
            "allow_rotation must be set to true if auto-rotation is enabled",
        ));
    }
    let wanted = args.opt_text("type").unwrap_or("aes256-gcm96");
    let Some(kind) = KeyType::parse(wanted, core.flavour) else {
        return Err(Refused::bad(format!("unknown key type: {wanted}")));
    };
    if engine(core, call)?.keys.contains_key(name) {
        return Err(Refused::internal(
            "the import path cannot be used with an existing key; use import-version to rotate an existing imported key",
        ));
    }
    if !args.has("ciphertext") {
        return Err(Refused::internal(
            "provided type does not support public_key import",
        ));
    }
    let material = unwrapped(core, call)?;
    check(kind, &material)
        .map_err(|text| Refused::internal(format!("error importing key: {text}")))?;
    let mut key = Key::new(name, kind);
    key.imported = true;
    key.import_rotation = args.flag("allow_rotation");
    key.derived = args.flag("derived");
    key.exportable = args.flag("exportable");
    key.allow_backup = args.flag("allow_plaintext_backup");
    key.auto_rotate = args.seconds("auto_rotate_period");
    key.push(core, material.to_vec());
    engine(core, call)?.keys.insert(name.to_owned(), key);
    done()
}

/// What the RSA padding hashes with.
fn hash(call: &Call) -> Result<Hash, Refused> {
    let Some(name) = call.args.opt_text("hash_function") else {
        return Ok(Hash::Sha256);
    };
    Ok(match name.to_uppercase().as_str() {
        "SHA256" => Hash::Sha256,
        "SHA1" => Hash::Sha1,
        "SHA224" => Hash::Sha224,
        "SHA384" => Hash::Sha384,
        "SHA512" => Hash::Sha512,
        _ => {
            return Err(Refused::bad(format!("unknown hash function: {name}")));
        }
    })
}

fn check(kind: KeyType, material: &[u8]) -> Result<(), String> {
    let fits = if kind.is_aead() {
        material.len() == kind.key_bytes()
    } else {
        asymmetric::public(kind, material).is_some()
    };
    if fits {
        return Ok(());
    }
    Err(format!(
        "invalid key size {} bytes for key type {}",
        material.len(),
        kind.name()
    ))
}

pub(super) fn import_version(core: &mut Core, call: &Call) -> Outcome {
    let name = call.args.text("name");
    let Some(mut key) = engine(core, call)?.keys.get(name).cloned() else {
        return Err(Refused::internal(format!(
            "no key found with name {name}; to import a new key, use the import/ endpoint"
        )));
    };
    if !key.imported {
        return Err(Refused::internal(
            "the import_version endpoint can only be used with an imported key",
        ));
    }
    if !call.args.has("ciphertext") {
        return Err(Refused::internal(
            "provided type does not support public_key import",
        ));
    }
    let material = unwrapped(core, call)?;
    if let Some(version) = call.args.opt_int("version") {
        return Err(Refused::internal(not_replaced(&key, version)));
    }
    check(key.kind, &material).map_err(Refused::internal)?;
    key.push(core, material.to_vec());
    engine(core, call)?.keys.insert(name.to_owned(), key);
    done()
}

/// A version is replaced only where its private half is missing, and here every version has one.
fn not_replaced(key: &Key, version: i64) -> &'static str {
    let at_hand = u32::try_from(version)
        .is_ok_and(|v| v >= key.min_decryption && key.versions.contains_key(&v));
    if !at_hand {
        "no such key version"
    } else if key.kind.is_aead() {
        "provided type does not support importing key versions"
    } else {
        "private key imported, key version cannot be updated"
    }
}
