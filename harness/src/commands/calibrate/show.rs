//! What a calibration says: a matrix for people, one JSON document for programs.

use std::fmt::Write;

use anyhow::Context;
use kms_zoo::Verdict;
use serde::{Deserialize, Serialize};

use super::Row;
use crate::cli::Format;
use crate::console;
use crate::exit::Failure;

/// The document. Its form does not change: people script against it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Every plugin of the zoo that was judged, the honest one first.
    pub mutants: Vec<Judged>,
    /// Those of which something that is broken was not named.
    pub survivors: Vec<String>,
    /// Those of which something else was named, or what is said to follow did not.
    pub wrong: Vec<String>,
}

/// One plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judged {
    /// Its id.
    pub id: String,
    /// The requirements that it breaks; of a chaos mutant the invariants.
    pub breaks: Vec<String>,
    /// What the suite named.
    pub caught_by: Vec<String>,
    /// `passed`, `caught`, `survived`, `wrong-id` or `nothing-followed`.
    pub verdict: String,
}

impl Document {
    /// Of some rows.
    pub fn of(rows: &[Row]) -> Self {
        let with = |wanted: fn(Verdict) -> bool| {
            let rows = rows.iter().filter(|row| wanted(row.verdict));
            rows.map(|row| row.mutant.id.to_owned()).collect()
        };
        Self {
            mutants: rows.iter().map(Judged::of).collect(),
            survivors: with(|verdict| verdict == Verdict::Survived),
            wrong: with(|verdict| matches!(verdict, Verdict::WrongId | Verdict::NothingFollowed)),
        }
    }

    /// As text, with a line end.
    ///
    /// # Errors
    /// It is no JSON, which would be a bug.
    pub fn json(&self) -> anyhow::Result<String> {
        let mut text = serde_json::to_string_pretty(self).context("write JSON")?;
        text.push('\n');
        Ok(text)
    }
}

impl Judged {
    fn of(row: &Row) -> Self {
        let named = row.seen.named(row.mutant);
        Self {
            id: row.mutant.id.to_owned(),
            breaks: row.mutant.breaks().map(str::to_owned).collect(),
            caught_by: named.map(str::to_owned).collect(),
            verdict: row.verdict.as_str().to_owned(),
        }
    }
}

/// Prints it.
pub fn print(rows: &[Row], format: Format) -> Result<(), Failure> {
    let document = Document::of(rows);
    let text = match format {
        Format::Json => document.json()?,
        Format::Text => matrix(rows, &document),
    };
    Ok(console::result(&text).context("print the matrix")?)
}

/// One line a plugin; what was seen of those that are not as they should be.
fn matrix(rows: &[Row], document: &Document) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    for (row, judged) in rows.iter().zip(&document.mutants) {
        let follows: Vec<&str> = row.mutant.follows().collect();
        let by = judged.caught_by.iter().map(|id| {
            let short = id.trim_start_matches("KMS2-");
            match follows.contains(&id.as_str()) {
                true => format!("({short})"),
                false => short.to_owned(),
            }
        });
        let by: Vec<String> = by.collect();
        let _ = writeln!(
            text,
            "{:<32} {:<17} {}",
            judged.id,
            judged.verdict,
            by.join(" ")
        );
        if row.attempts > 1 {
            let _ = writeln!(text, "    at the {}. attempt", row.attempts);
        }
        if !row.verdict.is_right() {
            let _ = writeln!(text, "    breaks {}", judged.breaks.join(", "));
            for line in row.seen.text.lines() {
                let _ = writeln!(text, "    {line}");
            }
        }
    }
    let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count();
    let _ = writeln!(
        text,
        "\n{} caught by what they break (in brackets: what follows from it), {} survived, {} by a wrong id too, \
         {} without what is said to follow; the honest plugin {}",
        count(Verdict::Caught),
        count(Verdict::Survived),
        count(Verdict::WrongId),
        count(Verdict::NothingFollowed),
        match count(Verdict::Passed) {
            0 => "did not pass, or was not asked",
            _ => "passed",
        },
    );
    text
}
