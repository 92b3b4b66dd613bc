//! Parameters of an endpoint: their types, the coercions both servers do, and the texts of what they refuse.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::{duration, flavour::Flavour};

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Numbers and booleans become text.
    Text,
    /// Numeric text becomes a number; `1.0` does not.
    Int,
    Bool,
    /// `1h`, `3600` or `"3600"`; becomes seconds.
    Seconds,
    /// The same, but may be negative.
    Leeway,
    /// A list of texts, or one text with commas.
    Texts,
    /// A list of texts or one text, commas and all.
    Names,
    /// A list of whole numbers, or one text with commas.
    Ints,
    /// A map of texts, also as JSON text or `k=v`.
    Pairs,
    /// Any object.
    Object,
    /// Left as it is.
    Any,
}

/// Name and type.
pub(crate) type Field = (&'static str, Kind);

/// Go's name of a JSON value's type.
pub(crate) fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(_) => "json.Number",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// Converts one value. The error is the text after `error converting input for field "x": `.
pub(crate) fn convert(kind: Kind, value: &Value) -> Result<Value, String> {
    let unconvertible = |to: &str| {
        format!(
            "'' expected type '{to}', got unconvertible type '{}'",
            go_type(value)
        )
    };
    Ok(match (kind, value) {
        (Kind::Any, v) => v.clone(),
        (Kind::Text, Value::Null) => Value::String(String::new()),
        (Kind::Text, Value::String(_)) => value.clone(),
        (Kind::Text, Value::Number(n)) => Value::String(n.to_string()),
        (Kind::Text, Value::Bool(b)) => Value::String(if *b { "1" } else { "0" }.to_owned()),
        (Kind::Text, _) => return Err(unconvertible("string")),
        (Kind::Int, Value::Null) => 0.into(),
        (Kind::Int, Value::Number(n)) if n.is_i64() => value.clone(),
        (Kind::Int, Value::Bool(b)) => i64::from(*b).into(),
        (Kind::Int, Value::String(s)) if s.is_empty() => 0.into(),
        (Kind::Int, Value::String(s)) => match parse_int(s) {
            Some(n) => n.into(),
            None => {
                return Err(
                    "'' cannot parse value as 'int': strconv.ParseInt: invalid syntax".to_owned(),
                );
            }
        },
        (Kind::Int, Value::Number(_)) => {
            return Err(
                "'' cannot parse value as 'int': strconv.ParseInt: invalid syntax".to_owned(),
            );
        }
        (Kind::Int, _) => return Err(unconvertible("int")),
        (Kind::Bool, Value::Null) => false.into(),
        (Kind::Bool, Value::Bool(_)) => value.clone(),
        (Kind::Bool, Value::Number(n)) => (n.as_f64() != Some(0.0)).into(),
        (Kind::Bool, Value::String(s)) => match s.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => true.into(),
            "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => false.into(),
            _ => {
                return Err(
                    "'' cannot parse value as 'bool': strconv.ParseBool: invalid syntax".to_owned(),
                );
            }
        },
        (Kind::Bool, _) => return Err(unconvertible("bool")),
        (Kind::Seconds, Value::Null) => 0.into(),
        (Kind::Seconds, Value::String(s)) => match duration::parse(s) {
            Some(Ok(d)) => d.as_secs().into(),
            Some(Err(text)) => {
                // in seconds, whatever the unit was
                let seconds = match duration::parse(text.trim_start_matches('-')) {
                    Some(Ok(d)) => format!("-{}", d.as_secs()),
                    _ => text,
                };
                return Err(format!("cannot provide negative value '{seconds}'"));
            }
            None => return Err(duration::fault(s)),
        },
        (Kind::Seconds, Value::Number(n)) => match n.as_i64() {
            Some(n) if n < 0 => return Err(format!("cannot provide negative value '{n}'")),
            Some(n) => n.into(),
            None => return Err(duration::fault(&n.to_string())),
        },
        (Kind::Seconds, _) => return Err("could not parse duration from input".to_owned()),
        (Kind::Leeway, Value::Null) => 0.into(),
        (Kind::Leeway, Value::Number(n)) if n.is_i64() => value.clone(),
        (Kind::Leeway, Value::String(s)) => match duration::parse(s) {
            Some(Ok(d)) => d.as_secs().into(),
            Some(Err(text)) => text.parse::<i64>().unwrap_or(-1).into(),
            None => return Err(duration::fault(s)),
        },
        (Kind::Leeway, _) => return Err("could not parse duration from input".to_owned()),
        (Kind::Texts, Value::Null) => Value::Array(Vec::new()),
        (Kind::Texts, Value::Array(items)) => {
            let texts: Result<Vec<Value>, String> =
                items.iter().map(|v| convert(Kind::Text, v)).collect();
            Value::Array(texts?.into_iter().map(trimmed).collect())
        }
        (Kind::Texts, Value::Object(_)) => {
            return Err(format!(
                "1 error(s) decoding:\n\n* '[0]' expected type 'string', got unconvertible type 'map[string]interface {{}}', value: '{}'",
                go_value(value)
            ));
        }
        (Kind::Texts, v) => {
            let text = convert(Kind::Text, v)?;
            let text = text.as_str().unwrap_or_default();
            let parts = text.split(',').map(str::trim).map(Value::from);
            Value::Array(parts.filter(|_| !text.is_empty()).collect())
        }
        (Kind::Ints, v) => {
            let items = match v {
                Value::Null => Vec::new(),
                Value::Array(items) => items.clone(),
                Value::String(text) => text
                    .split(',')
                    .map(|part| Value::from(part.trim()))
                    .filter(|part| part != "")
                    .collect(),
                other => vec![other.clone()],
            };
            let ints: Result<Vec<Value>, String> = items
                .iter()
                .enumerate()
                .map(|(n, item)| convert(Kind::Int, item).map_err(|fault| at_item(n, item, &fault)))
                .collect();
            Value::Array(ints?)
        }
        (Kind::Names, Value::Object(_)) => {
            return Err("decoding failed due to the following error(s):\n\n'[0]' expected type 'string', got unconvertible type 'map[string]interface {}'".to_owned());
        }
        (Kind::Names, v) => v.clone(),
        (Kind::Pairs, Value::Null) => Value::Null,
        (Kind::Pairs, Value::Array(items)) if items.iter().all(Value::is_string) => Value::Object(
            items
                .iter()
                .filter_map(|v| v.as_str()?.split_once('='))
                .map(|(k, v)| (k.to_owned(), v.into()))
                .collect(),
        ),
        (Kind::Pairs, Value::Object(map)) => {
            let mut out = Map::new();
            for (k, v) in map {
                let text = convert(Kind::Text, v).map_err(|fault| {
                    format!(
                        "decoding failed due to the following error(s):\n\n{}",
                        fault.replacen("''", "'[0]'", 1)
                    )
                })?;
                out.insert(k.clone(), text);
            }
            Value::Object(out)
        }
        (Kind::Pairs, Value::String(s)) => match serde_json::from_str(s) {
            Ok(v @ Value::Object(_)) => return convert(Kind::Pairs, &v),
            _ => Value::Object(
                s.split(',')
                    .filter_map(|p| p.split_once('='))
                    .map(|(k, v)| (k.to_owned(), v.into()))
                    .collect(),
            ),
        },
        (Kind::Pairs, _) => return Err(unconvertible("map[string]string")),
        (Kind::Object, Value::Null) => Value::Object(Map::new()),
        (Kind::Object, Value::Object(_)) => value.clone(),
        // a list of objects is taken for their union
        (Kind::Object, Value::Array(items)) => {
            let mut union = Map::new();
            for (n, item) in items.iter().enumerate() {
                let place = |fault: String| fault.replacen("''", &format!("'[{n}]'"), 1);
                union.extend(crate::reply::object(
                    convert(Kind::Object, item).map_err(place)?,
                ));
            }
            Value::Object(union)
        }
        (Kind::Object, _) => return Err(unconvertible(OBJECT)),
    })
}

