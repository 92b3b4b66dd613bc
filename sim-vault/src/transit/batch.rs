//! The items of a request, and the answer for them: one or a batch.

use serde_json::{Map, Value, json};

use crate::{
    Core,
    call::Call,
    fields::go_type,
    gobase64,
    reply::{Outcome, Refused, Reply},
};

/// What the items carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Plaintext,
    Ciphertext,
    Rewrap,
}

impl What {
    fn field(self) -> &'static str {
        if self == Self::Plaintext {
            "plaintext"
        } else {
            "ciphertext"
        }
    }

    fn missing(self) -> &'static str {
        if self == Self::Plaintext {
            "missing plaintext to encrypt"
        } else {
            "missing ciphertext to decrypt"
        }
    }
}

/// One thing to encrypt or decrypt.
#[derive(Clone, Default)]
pub(super) struct Item {
    pub payload: String,
    /// Its place in the batch, a single one's too; a data key has none.
    pub index: Option<usize>,
    pub context: Vec<u8>,
    /// A context was given, readable or not.
    pub has_context: bool,
    pub associated_data: String,
    pub key_version: i64,
    pub reference: String,
    /// A nonce came along, which only Vault looks at.
    pub nonce: bool,
    /// What is wrong with it before any key is looked at.
    pub fault: Option<String>,
}

/// Why an item failed: the request's fault (400) or the engine's (500).
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ItemError {
    User(String),
    Internal(String),
    /// The request's fault, but a batch is answered as if there were none.
    Quiet(String),
}

impl ItemError {
    pub(super) fn quiet(self) -> Self {
        Self::Quiet(self.text().to_owned())
    }

    fn text(&self) -> &str {
        let (Self::User(text) | Self::Internal(text) | Self::Quiet(text)) = self;
        text
    }
}

/// The items of a request and whether it is a batch.
pub(super) fn items(
    core: &mut Core,
    call: &Call,
    what: What,
) -> Result<(Vec<Item>, bool), Refused> {
    match call.args.get("batch_input") {
        None | Some(Value::Null) => {
            core.items = 1;
            Ok((vec![single(call, what)?], false))
        }
        Some(input) => {
            let openbao = core.flavour.is_openbao();
            let parsed = if what == What::Rewrap {
                parse_loosely(input, openbao)
            } else {
                parse(input, what)
            };
            let items = parsed.map_err(|faults| {
                let whole = faults.iter().any(|f| !f.starts_with('\''));
                let joined = if what == What::Rewrap && faults[0].starts_with("''") {
                    faults.concat()
                } else if what == What::Rewrap && openbao {
                    format!(
                        "decoding failed due to the following error(s):\n\n{}",
                        faults.join("\n")
                    )
                } else if core.flavour.is_openbao() || whole {
                    faults.join("\n")
                } else {
                    let list: Vec<String> = faults.iter().map(|f| format!("* {f}")).collect();
                    format!("{} error(s) decoding:\n\n{}", faults.len(), list.join("\n"))
                };
                Refused::internal(format!("failed to parse batch input: {joined}"))
            })?;
            if items.is_empty() {
                return Err(Refused::bad("missing batch input to process"));
            }
            core.items = items.len();
            Ok((items, true))
        }
    }
}

/// Whether the items have contexts: all or none.
pub(super) fn check_contexts(items: &[Item]) -> Result<bool, Refused> {
    let with_context = items.iter().filter(|i| i.has_context).count();
    if with_context != 0 && with_context != items.len() {
        return Err(Refused::bad(
            "context should be set either in all the request blocks or in none",
        ));
    }
    Ok(with_context > 0)
}

fn single(call: &Call, what: What) -> Result<Item, Refused> {
    let args = &call.args;
    let payload = args.opt_text(what.field());
    let enough = match what {
        What::Plaintext => payload.is_some(),
        _ => payload.is_some_and(|p| !p.is_empty()),
    };
    if !enough {
        return Err(Refused::bad(what.missing()));
    }
    let mut item = Item {
        index: Some(0),
        payload: payload.unwrap_or_default().to_owned(),
        associated_data: args.text("associated_data").to_owned(),
        key_version: args.int("key_version"),
        ..Item::default()
    };
    item.nonce = call
        .raw
        .get("nonce")
        .is_some_and(|n| n.as_str() != Some(""));
    item.has_context = !args.text("context").is_empty();
    match gobase64::decode(args.text("context")) {
        Ok(context) => item.context = context,
        Err(text) => item.fault = Some(text),
    }
    Ok(item)
}

