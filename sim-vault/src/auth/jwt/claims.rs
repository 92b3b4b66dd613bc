//! Reading JWTs and asking their claims, for the JWT method and the kubernetes method.

use base64::{
    Engine, alphabet,
    engine::{
        DecodePaddingMode,
        general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD},
    },
};
use rsa::{
    RsaPublicKey,
    pkcs1v15::{Signature, VerifyingKey},
    pkcs8::DecodePublicKey,
    sha2::Sha256,
    signature::Verifier,
};
use serde_json::Value;

/// Bits too many at the end are nothing to complain of.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// The three parts of a compact JWT: what is signed, the claims, the signature.
pub(in crate::auth) fn split(jwt: &str) -> Option<(&str, Value, Vec<u8>)> {
    let (signed, signature) = jwt.rsplit_once('.')?;
    let (_, claims) = signed.split_once('.').filter(|(_, c)| !c.contains('.'))?;
    let claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    Some((signed, claims, LENIENT.decode(signature).ok()?))
}

pub(super) fn signed_by(pem: &str, signed: &str, signature: &[u8]) -> bool {
    let Ok(key) = RsaPublicKey::from_public_key_pem(pem) else {
        return false;
    };
    let Ok(signature) = Signature::try_from(signature) else {
        return false;
    };
    VerifyingKey::<Sha256>::new(key)
        .verify(signed.as_bytes(), &signature)
        .is_ok()
}

/// `exp` and `nbf` without leeway.
pub(in crate::auth) fn check_times(claims: &Value, now: u64) -> Result<(), &'static str> {
    let time = |name: &str| claims.get(name).and_then(Value::as_u64);
    if time("exp").is_some_and(|exp| now > exp) {
        return Err("invalid expiration time (exp) claim: token is expired");
    }
    if time("nbf").is_some_and(|nbf| now < nbf) {
        return Err("invalid not before (nbf) claim: token not yet valid");
    }
    Ok(())
}

/// At least one audience of the token is among the expected ones.
pub(in crate::auth) fn check_audience(
    claims: &Value,
    expected: &[String],
) -> Result<(), &'static str> {
    let audiences: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if expected.iter().any(|e| audiences.contains(&e.as_str())) {
        return Ok(());
    }
    if expected.is_empty() && audiences.is_empty() {
        return Ok(());
    }
    Err("invalid audience (aud) claim: audience claim does not match any expected audience")
}

/// A bound claim's values and the token's: at least one of each must be the same, or match as a glob.
pub(super) fn check_bound(
    name: &str,
    wanted: &Value,
    claims: &Value,
    globs: bool,
) -> Result<(), String> {
    let Some(found) = claims.get(name).filter(|c| !c.is_null()) else {
        return Err(format!("claim {name:?} is missing"));
    };
    let what = |whose: &str, value: &Value| {
        let shown = crate::fields::go_value(value);
        format!("{whose} claim is not a string, bool, int or list: {shown}")
    };
    let found = listed(found).ok_or_else(|| what("received", found))?;
    let wanted = listed(wanted).ok_or_else(|| what("bound", wanted))?;
    for (w, f) in wanted
        .iter()
        .flat_map(|w| found.iter().map(move |f| (w, f)))
    {
        let fits = match (globs, w.as_str()) {
            (false, _) => w == f,
            (true, Some(pattern)) => f.as_str().is_some_and(|text| globbed(pattern, text)),
            (true, None) => {
                // the servers' own slip: `%expVal` is read as a verb
                let (kind, shown) = (crate::fields::go_type(w), crate::fields::go_value(w));
                return Err(format!(
                    "received claim is not a glob string: %!e({kind}={shown})xpVal"
                ));
            }
        };
        if fits {
            return Ok(());
        }
    }
    Err(format!(
        "claim {name:?} does not match any associated bound claim values"
    ))
}

/// A list, or a single value as one.
pub(super) fn listed(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(items) => Some(items),
        Value::String(_) | Value::Bool(_) | Value::Number(_) => Some(std::slice::from_ref(value)),
        _ => None,
    }
}

/// Every `*` stands for anything.
fn globbed(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(head) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let tail = parts.pop().unwrap_or_default();
    for part in parts {
        match text.split_once(part) {
            Some((_, behind)) => text = behind,
            None => return false,
        }
    }
    text.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_anywhere() {
        for (pattern, text, fits) in [
            ("team-*", "team-a", true),
            ("*", "", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abde", false),
            ("ab*ba", "aba", false),
            ("a", "ab", false),
        ] {
            assert_eq!(globbed(pattern, text), fits, "{pattern} {text}");
        }
    }
}
