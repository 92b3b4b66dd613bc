//! What is wrong with a scenario file, where, and what to write instead.

use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The field, such as `fault[0].node`; empty for the file as a whole.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub fix: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        write!(f, "{}", self.message)?;
        if !self.fix.is_empty() {
            write!(f, "; {}", self.fix)?;
        }
        Ok(())
    }
}

/// One step to a field.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// A key of a table.
    Key(String),
    /// A place in an array.
    Index(usize),
}

/// The way to a field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(Vec<Step>);

impl Path {
    /// From the top by keys.
    #[must_use]
    pub fn of(keys: &[&str]) -> Self {
        Self(
            keys.iter()
                .map(|key| Step::Key((*key).to_owned()))
                .collect(),
        )
    }

    /// One key further.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        let mut path = self.clone();
        path.0.push(Step::Key(key.to_owned()));
        path
    }

    /// One place further.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        let mut path = self.clone();
        path.0.push(Step::Index(index));
        path
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if place == 0 => write!(f, "{key}")?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// The text and its parsed table: knows where fields stand.
pub struct Source<'a> {
    pub(super) text: &'a str,
    pub(super) table: &'a DeTable<'a>,
}

impl Source<'_> {
    /// Something wrong with a field, or with its absence: then the nearest table above it is shown.
    #[must_use]
    pub fn problem(
        &self,
        path: &Path,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Problem {
        let span = self.span(path);
        at(
            self.text,
            span.start,
            path.to_string(),
            message.into(),
            fix.into(),
        )
    }

    fn span(&self, path: &Path) -> Range<usize> {
        let mut span = 0..0;
        let mut value: Option<&Spanned<DeValue<'_>>> = None;
        for (place, step) in path.0.iter().enumerate() {
            let next = match (step, value) {
                (Step::Key(key), None) if place == 0 => self.table.get(key.as_str()),
                (Step::Key(key), Some(value)) => value.get_ref().get(key.as_str()),
                (Step::Index(index), Some(value)) => value.get_ref().get(*index),
                _ => None,
            };
            let Some(next) = next else { break };
            span = next.span();
            value = Some(next);
        }
        span
    }

    /// The field whose value covers a place in the text most closely.
    pub(super) fn field_at(&self, place: usize) -> Path {
        let mut path = Path::default();
        let mut found = Path::default();
        let mut width = usize::MAX;
        for (key, value) in self.table {
            path.0.push(Step::Key(key.get_ref().to_string()));
            cover(value, place, &mut path, &mut found, &mut width);
            path.0.pop();
        }
        found
    }
}

fn cover(
    value: &Spanned<DeValue<'_>>,
    place: usize,
    path: &mut Path,
    found: &mut Path,
    width: &mut usize,
) {
    let span = value.span();
    if span.contains(&place) && span.len() <= *width {
        *width = span.len();
        found.clone_from(path);
    }
    match value.get_ref() {
        DeValue::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                path.0.push(Step::Index(index));
                cover(value, place, path, found, width);
                path.0.pop();
            }
        }
        DeValue::Table(table) => {
            for (key, value) in table {
                path.0.push(Step::Key(key.get_ref().to_string()));
                cover(value, place, path, found, width);
                path.0.pop();
            }
        }
        _ => {}
    }
}

/// A problem at a byte of the text.
pub(super) fn at(text: &str, place: usize, field: String, message: String, fix: String) -> Problem {
    let before = text.get(..place).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Problem {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        field,
        message,
        fix,
    }
}