/// Items are not coerced, unlike the fields of a single request.
fn parse(input: &Value, what: What) -> Result<Vec<Item>, Vec<String>> {
    let Some(entries) = input.as_array() else {
        return Err(vec![format!(
            "source data must be an array or slice, got {}",
            go_type(input)
        )]);
    };
    let mut faults: Vec<String> = entries
        .iter()
        .enumerate()
        .filter(|(_, entry)| !entry.is_object())
        .map(|(n, entry)| format!("[{n}] expected a map, got '{}'", go_type(entry)))
        .collect();
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut items = Vec::with_capacity(entries.len());
    for (n, entry) in entries.iter().enumerate() {
        let Some(map) = entry.as_object() else {
            continue;
        };
        let mut text = |name: &str| match map.get(name) {
            None => String::new(),
            Some(Value::Null) if name != "plaintext" => String::new(),
            Some(Value::String(s)) => s.clone(),
            Some(other) => {
                faults.push(format!(
                    "'[{n}].{name}' expected type 'string', got unconvertible type '{}'",
                    go_type(other)
                ));
                String::new()
            }
        };
        let mut item = Item {
            index: Some(n),
            payload: text(what.field()),
            reference: text("reference"),
            ..Item::default()
        };
        item.associated_data = text("associated_data");
        item.nonce = !text("nonce").is_empty();
        let context = text("context");
        item.has_context = !context.is_empty();
        match gobase64::decode(&context) {
            Ok(context) => item.context = context,
            Err(text) => item.fault = Some(text),
        }
        if !map.contains_key(what.field()) {
            faults.push(format!("'[{n}].{}' {}", what.field(), what.missing()));
        } else if item.payload.is_empty() && what != What::Plaintext {
            item.fault = Some(what.missing().to_owned());
        }
        match map.get("key_version") {
            None | Some(Value::Null) => {}
            Some(Value::Number(v)) if v.is_i64() => {
                item.key_version = v.as_i64().unwrap_or_default()
            }
            Some(other) => {
                faults.push(format!(
                    "'[{n}].key_version' expected type 'int', got unconvertible type '{}'",
                    go_type(other)
                ));
            }
        }
        items.push(item);
    }
    if faults.is_empty() {
        Ok(items)
    } else {
        Err(faults)
    }
}

/// Rewrapping reads its items with less care: numbers are texts, and what is missing is empty.
fn parse_loosely(input: &Value, openbao: bool) -> Result<Vec<Item>, Vec<String>> {
    let Some(entries) = input.as_array() else {
        let colon = if openbao { "" } else { ":" };
        return Err(vec![format!(
            "''{colon} source data must be an array or slice, got {}",
            go_kind(input)
        )]);
    };
    let mut faults = Vec::new();
    let mut items = Vec::with_capacity(entries.len());
    for (n, entry) in entries.iter().enumerate() {
        let empty = Map::new();
        let map = match entry {
            Value::Object(map) => map,
            Value::Null => &empty,
            other => {
                let kind = go_kind(other);
                faults.push(if openbao {
                    format!("'[{n}]' expected a map or struct, got {kind:?}")
                } else {
                    format!("'[{n}]' expected a map, got '{kind}'")
                });
                continue;
            }
        };
        let mut text = |name: &str| match map.get(name) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(s)) => s.clone(),
            Some(Value::Number(v)) => v.to_string(),
            Some(other) => {
                faults.push(format!(
                    "'[{n}].{name}' expected type 'string', got unconvertible type '{}'",
                    go_type(other)
                ));
                String::new()
            }
        };
        let mut item = Item {
            index: Some(n),
            payload: text("ciphertext"),
            reference: text("reference"),
            nonce: !text("nonce").is_empty(),
            ..Item::default()
        };
        let context = text("context");
        item.has_context = !context.is_empty();
        match gobase64::decode(&context) {
            Ok(context) => item.context = context,
            Err(text) => item.fault = Some(text),
        }
        if item.payload.is_empty() {
            item.fault = Some(What::Rewrap.missing().to_owned());
        }
        item.key_version = map.get("key_version").and_then(Value::as_i64).unwrap_or(0);
        items.push(item);
    }
    if faults.is_empty() {
        Ok(items)
    } else {
        Err(faults)
    }
}

fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
        Value::Bool(_) => "bool",
        Value::Null => "invalid",
        _ => "string",
    }
}

/// The answer. An error in any item makes the status 400 (500 if all errors are internal), with the results of all items.
pub(super) fn respond(
    call: &Call,
    what: What,
    items: &[Item],
    made: Vec<Result<Map<String, Value>, ItemError>>,
    many: bool,
) -> Outcome {
    if !many {
        return match made.into_iter().next() {
            Some(Ok(data)) => Ok(Some(Reply {
                data: Some(data),
                ..Reply::default()
            })),
            Some(Err(ItemError::User(text) | ItemError::Quiet(text))) => Err(Refused::bad(text)),
            Some(Err(ItemError::Internal(text))) => Err(Refused::internal(text)),
            None => Err(Refused::bad(what.missing())),
        };
    }
    let user = made.iter().any(|m| matches!(m, Err(ItemError::User(_))));
    let internal = made
        .iter()
        .any(|m| matches!(m, Err(ItemError::Internal(_))));
    let some_good = made.iter().any(Result::is_ok);
    let results: Vec<Value> = items
        .iter()
        .zip(made)
        .map(|(item, made)| {
            let mut out = match made {
                Ok(data) => data,
                Err(error) => {
                    let mut out = Map::new();
                    if what == What::Ciphertext {
                        out.insert("plaintext".to_owned(), "".into());
                    }
                    out.insert("error".to_owned(), error.text().into());
                    out
                }
            };
            out.insert("reference".to_owned(), item.reference.as_str().into());
            Value::Object(out)
        })
        .collect();
    let mut reply = Reply::data(json!({ "batch_results": results }));
    if user || internal {
        let code = if user { 400 } else { 500 };
        let mut status = code;
        if let Some(wanted) = call
            .args
            .opt_int("partial_failure_response_code")
            .filter(|_| some_good)
        {
            match u16::try_from(wanted).ok().filter(|c| (1..600).contains(c)) {
                Some(wanted) => status = wanted,
                None => reply.warnings.push(format!(
                    "invalid HTTP response code override from partial_failure_response_code, reverting to {code}"
                )),
            }
        }
        reply.status = Some(status);
        reply.finished = true;
    }
    Ok(Some(reply))
}
