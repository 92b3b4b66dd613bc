//! Rows and texts of the commands `list` and `explain`.
//!
//! The registry does not know who checks what; callers hand that in as [`Coverage`].

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::requirement::{Level, Requirement, Who};
use crate::{all, areas, get, sources};

/// What checks, tests and breaks one requirement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Ids of the checks that judge it on a subject.
    pub checks: Vec<String>,
    /// Names of the tests that hold our own models to it.
    pub tests: Vec<String>,
    /// Names of the deliberately broken plugins that break it.
    pub zoo: Vec<String>,
}

/// One requirement as `kms-harness list` prints it. The form does not change: people script
/// against it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// `KMS2-<AREA>-<NN>`.
    pub id: String,
    /// `plugin`, `apiserver`, `both` or `info`.
    pub who: Who,
    /// `must`, `should` or `may`.
    pub level: Level,
    /// Sources in their short names, separated by `; `.
    pub source: String,
    /// First server version it holds for, such as `1.29`.
    pub since: String,
    /// Checks that judge it.
    pub checks: Vec<String>,
    /// Tests of our own models.
    pub tests: Vec<String>,
    /// Broken plugins that break it.
    pub zoo: Vec<String>,
    /// Why nothing tests it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Row {
    /// The row of one requirement.
    pub fn new(requirement: &Requirement, coverage: Coverage) -> Self {
        Row {
            id: requirement.id.to_owned(),
            who: requirement.who,
            level: requirement.level,
            source: requirement.source.to_owned(),
            since: requirement.since.to_string(),
            checks: coverage.checks,
            tests: coverage.tests,
            zoo: coverage.zoo,
            reason: requirement.reason.map(str::to_owned),
        }
    }
}

/// The rows of all requirements that bind `who` (everyone without it), in the registry's order.
pub fn rows(who: Option<Who>, mut coverage: impl FnMut(&Requirement) -> Coverage) -> Vec<Row> {
    all()
        .filter(|requirement| who.is_none_or(|wanted| wanted.includes(requirement.who)))
        .map(|requirement| Row::new(requirement, coverage(requirement)))
        .collect()
}

/// An id that the registry does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no requirement {id:?}; ids look like KMS2-ENC-05, {hint}")]
pub struct UnknownId {
    id: String,
    hint: String,
}

/// Looks an id up as people type it: in any case, and with or without `KMS2-`.
///
/// # Errors
/// If there is no such requirement; the text names the ids of the area, or the areas.
pub fn find(id: &str) -> Result<&'static Requirement, UnknownId> {
    let upper = id.trim().to_ascii_uppercase();
    let short = upper.strip_prefix("KMS2-").unwrap_or(&upper);
    get(&format!("KMS2-{short}")).ok_or_else(|| {
        let code = short.split('-').next().unwrap_or_default();
        let hint = match areas().iter().find(|area| area.code == code) {
            Some(area) => format!("{code} goes from 01 to {:02}", area.requirements.len()),
            None => {
                let codes: Vec<_> = areas().iter().map(|area| area.code).collect();
                format!("areas are {}", codes.join(", "))
            }
        };
        UnknownId {
            id: id.to_owned(),
            hint,
        }
    })
}

/// All that is known about one requirement, as text for a terminal.
pub fn explain(requirement: &Requirement, coverage: &Coverage) -> String {
    let mut text = format!("{}  {}\n\n", requirement.id, requirement.title);
    for line in wrap(requirement.sentence, 96) {
        text.push_str(&line);
        text.push('\n');
    }
    text.push('\n');
    let mut field = |name: &str, value: &str| {
        if !value.is_empty() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name:<12}{value}");
        }
    };
    field("binds", requirement.who.as_str());
    field("level", requirement.level.as_str());
    field("basis", requirement.basis.as_str());
    field(
        "profile",
        requirement.profile().map_or("", |profile| profile.as_str()),
    );
    let known: Vec<_> = requirement
        .confidence
        .iter()
        .map(|known| known.as_str())
        .collect();
    field("known by", &known.join(", "));
    let until = requirement
        .until
        .map_or(String::new(), |last| format!(", until {last}"));
    field("servers", &format!("since {}{until}", requirement.since));
    for source in requirement.sources() {
        match sources::expand(source) {
            Some(long) => field("source", &format!("{source}  ({long})")),
            None => field("source", source),
        }
    }
    field("conflict", requirement.source_conflict.unwrap_or_default());
    if requirement.is_unconfirmed() {
        field(
            "note",
            "only derived: a breach is a warning until a real API server confirmed it",
        );
    }
    field("checks", &coverage.checks.join(", "));
    field("tests", &coverage.tests.join(", "));
    field("zoo", &coverage.zoo.join(", "));
    field("no test", requirement.reason.unwrap_or_default());
    text
}

/// Breaks a text at blanks into lines of at most `width` characters, longer words excepted.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}
