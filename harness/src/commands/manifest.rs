//! Manifests as `kubectl apply -f -` takes them: YAML for eyes, one JSON list for programs.

use std::fmt::Write;

use anyhow::Context;
use serde_json::{Value, json};

use crate::cli::Format;
use crate::console;
use crate::exit::{self, Failure};

/// Prints objects, below a comment.
pub fn print(comment: &str, objects: &[Value], format: Format) -> Result<u8, Failure> {
    let text = match format {
        Format::Json => {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
            let mut text = serde_json::to_string_pretty(&list).context("write a manifest")?;
            text.push('\n');
            text
        }
        Format::Text => {
            let mut text: String = comment.lines().map(|line| format!("# {line}\n")).collect();
            for object in objects {
                text.push_str("---\n");
                block(&mut text, object, 0);
            }
            text
        }
    };
    console::result(&text).context("print the manifest")?;
    Ok(exit::HELD)
}

/// A value below its key, in block style. Empty ones, and what is no collection, are written as JSON, which is YAML.
fn block(text: &mut String, value: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let _ = write!(text, "{indent}{}:", scalar(name));
                below(text, value, depth);
            }
        }
        Value::Array(values) => {
            for value in values {
                let mut own = String::new();
                if nested(value) {
                    block(&mut own, value, depth + 1);
                } else {
                    let _ = writeln!(own, "{indent}  {}", plain(value));
                }
                let _ = write!(text, "{indent}- {}", own.trim_start());
            }
        }
        other => {
            let _ = writeln!(text, "{indent}{}", plain(other));
        }
    }
}

fn below(text: &mut String, value: &Value, depth: usize) {
    if nested(value) {
        text.push('\n');
        block(text, value, depth + 1);
    } else {
        let _ = writeln!(text, " {}", plain(value));
    }
}

fn nested(value: &Value) -> bool {
    match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(values) => !values.is_empty(),
        _ => false,
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

/// A word that YAML takes for nothing else stands as it is.
fn scalar(text: &str) -> String {
    let word = |letter: char| letter.is_ascii_alphanumeric() || "-_./".contains(letter);
    let begins = text
        .chars()
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic());
    let other = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    let meant = other.contains(&text.to_ascii_lowercase().as_str());
    if begins && !meant && text.chars().all(word) {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collections_in_block_style_and_words_that_could_be_taken_for_others_in_quotes() {
        let value = json!({
            "kind": "Role", "empty": {}, "none": [],
            "rules": [{"apiGroups": [""], "verbs": ["get", "no"]}, {"n": "1"}],
            "count": 3,
        });
        let mut text = String::new();
        block(&mut text, &value, 0);
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        let mut wanted = vec![
            "kind: Role",
            "empty: {}",
            "none: []",
            "rules:",
            "  - apiGroups:",
            "      - \"\"",
            "    verbs:",
            "      - get",
            "      - \"no\"",
            "  - \"n\": \"1\"",
            "count: 3",
        ];
        wanted.sort_unstable();
        assert_eq!(lines, wanted, "{text}");
    }
}