/// What a field that takes objects wants.
const OBJECT: &str = "map[string]interface {}";

/// A fault of one item. How it is dressed depends on the server: see [`conversion_error`].
fn at_item(n: usize, item: &Value, fault: &str) -> String {
    format!(
        "{ITEM}{}\n{}",
        fault.replacen("''", &format!("'[{n}]'"), 1),
        go_value(item)
    )
}

/// Marks the fault of an item; its value follows in a line of its own.
const ITEM: &str = "item: ";

fn trimmed(value: Value) -> Value {
    match value {
        Value::String(s) => Value::String(s.trim().to_owned()),
        other => other,
    }
}

fn parse_int(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let n = match digits.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    Some(if negative { -n } else { n })
}

/// Vault's texts name the value that could not be read.
pub(crate) fn conversion_error(flavour: Flavour, name: &str, value: &Value, text: &str) -> String {
    if let Some((fault, item)) = text.strip_prefix(ITEM).and_then(|t| t.split_once('\n')) {
        return item_error(flavour, name, value, fault, item);
    }
    if flavour.is_openbao() {
        return format!("error converting input for field {name:?}: {text}");
    }
    let shown = go_value(value);
    let text = match text {
        t if t.contains("as 'int'") => {
            format!("cannot parse '' as int: strconv.ParseInt: parsing {shown:?}: invalid syntax")
        }
        t if t.contains("as 'bool'") => {
            format!("cannot parse '' as bool: strconv.ParseBool: parsing {shown:?}: invalid syntax")
        }
        t if t.contains(&format!("expected type '{OBJECT}'")) => {
            let place = t.split(' ').next().unwrap_or_default();
            // numbers are texts to Go's decoder
            let kind = if t.ends_with("'bool'") {
                "bool"
            } else {
                "string"
            };
            format!("{place} expected a map, got '{kind}'")
        }
        t if t.contains("unconvertible") => format!("{t}, value: '{shown}'"),
        t => t.to_owned(),
    };
    format!("error converting input {shown} for field {name:?}: {text}")
}

