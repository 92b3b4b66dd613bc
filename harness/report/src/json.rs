//! The canonical JSON: writing, reading, schema, digest.

use std::fmt::Write;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::model::{FORMAT, Report, SCHEMA_VERSION};

/// What a merged, repeated or re-rendered run may differ in: identity, environment and wall-clock
/// time. [`digest`] leaves it out. A `*` stands for each element of a list.
pub const UNSTABLE_FIELDS: &[&str] = &[
    "reportId",
    "runId",
    "createdAt",
    "generatedBy",
    "derivedFrom",
    "environment",
    "plan",
    "latency",
    "attachments",
    "subject.launch",
    "subject.observed.peerPid",
    "subject.observed.startTimes",
    "trust.calibration.at",
    "profiles.*.expiresAt",
    "requirements.*.checks.*.durationNs",
    "requirements.*.checks.*.attempts.*.durationNs",
    "scenarios.*.reason",
    "scenarios.*.wallDurationNs",
];

/// The report as JSON, the same bytes for the same report, with a line end at the end.
pub fn to_json(report: &Report) -> String {
    let mut text = serde_json::to_string_pretty(report)
        .expect("a report has string keys only, so it is always JSON");
    text.push('\n');
    text
}

/// A text that is no report this crate can read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not JSON.
    #[error("report is not JSON: {0}")]
    Syntax(serde_json::Error),
    /// It is JSON of another kind.
    #[error("report has format {found:?} where {FORMAT:?} is expected")]
    Format {
        /// Its `format`, empty if there is none.
        found: String,
    },
    /// Its version is none.
    #[error(
        "report has schemaVersion {found:?} where MAJOR.MINOR, such as {SCHEMA_VERSION:?}, is expected"
    )]
    Version {
        /// Its `schemaVersion`, empty if there is none.
        found: String,
    },
    /// Its version is one that this crate must not guess at.
    #[error(
        "report has schemaVersion {found:?}, this program reads 1.x: use the program that wrote it, or a newer one"
    )]
    Major {
        /// Its `schemaVersion`.
        found: String,
    },
    /// Its content is not what its version promises.
    #[error("report does not follow schemaVersion {SCHEMA_VERSION}: {0}")]
    Content(serde_json::Error),
}

/// A report, and what the reader should know about the reading.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// The report.
    pub report: Report,
    /// One line for each thing that was not understood and left out.
    pub warnings: Vec<String>,
}

/// Reads a report. One of a newer minor version is read with a warning, without the fields that
/// this crate does not know; another major version is refused.
///
/// # Errors
/// If it is not a report, of another major version, or not what its version promises.
pub fn from_json(text: &str) -> Result<Parsed, ReadError> {
    let mut value: Value = serde_json::from_str(text).map_err(ReadError::Syntax)?;
    let string = |name: &str| {
        value
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let format = string("format");
    if format != FORMAT {
        return Err(ReadError::Format { found: format });
    }
    let found = string("schemaVersion");
    let Some((major, minor)) = version(&found) else {
        return Err(ReadError::Version { found });
    };
    let (own_major, own_minor) = version(SCHEMA_VERSION).expect("our own version is well formed");
    if major != own_major {
        return Err(ReadError::Major { found });
    }
    let mut warnings = Vec::new();
    if minor > own_minor {
        warnings.push(format!(
            "report has schemaVersion {found}, newer than the {SCHEMA_VERSION} of this program"
        ));
        let schema = schema();
        let mut unknown = Vec::new();
        prune(&mut value, &schema, &schema, "", &mut unknown);
        warnings.extend(
            unknown
                .iter()
                .map(|path| format!("field {path} is unknown: left out")),
        );
    }
    // Read from the text where nothing was left out, so that an error names its line.
    let report = if warnings.len() > 1 {
        serde_json::from_value(value)
    } else {
        serde_json::from_str(text)
    };
    Ok(Parsed {
        report: report.map_err(ReadError::Content)?,
        warnings,
    })
}

/// Major and minor of `MAJOR.MINOR`.
fn version(text: &str) -> Option<(u32, u32)> {
    let number = |digits: &str| {
        let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
        if all_digits {
            digits.parse().ok()
        } else {
            None
        }
    };
    let (major, minor) = text.split_once('.')?;
    Some((number(major)?, number(minor)?))
}

/// Removes the members that a closed object of the schema does not have, and says where they were.
fn prune(value: &mut Value, schema: &Value, root: &Value, path: &str, unknown: &mut Vec<String>) {
    let schema = resolve(schema, root);
    match value {
        Value::Object(members) => {
            let Some(properties) = schema.get("properties") else {
                return;
            };
            let closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
            let names: Vec<String> = members.keys().cloned().collect();
            for name in names {
                let path = format!("{path}/{name}");
                match properties.get(&name) {
                    Some(inner) => {
                        if let Some(member) = members.get_mut(&name) {
                            prune(member, inner, root, &path, unknown);
                        }
                    }
                    None if closed => {
                        members.remove(&name);
                        unknown.push(path);
                    }
                    None => {}
                }
            }
        }
        Value::Array(elements) => {
            let Some(inner) = schema.get("items") else {
                return;
            };
            for (index, element) in elements.iter_mut().enumerate() {
                prune(element, inner, root, &format!("{path}/{index}"), unknown);
            }
        }
        _ => {}
    }
}

/// Follows `$ref`, also the one beside `null` in an optional member.
fn resolve<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    let choice = schema
        .get("anyOf")
        .and_then(|any| any.as_array()?.first())
        .unwrap_or(schema);
    choice
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|reference| root.pointer(reference.strip_prefix('#')?))
        .unwrap_or(choice)
}

/// The JSON schema of a report, generated from the types.
pub fn schema() -> Value {
    schemars::schema_for!(Report).to_value()
}

/// SHA-256, as `sha256:<hex>`, of the report without its [`UNSTABLE_FIELDS`]: two runs that say
/// the same about the same subject have the same digest.
pub fn digest(report: &Report) -> String {
    let mut value =
        serde_json::to_value(report).expect("a report has string keys only, so it is always JSON");
    for path in UNSTABLE_FIELDS {
        let parts: Vec<_> = path.split('.').collect();
        remove(&mut value, &parts);
    }
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(sorted(value).to_string()) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn remove(value: &mut Value, path: &[&str]) {
    match (path, value) {
        ([], _) => {}
        (["*", rest @ ..], Value::Array(elements)) => {
            elements
                .iter_mut()
                .for_each(|element| remove(element, rest));
        }
        ([name], Value::Object(members)) => {
            members.remove(*name);
        }
        ([name, rest @ ..], Value::Object(members)) => {
            if let Some(member) = members.get_mut(*name) {
                remove(member, rest);
            }
        }
        _ => {}
    }
}

/// The same value with members in the order of their names, whatever map serde_json was built with.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members
                .into_iter()
                .map(|(name, member)| (name, sorted(member)))
                .collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(members.into_iter().collect())
        }
        Value::Array(elements) => Value::Array(elements.into_iter().map(sorted).collect()),
        other => other,
    }
}
