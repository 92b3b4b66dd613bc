//! Variables computed from captured ones: damaged ciphertexts, changed tokens.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

fn split(ct: &str) -> (String, Vec<u8>) {
    let (head, payload) = ct.rsplit_once(':').unwrap_or(("", ct));
    (
        format!("{head}:"),
        STANDARD.decode(payload).unwrap_or_default(),
    )
}

/// The new value; `None` for an operation that is not known.
pub fn derive(step: &Value, from: &str) -> Option<String> {
    let text = |name: &str| step[name].as_str().unwrap_or_default();
    let number = |name: &str| step[name].as_i64().unwrap_or_default();
    let size = |name: &str| usize::try_from(number(name)).unwrap_or_default();
    let chars: Vec<char> = from.chars().collect();
    let join = |head: String, bytes: &[u8]| head + &STANDARD.encode(bytes);
    Some(match text("op") {
        "flip_bit" => {
            let (head, mut payload) = split(from);
            let at = number("byte");
            let at = if at < 0 {
                payload.len().checked_sub(usize::try_from(-at).ok()?)?
            } else {
                usize::try_from(at).ok()?
            };
            *payload.get_mut(at)? ^= 1 << number("bit");
            join(head, &payload)
        }
        "truncate_payload" => {
            let (head, mut payload) = split(from);
            payload.truncate(size("keep"));
            join(head, &payload)
        }
        "drop_payload_tail" => {
            let (head, mut payload) = split(from);
            payload.truncate(payload.len().saturating_sub(size("n")));
            join(head, &payload)
        }
        "append_payload" => {
            let (head, mut payload) = split(from);
            let hex = text("hex");
            payload.extend(
                (0..hex.len())
                    .step_by(2)
                    .filter_map(|i| u8::from_str_radix(hex.get(i..i + 2)?, 16).ok()),
            );
            join(head, &payload)
        }
        "replace" => from.replacen(text("old"), text("new"), 1),
        "drop_chars" => chars
            .iter()
            .take(chars.len().saturating_sub(size("n")))
            .collect(),
        "set_version" => {
            let rest = from.strip_prefix("vault:v")?.split_once(':')?.1;
            format!("vault:v{}:{rest}", text("v"))
        }
        "strip_prefix" => from.rsplit_once(':')?.1.to_owned(),
        "payload_only_urlsafe" => {
            let (head, payload) = from.rsplit_once(':')?;
            format!("{head}:{}", payload.replace('+', "-").replace('/', "_"))
        }
        "strip_padding" => from.trim_end_matches('=').to_owned(),
        "insert_newline" => {
            let at = size("at");
            let (a, b) = chars.split_at_checked(at)?;
            a.iter().chain(&['\n']).chain(b).collect()
        }
        "append" => format!("{from}{}", text("text")),
        "prepend" => format!("{}{from}", text("text")),
        "upper" => from.to_uppercase(),
        "change_char" => {
            let mut chars = chars;
            let c = chars.get_mut(size("at"))?;
            *c = if *c == 'A' { 'B' } else { 'A' };
            chars.into_iter().collect()
        }
        "flip_last_char" => {
            let mut chars = chars;
            let c = chars.last_mut()?;
            *c = if *c == 'A' { 'B' } else { 'A' };
            chars.into_iter().collect()
        }
        _ => return None,
    })
}
