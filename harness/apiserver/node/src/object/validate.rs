//! What the server checks before it takes an object, with the texts of the real one.

use super::{Body, Object};

/// One fault: where, its text, and the reason in a `Status`'s causes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The field's path.
    pub field: String,
    /// `FieldValueRequired`, `FieldValueInvalid` or `FieldValueForbidden`.
    pub reason: &'static str,
    /// The text after the path.
    pub text: String,
}

impl Fault {
    fn new(field: impl Into<String>, reason: &'static str, text: impl Into<String>) -> Self {
        Fault {
            field: field.into(),
            reason,
            text: text.into(),
        }
    }
}

const INVALID: &str = "FieldValueInvalid";
const FORBIDDEN: &str = "FieldValueForbidden";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

/// The longest sum of values of a Secret or ConfigMap, in bytes.
const MAX_DATA: usize = 1 << 20;

/// The faults of an object as such.
pub fn object(object: &Object) -> Vec<Fault> {
    let mut faults = Vec::new();
    let name = &object.meta.name;
    if name.is_empty() {
        faults.push(Fault::new(
            "metadata.name",
            "FieldValueRequired",
            "Required value: name or generateName is required",
        ));
    } else {
        let (good, text) = if object.resource().namespaced() {
            (subdomain(name, 253), SUBDOMAIN)
        } else {
            (label(name, 63), LABEL)
        };
        if !good {
            faults.push(Fault::new(
                "metadata.name",
                INVALID,
                format!("Invalid value: {name:?}: {text}"),
            ));
        }
    }
    let (keys, size): (Vec<&String>, usize) = match &object.body {
        Body::Secret(secret) => (
            secret.data.keys().collect(),
            secret.data.values().map(|value| value.0.len()).sum(),
        ),
        Body::ConfigMap(map) => (
            map.data.keys().chain(map.binary_data.keys()).collect(),
            map.data
                .values()
                .map(String::len)
                .chain(map.binary_data.values().map(|value| value.0.len()))
                .sum(),
        ),
        Body::Namespace(_) => (Vec::new(), 0),
    };
    for key in keys {
        let good = !key.is_empty()
            && key.len() <= 253
            && key
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        if !good {
            faults.push(Fault::new(
                format!("data[{key}]"),
                INVALID,
                format!("Invalid value: {key:?}: {KEY}"),
            ));
        }
    }
    if size > MAX_DATA {
        faults.push(Fault::new(
            "data",
            "FieldValueTooLong",
            format!("Too long: may not be more than {MAX_DATA} bytes"),
        ));
    }
    faults
}

/// The faults of a change.
pub fn update(old: &Object, new: &Object) -> Vec<Fault> {
    let mut faults = object(new);
    match (&old.body, &new.body) {
        (Body::Secret(old), Body::Secret(new)) => {
            if old.kind != new.kind {
                faults.push(Fault::new(
                    "type",
                    INVALID,
                    format!("Invalid value: {:?}: field is immutable", new.kind),
                ));
            }
            if old.immutable == Some(true) && (old.data != new.data || new.immutable != Some(true))
            {
                faults.push(frozen());
            }
        }
        (Body::ConfigMap(old), Body::ConfigMap(new))
            if old.immutable == Some(true) && old != new =>
        {
            faults.push(frozen());
        }
        _ => {}
    }
    faults
}

fn frozen() -> Fault {
    Fault::new(
        "data",
        FORBIDDEN,
        "Forbidden: field is immutable when `immutable` is set",
    )
}

fn subdomain(name: &str, longest: usize) -> bool {
    name.len() <= longest && name.split('.').all(|part| label(part, longest))
}

fn label(name: &str, longest: usize) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() <= longest
        && name.bytes().all(|byte| alphanumeric(byte) || byte == b'-')
        && name.bytes().next().is_some_and(alphanumeric)
        && name.bytes().last().is_some_and(alphanumeric)
}
