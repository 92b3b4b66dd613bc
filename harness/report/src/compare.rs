//! Two reports side by side: what became better, what became worse, and what cannot be compared.

use std::collections::{BTreeMap, BTreeSet};

use kms_judge::CheckStatus;
use serde::Serialize;

use crate::json::digest;
use crate::model::Report;
use crate::text::{one_line, status};
use crate::verdict::weight;

/// How a requirement or a scenario run changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The newer report says something worse of the subject: it breaks, or may break, what held.
    Worse,
    /// It says something better.
    Better,
    /// Less or more was looked at.
    Coverage,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// A requirement's id, or a scenario run's with its arm.
    pub id: String,
    /// Its title; nothing for a scenario run.
    pub title: String,
    /// Status in the older report; absent where it has no row of it.
    pub from: Option<&'static str>,
    /// Status in the newer one.
    pub to: Option<&'static str>,
    /// What that means.
    pub direction: Direction,
    /// What the newer report saw, where that is not a pass.
    pub observed: String,
}

/// The differences of two reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// Digests of the older and the newer report; equal ones say the same.
    pub digests: [String; 2],
    /// Why statuses may differ for another reason than the subject: other requirements, another suite, another arm.
    pub unlike: Vec<String>,
    /// Verdicts on profiles: name, older, newer.
    pub profiles: Vec<(&'static str, Option<&'static str>, Option<&'static str>)>,
    /// Differences, the worst first, then by id.
    pub changes: Vec<Change>,
}

impl Comparison {
    /// Whether the newer report says something worse.
    #[must_use]
    pub fn is_worse(&self) -> bool {
        let worse = |change: &Change| change.direction == Direction::Worse;
        self.changes.iter().any(worse)
    }

    /// As JSON, one document with a line end.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("strings and lists are JSON");
        text.push('\n');
        text
    }

    /// As lines for a terminal.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .unlike
            .iter()
            .map(|why| format!("{:<8} {}", "unlike", one_line(why)))
            .collect();
        let shown = |word: Option<&str>| word.unwrap_or("no row").to_owned();
        for (name, from, to) in &self.profiles {
            lines.push(format!("{name:<11} {} -> {}", shown(*from), shown(*to)));
        }
        for change in &self.changes {
            let word = match change.direction {
                Direction::Worse => "WORSE",
                Direction::Better => "better",
                Direction::Coverage => "coverage",
            };
            let (from, to) = (shown(change.from), shown(change.to));
            let head = format!(
                "{word:<8} {} {}",
                one_line(&change.id),
                one_line(&change.title)
            );
            lines.push(format!("{}: {from} -> {to}", head.trim_end()));
            if !change.observed.is_empty() {
                lines.push(format!("         {}", one_line(&change.observed)));
            }
        }
        if self.changes.is_empty() {
            lines.push("every requirement and scenario run has the same status".to_owned());
        }
        lines
    }
}

/// Compares an older report with a newer one.
pub fn compare(older: &Report, newer: &Report) -> Comparison {
    let mut changes = requirements(older, newer);
    changes.extend(scenarios(older, newer));
    changes.sort_by(|a, b| (a.direction, &a.id).cmp(&(b.direction, &b.id)));
    Comparison {
        digests: [digest(older), digest(newer)],
        unlike: unlike(older, newer),
        profiles: profiles(older, newer),
        changes,
    }
}

fn unlike(older: &Report, newer: &Report) -> Vec<String> {
    let mut found = Vec::new();
    let mut look = |what: &str, from: &str, to: &str| {
        if from != to {
            found.push(format!("{what}: {from} and {to}"));
        }
    };
    look("subjects", &older.subject.project, &newer.subject.project);
    look(
        "registries of requirements",
        &older.suite.contract.registry_digest,
        &newer.suite.contract.registry_digest,
    );
    look("suites", &older.suite.version, &newer.suite.version);
    look(
        "arms",
        older.environment.arm.as_str(),
        newer.environment.arm.as_str(),
    );
    found
}

fn profiles(
    older: &Report,
    newer: &Report,
) -> Vec<(&'static str, Option<&'static str>, Option<&'static str>)> {
    let of = |report: &Report, name| {
        let mut profiles = report.profiles.iter();
        let profile = profiles.find(|profile| profile.name == name);
        profile.map(|profile| profile.result.as_str())
    };
    kms_contract::Profile::ALL
        .into_iter()
        .map(|name| (name.as_str(), of(older, name), of(newer, name)))
        .filter(|(_, from, to)| from.is_some() || to.is_some())
        .collect()
}

fn requirements(older: &Report, newer: &Report) -> Vec<Change> {
    let rows = |report: &Report| -> BTreeMap<String, (CheckStatus, String, String)> {
        let rows = report.requirements.iter().map(|row| {
            let worst = row.checks.iter().find(|check| check.status == row.status);
            let observed = worst.map_or(String::new(), |check| check.observed.clone());
            (row.id.clone(), (row.status, row.title.clone(), observed))
        });
        rows.collect()
    };
    pairs(rows(older), rows(newer))
}

fn scenarios(older: &Report, newer: &Report) -> Vec<Change> {
    let runs = |report: &Report| -> BTreeMap<String, (CheckStatus, String, String)> {
        let runs = report.scenarios.iter().map(|run| {
            let broken = run
                .invariants
                .iter()
                .filter(|one| one.result == CheckStatus::Fail);
            let broken: Vec<&str> = broken.map(|one| one.id.as_str()).collect();
            let id = format!("{} ({})", run.run_id, run.arm.as_str());
            (id, (run.verdict, String::new(), broken.join(", ")))
        });
        runs.collect()
    };
    pairs(runs(older), runs(newer))
}

type Rows = BTreeMap<String, (CheckStatus, String, String)>;

fn pairs(older: Rows, newer: Rows) -> Vec<Change> {
    let ids: BTreeSet<&String> = older.keys().chain(newer.keys()).collect();
    let mut changes = Vec::new();
    for id in ids {
        let (from, to) = (older.get(id), newer.get(id));
        let (was, is) = (from.map(|row| row.0), to.map(|row| row.0));
        if was == is {
            continue;
        }
        let title = to.or(from).map_or("", |row| row.1.as_str());
        let passed = is == Some(CheckStatus::Pass);
        changes.push(Change {
            id: id.clone(),
            title: title.to_owned(),
            from: was.map(status),
            to: is.map(status),
            direction: direction(was, is),
            observed: to
                .filter(|_| !passed)
                .map_or(String::new(), |row| row.2.clone()),
        });
    }
    changes
}

/// What a change of status means. Only verdicts tell better from worse; all else is about how much was looked at.
fn direction(was: Option<CheckStatus>, is: Option<CheckStatus>) -> Direction {
    let verdict = |status: &CheckStatus| {
        matches!(
            status,
            CheckStatus::Pass | CheckStatus::Warn | CheckStatus::Fail
        )
    };
    match (was.filter(verdict), is.filter(verdict)) {
        // A breach is worse than whatever was known, also where nobody had looked.
        (Some(was), Some(is)) if weight(is) > weight(was) => Direction::Worse,
        (None, Some(CheckStatus::Fail)) => Direction::Worse,
        (Some(_), Some(_)) => Direction::Better,
        _ => Direction::Coverage,
    }
}
