//! Which tests hold the model to which requirement: read out of the tests' own names.
//!
//! A test `fn kms2_conn_10_the_pauses_between_dials` belongs to `KMS2-CONN-10`. Requirements that
//! this crate cannot be held to have a reason instead.

use std::fmt::Write;

/// The files with tests named after requirements.
const SOURCES: [(&str, &str); 8] = [
    ("wire", include_str!("../tests/it/wire.rs")),
    ("conn", include_str!("../tests/it/conn.rs")),
    ("state", include_str!("../tests/it/state.rs")),
    ("values", include_str!("../tests/it/values.rs")),
    ("outage", include_str!("../tests/it/outage.rs")),
    ("health", include_str!("../tests/it/health.rs")),
    ("config", include_str!("../tests/it/config.rs")),
    ("itest", include_str!("../tests/it/itest.rs")),
];

/// Why no test of this crate is about a requirement on the API server.
const REASONS: [(&str, &str); 6] = [
    (
        "KMS2-CONN-03",
        "opens no connection: the server around the model does",
    ),
    (
        "KMS2-LOG-03",
        "says that something does not exist (audit annotations), and traces, which are not modelled",
    ),
    (
        "KMS2-RELOAD-01",
        "a command-line flag: the server process has it",
    ),
    (
        "KMS2-WRITE-03",
        "an HTTP status: the server around the model gives it",
    ),
    (
        "KMS2-DEC-13",
        "of the store and the watch cache: the server around the model has them",
    ),
    (
        "KMS2-DEC-14",
        "of the store and the watch cache: the server around the model has them",
    ),
];

/// The tests of this crate for one requirement, such as `apiserver conn::kms2_conn_10_...`.
pub fn tests(id: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (module, source) in SOURCES {
        let names = named(source);
        let own = names.into_iter().filter(|(of, _)| of == id);
        found.extend(own.map(|(_, name)| format!("kms-apiserver {module}::{name}")));
    }
    found
}

/// Why this crate has no test for a requirement, if there is a reason.
pub fn reason(id: &str) -> Option<&'static str> {
    let known = REASONS.iter().find(|(of, _)| *of == id);
    known.map(|(_, why)| *why)
}

/// Tests in a source that are named after requirements, with the requirement.
pub fn named(source: &str) -> Vec<(String, String)> {
    let tests = source
        .lines()
        .filter_map(|line| line.trim_start().split_once("fn kms2_"))
        .filter_map(|(_, rest)| rest.split_once('('));
    tests
        .filter_map(|(name, _)| {
            let mut words = name.split('_');
            let (area, number) = (words.next()?, words.next()?);
            let mut id = String::new();
            // Writing to a String cannot fail.
            let _ = write!(id, "KMS2-{}-{number}", area.to_ascii_uppercase());
            Some((id, format!("kms2_{name}")))
        })
        .collect()
}

/// Tests in a source whose documentation mentions requirements by their full ids, with each of
/// these.
pub fn mentioned(source: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut ids: Vec<String> = Vec::new();
    for line in source.lines().map(str::trim_start) {
        if let Some(text) = line.strip_prefix("///") {
            let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-');
            ids.extend(
                words
                    .filter(|word| word.starts_with("KMS2-"))
                    .map(str::to_owned),
            );
        } else if let Some((_, rest)) = line.split_once("fn ") {
            let name = rest.split(['(', '<']).next().unwrap_or_default();
            found.extend(ids.drain(..).map(|id| (id, name.to_owned())));
        } else if !line.starts_with('#') {
            ids.clear();
        }
    }
    found
}
