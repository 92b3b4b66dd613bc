//! The file of one chaos run: a line that says what was run, then one line an event. Enough to judge it again.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::chaos::Entry;

/// Value of the first line's `format`.
pub const FORMAT: &str = "kms-chaos";

/// The only version that this build writes and reads.
pub const VERSION: u32 = 1;

/// What was run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// The scenario, as TOML.
    pub scenario: String,
    /// The root seed.
    pub seed: u64,
    /// The arm, such as `sim`.
    pub arm: String,
    /// The command that makes the run again.
    pub replay: String,
    /// The digest of the events.
    pub digest: String,
    /// Why the run broke off, if it did.
    pub trouble: Option<String>,
    /// How long it took, in seconds of real time.
    pub wall_seconds: f64,
}

/// The text of a file.
///
/// # Errors
/// A value that JSON cannot hold.
pub fn write(header: &Header, entries: &[Entry]) -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string(header)?;
    text.push('\n');
    for entry in entries {
        let line = serde_json::to_string(entry)?;
        writeln!(text, "{line}").expect("a String takes everything");
    }
    Ok(text)
}

/// Whether a file is of this kind, by its beginning.
#[must_use]
pub fn is(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    let first = serde_json::from_str::<serde_json::Value>(first);
    first.is_ok_and(|first| first["format"] == FORMAT)
}

/// Reads a file.
///
/// # Errors
/// What is wrong, with its line.
pub fn read(text: &str) -> Result<(Header, Vec<Entry>), String> {
    let mut lines = text.lines().zip(1_u64..);
    let (first, _) = lines.next().ok_or("line 1: the file is empty")?;
    if !is(text) {
        return Err(format!("line 1: this is no {FORMAT} file"));
    }
    let header: Header = serde_json::from_str(first).map_err(|error| format!("line 1: {error}"))?;
    if header.version != VERSION {
        let found = header.version;
        return Err(format!(
            "line 1: version {found} of {FORMAT} is not known, this build reads version {VERSION}"
        ));
    }
    let entries = lines.map(|(line, number)| {
        serde_json::from_str(line).map_err(|error| format!("line {number}: {error}"))
    });
    Ok((header, entries.collect::<Result<_, String>>()?))
}
