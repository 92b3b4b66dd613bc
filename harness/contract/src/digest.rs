//! The registry's digest: which requirements a report was judged by.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::requirement::Requirement;

/// SHA-256 over the canonical form of all requirements, as `sha256:<64 hex digits>`.
pub fn registry_digest() -> String {
    digest_of(crate::all())
}

/// SHA-256 over the canonical form of these requirements, in the order given.
pub fn digest_of<'a>(requirements: impl IntoIterator<Item = &'a Requirement>) -> String {
    let mut hash = Sha256::new();
    for requirement in requirements {
        hash.update(canonical(requirement));
    }
    let mut text = String::from("sha256:");
    for byte in hash.finalize() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// One line for each field, `name=value`, and an empty line at the end. Values hold no line end,
/// which a test makes sure of, so that two different entries never look alike.
fn canonical(requirement: &Requirement) -> String {
    let known: Vec<_> = requirement
        .confidence
        .iter()
        .map(|known| known.as_str())
        .collect();
    let until = requirement
        .until
        .map_or(String::new(), |last| last.to_string());
    let fields = [
        ("id", requirement.id),
        ("title", requirement.title),
        ("sentence", requirement.sentence),
        ("who", requirement.who.as_str()),
        ("level", requirement.level.as_str()),
        ("basis", requirement.basis.as_str()),
        ("confidence", &known.join(",")),
        ("source", requirement.source),
        ("since", &requirement.since.to_string()),
        ("until", &until),
        (
            "sourceConflict",
            requirement.source_conflict.unwrap_or_default(),
        ),
        ("reason", requirement.reason.unwrap_or_default()),
    ];
    let mut text = String::new();
    for (name, value) in fields {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name}={value}");
    }
    text.push('\n');
    text
}
