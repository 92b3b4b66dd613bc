//! Answers of Vault.

use serde_json::Value;

use super::{seen, text, time};
use crate::evidence::{Health, Key, Try, Vault, Version, Why};
use crate::raw::Raw;
use crate::sign;
use crate::veil::Veil;

const KINDS: &[&str] = &[
    "aes128-gcm96",
    "aes256-gcm96",
    "chacha20-poly1305",
    "xchacha20-poly1305",
    "rsa-2048",
    "rsa-3072",
    "rsa-4096",
];

/// What a plugin does, in its order.
const OPERATIONS: &[&str] = &["token", "read", "encrypt", "decrypt"];

pub(super) fn vault(raw: &Raw, veil: &Veil) -> Vault {
    let leader = raw.json("vault/leader.json").ok();
    Vault {
        health: seen(
            raw.json("vault/health.json")
                .map(|it| health(&it, leader.as_ref(), veil)),
        ),
        key: seen(raw.json("vault/key.json").and_then(|it| key(&it, veil))),
        plugin: seen(raw.json("vault/plugin.json").map(|it| {
            let all = OPERATIONS.iter().filter(|name| it.get(**name).is_some());
            all.map(|name| ((*name).to_owned(), attempt(&it[*name])))
                .collect()
        })),
    }
}

fn status(it: &Value) -> u16 {
    it["status"]
        .as_u64()
        .and_then(|it| u16::try_from(it).ok())
        .unwrap_or_default()
}

fn health(it: &Value, leader: Option<&Value>, veil: &Veil) -> Health {
    let body = &it["body"];
    let yes = |name: &str| body[name].as_bool().unwrap_or_default();
    let version = text(body, "/version");
    let plain = !version.is_empty()
        && version.len() <= 24
        && version
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || ".+-".contains(c))
        && version.starts_with(|c: char| c.is_ascii_digit());
    Health {
        status: status(it),
        initialised: body["initialized"].as_bool().unwrap_or(true),
        sealed: yes("sealed"),
        standby: yes("standby"),
        knows_leader: leader.filter(|it| status(it) == 200).map(|it| {
            let itself = it.pointer("/body/is_self").and_then(Value::as_bool);
            itself == Some(true) || !text(it, "/body/leader_address").is_empty()
        }),
        version: if plain {
            version.to_owned()
        } else {
            veil.hash(version)
        },
    }
}

fn key(it: &Value, veil: &Veil) -> Result<Key, Why> {
    match status(it) {
        200 => {}
        404 => return Err(Why::NotThere),
        403 => return Err(Why::NotAllowed),
        0 => return Err(Why::Unreachable),
        _ => return Err(Why::Refused),
    }
    let data = &it["body"]["data"];
    let number = |name: &str| data[name].as_u64().unwrap_or_default();
    let versions = data["keys"].as_object().into_iter().flatten();
    let mut versions: Vec<Version> = versions
        .filter_map(|(name, it)| {
            Some(Version {
                number: name.parse().ok()?,
                created: it.as_i64().or_else(|| time(text(it, "/creation_time"))),
            })
        })
        .collect();
    versions.sort_by_key(|version| version.number);
    Ok(Key {
        kind: veil.one_of(KINDS, text(data, "/type")),
        latest: number("latest_version"),
        min_decryption: number("min_decryption_version"),
        min_encryption: number("min_encryption_version"),
        deletion_allowed: data["deletion_allowed"].as_bool().unwrap_or_default(),
        soft_deleted: data["soft_deleted"].as_bool().unwrap_or_default(),
        versions,
    })
}

fn attempt(it: &Value) -> Try {
    let errors = it
        .pointer("/body/errors")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let words: Vec<&str> = errors.filter_map(Value::as_str).collect();
    Try {
        status: status(it),
        signs: sign::signs(&words.join("; ")),
        took_ms: it["took_ms"].as_u64().unwrap_or_default(),
        ttl: it.pointer("/body/data/ttl").and_then(Value::as_u64),
    }
}
