//! Endpoints of an engine as a table: pattern, parameters, operations.

use serde_json::{Map, Value};

use crate::{
    call::{Call, Op},
    core::Core,
    fields::Field,
    reply::{Outcome, Refused},
};

/// Carries out one operation.
pub(crate) type Handler = fn(&mut Core, &Call) -> Outcome;
/// Whether the thing is there already: decides between `create` and `update`.
pub(crate) type Exists = fn(&mut Core, &Call) -> Result<bool, Refused>;

/// One endpoint.
///
/// Patterns are segments between slashes; `{x}` takes a name of letters, digits, `_`, and `-` and `.` inside;
/// `{x:any}` the whole rest, `{x:all}` if it is nothing, too; `{x:word}` letters and digits; `{x:seg}` anything without a slash.
/// `?` at the end allows a trailing slash.
pub(crate) struct Endpoint {
    pub pattern: &'static str,
    pub fields: &'static [Field],
    pub ops: &'static [(Op, Handler)],
    pub exists: Option<Exists>,
}

impl Endpoint {
    pub(crate) fn handler(&self, op: Op) -> Option<Handler> {
        let same =
            |o: Op| o == op || (o == Op::Update && op == Op::Create && self.exists.is_none());
        self.ops.iter().find(|(o, _)| same(*o)).map(|(_, h)| *h)
    }
}

/// The endpoint of a path and what the pattern captured.
pub(crate) fn find<'t>(
    table: &'t [Endpoint],
    path: &str,
) -> Option<(&'t Endpoint, Map<String, Value>)> {
    table
        .iter()
        .find_map(|e| matches(e.pattern, path).map(|captured| (e, captured)))
}

/// `\w(([\w-.]+)?\w)?`
pub(crate) fn is_name(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = text.as_bytes();
    matches!((bytes.first(), bytes.last()), (Some(&a), Some(&z)) if word(a) && word(z))
        && bytes.iter().all(|&b| word(b) || b == b'-' || b == b'.')
}

fn matches(pattern: &str, path: &str) -> Option<Map<String, Value>> {
    let (pattern, path) = match pattern.strip_suffix('?') {
        Some(pattern) => (pattern, path.strip_suffix('/').unwrap_or(path)),
        None => (pattern, path),
    };
    let mut captured = Map::new();
    let mut rest = Some(path);
    for part in pattern.split('/') {
        let here = rest?;
        let Some(hole) = part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) else {
            let (segment, tail) = split(here);
            if segment != part {
                return None;
            }
            rest = tail;
            continue;
        };
        let (name, kind) = hole.split_once(':').unwrap_or((hole, "name"));
        let (value, tail) = if matches!(kind, "any" | "all") {
            (here, None)
        } else {
            split(here)
        };
        let fits = match kind {
            "name" => is_name(value),
            "word" => {
                !value.is_empty()
                    && value
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b == b'_')
            }
            "all" => true,
            _ => !value.is_empty(),
        };
        if !fits {
            return None;
        }
        captured.insert(name.to_owned(), value.into());
        rest = tail;
    }
    rest.is_none().then_some(captured)
}

fn split(path: &str) -> (&str, Option<&str>) {
    match path.split_once('/') {
        Some((segment, tail)) => (segment, Some(tail)),
        None => (path, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_take_what_the_servers_take() {
        assert_eq!(
            matches("keys/{name}", "keys/kms-key").unwrap()["name"],
            "kms-key"
        );
        for path in [
            "keys/-a", "keys/a.", "keys/a b", "keys/a/b", "keys/", "keys/a/",
        ] {
            assert!(matches("keys/{name}", path).is_none(), "{path}");
        }
        assert!(matches("keys?", "keys/").is_some() && matches("keys?", "keys").is_some());
        assert_eq!(
            matches("mounts/{path:any}", "mounts/a/b").unwrap()["path"],
            "a/b"
        );
        assert!(matches("{path:any}", "").is_none());
        assert_eq!(matches("{path:all}", "").unwrap()["path"], "");
    }
}
