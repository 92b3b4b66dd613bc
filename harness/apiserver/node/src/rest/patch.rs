//! Patches. For the kinds served here a strategic merge patch differs from a merge patch (RFC 7396) in its directives
//! only: everything that people patch in them is a map.

use serde_json::{Map, Value};

/// How a patch is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `application/merge-patch+json`.
    Merge,
    /// `application/strategic-merge-patch+json`.
    Strategic,
}

/// The content types that are taken.
pub const ACCEPTED: &str = "application/merge-patch+json, application/strategic-merge-patch+json";

impl Kind {
    /// The kind of a content type.
    pub fn of(content_type: &str) -> Option<Self> {
        match content_type.split(';').next().map(str::trim) {
            Some("application/merge-patch+json") => Some(Kind::Merge),
            Some("application/strategic-merge-patch+json") => Some(Kind::Strategic),
            _ => None,
        }
    }
}

/// Applies a patch.
pub fn apply(kind: Kind, target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    let strategic = kind == Kind::Strategic;
    if strategic && patch.get("$patch").and_then(Value::as_str) == Some("replace") {
        let fields = patch
            .iter()
            .filter(|(key, _)| *key != "$patch")
            .map(|(key, value)| (key.clone(), value.clone()));
        *target = Value::Object(fields.collect());
        return;
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else {
        return;
    };
    for (key, value) in patch {
        if strategic && key.starts_with('$') {
            continue;
        }
        let deletes = strategic && value.get("$patch").and_then(Value::as_str) == Some("delete");
        if value.is_null() || deletes {
            fields.remove(key);
        } else {
            apply(
                kind,
                fields.entry(key.clone()).or_insert(Value::Null),
                value,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_patch_changes_adds_and_removes() {
        let mut target = json!({"data": {"a": "1", "b": "2"}, "metadata": {"labels": {"x": "y"}}});
        let patch =
            json!({"data": {"a": "3", "b": null, "c": {"d": null}}, "metadata": {"labels": null}});
        apply(Kind::Merge, &mut target, &patch);
        assert_eq!(target, json!({"data": {"a": "3", "c": {}}, "metadata": {}}));
    }

    #[test]
    fn directives_of_a_strategic_patch_are_no_fields() {
        let mut target = json!({"data": {"a": "1"}, "metadata": {"labels": {"x": "y"}}});
        let patch = json!({"data": {"$patch": "replace", "b": "2"}, "$setElementOrder/x": [], "metadata": {"labels": {"$patch": "delete"}}});
        apply(Kind::Strategic, &mut target, &patch);
        assert_eq!(target, json!({"data": {"b": "2"}, "metadata": {}}));
    }
}