/// The same for one item of a list.
fn item_error(flavour: Flavour, name: &str, value: &Value, fault: &str, item: &str) -> String {
    if flavour.is_openbao() {
        return format!(
            "error converting input for field {name:?}: decoding failed due to the following error(s):\n\n{fault}"
        );
    }
    let place = fault.split(' ').next().unwrap_or_default();
    let text = if fault.contains("as 'int'") {
        format!("cannot parse {place} as int: strconv.ParseInt: parsing {item:?}: invalid syntax")
    } else {
        format!("{fault}, value: '{item}'")
    };
    format!(
        "error converting input {} for field {name:?}: 1 error(s) decoding:\n\n* {text}",
        go_value(value)
    )
}

/// A value as Go's `%v` prints it.
pub(crate) fn go_value(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => n.to_string(),
        Value::String(s) => s.clone(),
        Value::Array(items) => format!(
            "[{}]",
            items.iter().map(go_value).collect::<Vec<_>>().join(" ")
        ),
        Value::Object(map) => {
            let pairs: Vec<String> = map
                .iter()
                .map(|(k, v)| format!("{k}:{}", go_value(v)))
                .collect();
            format!("map[{}]", pairs.join(" "))
        }
    }
}

/// The parameters of one request after conversion; only the present ones are in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Args(pub Map<String, Value>);

impl Args {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A parameter that the handler reads itself, as text; `None` if absent or null.
    pub(crate) fn text_of(&self, name: &str) -> Option<String> {
        match self.0.get(name)? {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    /// Empty if absent.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn opt_text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    pub(crate) fn opt_int(&self, name: &str) -> Option<i64> {
        self.0.get(name).and_then(Value::as_i64)
    }

    pub(crate) fn int(&self, name: &str) -> i64 {
        self.opt_int(name).unwrap_or(0)
    }

    pub(crate) fn opt_bool(&self, name: &str) -> Option<bool> {
        self.0.get(name).and_then(Value::as_bool)
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.opt_bool(name).unwrap_or(false)
    }

    pub(crate) fn opt_seconds(&self, name: &str) -> Option<Duration> {
        self.0
            .get(name)
            .and_then(Value::as_u64)
            .map(Duration::from_secs)
    }

    pub(crate) fn seconds(&self, name: &str) -> Duration {
        self.opt_seconds(name).unwrap_or_default()
    }

    pub(crate) fn opt_texts(&self, name: &str) -> Option<Vec<String>> {
        let items = self.0.get(name)?.as_array()?;
        Some(
            items
                .iter()
                .filter_map(|v| v.as_str().map(str::to_owned))
                .collect(),
        )
    }

    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        self.opt_texts(name).unwrap_or_default()
    }

    pub(crate) fn pairs(&self, name: &str) -> Option<std::collections::BTreeMap<String, String>> {
        let map = self.0.get(name)?.as_object()?;
        Some(
            map.iter()
                .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
                .collect(),
        )
    }
}
