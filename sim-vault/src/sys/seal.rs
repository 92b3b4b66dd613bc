//! `sys/init` and `sys/unseal`.

use serde_json::{Map, Value, json};

use super::health;
use crate::{
    Core, Flavour, Request, Response, core::hex, gobase64, json, reply::Refused, seal::Progress,
};

pub(crate) fn init(core: &mut Core, request: &Request) -> Response {
    match request.method.as_str() {
        "GET" => health::plain(core, 200, &json!({ "initialized": core.seal.initialised })),
        "PUT" | "POST" => {
            let body = match body_of(core, request) {
                Ok(body) => body,
                Err(refused) => return core.refuse(refused),
            };
            let number = |name: &str| body.get(name).and_then(Value::as_u64).unwrap_or(0);
            let (shares, threshold) = (number("secret_shares"), number("secret_threshold"));
            let fault = if shares < 1 {
                "shares must be at least one"
            } else if threshold < 1 {
                "threshold must be at least one"
            } else if shares > 1 && threshold == 1 {
                "threshold must be greater than one for multiple shares"
            } else if shares > 255 {
                "shares must be less than 256"
            } else if threshold > shares {
                "threshold cannot be larger than shares"
            } else {
                ""
            };
            if !fault.is_empty() {
                return core.refuse(Refused::bad(format!("invalid seal configuration: {fault}")));
            }
            if core.seal.initialised {
                return core.refuse(Refused::bad("Vault is already initialized"));
            }
            core.initialise(
                u8::try_from(shares).unwrap_or(u8::MAX),
                u8::try_from(threshold).unwrap_or(u8::MAX),
                None,
            );
            let keys: Vec<String> = core.seal.shares.iter().map(|s| hex(s)).collect();
            let base64: Vec<String> = core
                .seal
                .shares
                .iter()
                .map(|s| gobase64::encode(s))
                .collect();
            let body =
                json!({ "keys": keys, "keys_base64": base64, "root_token": core.root_token() });
            health::plain(core, 200, &body)
        }
        _ => core.refuse(Refused::Empty(405)),
    }
}

pub(crate) fn unseal(core: &mut Core, request: &Request) -> Response {
    if !matches!(request.method.as_str(), "PUT" | "POST") {
        return core.refuse(Refused::Empty(405));
    }
    let body = match body_of(core, request) {
        Ok(body) => body,
        Err(refused) => return core.refuse(refused),
    };
    if body.get("reset").and_then(Value::as_bool) == Some(true) {
        if !core.sealed() {
            return core.refuse(Refused::bad("vault is unsealed"));
        }
        core.seal.reset();
        return health::plain(core, 200, &health::status_body(core));
    }
    let Some(key) = body
        .get("key")
        .and_then(Value::as_str)
        .filter(|k| !k.is_empty())
    else {
        return core.refuse(Refused::bad(
            "'key' must be specified in request body as JSON, or 'reset' set to true",
        ));
    };
    let share = unhex(key).or_else(|| gobase64::decode(key).ok());
    let Some(share) = share.filter(|s| core.seal.initialised && (16..=33).contains(&s.len()))
    else {
        return core.refuse(Refused::bad("'key' must be a valid hex or base64 string"));
    };
    if !core.sealed() {
        return health::plain(core, 200, &health::status_body(core));
    }
    if core.seal.nonce.is_empty() {
        core.seal.nonce = core.uuid();
    }
    // a single share is the key itself
    if core.seal.threshold == 1 && !matches!(share.len(), 16 | 24 | 32) {
        return core.refuse(Refused::bad(format!(
            "invalid key: failed to setup unseal key: crypto/aes: invalid key size {}",
            share.len()
        )));
    }
    let given = core.seal.give(&share);
    if given == Progress::Unsealed {
        core.node.sealed = false;
    }
    match given {
        Progress::More | Progress::Unsealed => health::plain(core, 200, &health::status_body(core)),
        Progress::Wrong => core.refuse(Refused::bad(match core.flavour {
            Flavour::OpenBao => "unable to retrieve stored keys: invalid key: failed to decrypt keys from storage: cipher: message authentication failed",
            Flavour::Vault => "unable to retrieve stored keys: invalid key: failed to decrypt keys from storage: error decrypting seal wrapped value\nerror decrypting using seal shamir: cipher: message authentication failed",
        })),
    }
}

/// Vault does not take nothing for an empty object here.
fn body_of(core: &Core, request: &Request) -> Result<Map<String, Value>, Refused> {
    if core.flavour.is_vault() && request.body.iter().all(u8::is_ascii_whitespace) {
        return Err(Refused::bad("EOF"));
    }
    json::decode(&request.body, &core.options).map_err(Refused::bad)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(text.get(i..i + 2)?, 16).ok())
        .collect()
}
