//! The differences that are known and explained, in `allowed.toml`.

use anyhow::{Context, Result, ensure};
use regex::Regex;
use serde::Deserialize;

use crate::facts::{Facts, Seen};

/// The checked-in list.
const FILE: &str = include_str!("allowed.toml");

/// A difference that is explained.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// A short name.
    pub id: String,
    /// Why it is right, or cannot be helped.
    pub reason: String,
    /// Which labels it is about.
    #[serde(with = "pattern")]
    label: Regex,
    /// What the real server shows there.
    #[serde(with = "pattern")]
    real: Regex,
    /// What the simulated one shows.
    #[serde(with = "pattern")]
    simulated: Regex,
    #[serde(skip)]
    hits: u64,
}

/// The list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowed {
    #[serde(default, rename = "difference")]
    entries: Vec<Entry>,
}

mod pattern {
    use regex::Regex;
    use serde::{Deserialize, Deserializer, de::Error};

    /// A pattern that the whole text must match.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Regex, D::Error> {
        let text = String::deserialize(deserializer)?;
        Regex::new(&format!("^(?s:{text})$")).map_err(D::Error::custom)
    }
}

/// A difference that nobody explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub label: String,
    pub real: String,
    pub simulated: String,
}

impl Allowed {
    /// Reads the list.
    pub fn read() -> Result<Self> {
        Self::parse(FILE).context("in tests/apiserver/allowed.toml")
    }

    /// Reads a text.
    pub fn parse(text: &str) -> Result<Self> {
        let list: Self = toml::from_str(text)?;
        for entry in &list.entries {
            ensure!(
                !entry.reason.trim().is_empty(),
                "{} has no reason",
                entry.id
            );
        }
        Ok(list)
    }

    /// What differs and is not explained.
    pub fn compare(&mut self, real: &Facts, simulated: &Facts) -> Vec<Difference> {
        let labels: std::collections::BTreeSet<&String> =
            real.keys().chain(simulated.keys()).collect();
        let mut found = Vec::new();
        for label in labels {
            let (left, right) = (real.get(label), simulated.get(label));
            if agree(left, right) {
                continue;
            }
            let difference = Difference {
                label: label.clone(),
                real: shown(left),
                simulated: shown(right),
            };
            let entry = self.entries.iter_mut().find(|entry| {
                entry.label.is_match(&difference.label)
                    && entry.real.is_match(&difference.real)
                    && entry.simulated.is_match(&difference.simulated)
            });
            match entry {
                Some(entry) => entry.hits += 1,
                None => found.push(difference),
            }
        }
        found
    }

    /// Takes over what another reading of the same list has met.
    pub fn add(&mut self, other: &Self) {
        for (entry, met) in self.entries.iter_mut().zip(&other.entries) {
            entry.hits += met.hits;
        }
    }

    /// Entries that never occurred.
    pub fn unused(&self) -> Vec<&str> {
        self.entries
            .iter()
            .filter(|entry| entry.hits == 0)
            .map(|entry| entry.id.as_str())
            .collect()
    }

    /// Entries that occurred, and how often.
    pub fn met(&self) -> impl Iterator<Item = (&str, u64, &str)> {
        self.entries
            .iter()
            .filter(|entry| entry.hits > 0)
            .map(|entry| (entry.id.as_str(), entry.hits, entry.reason.as_str()))
    }
}

fn agree(left: Option<&Seen>, right: Option<&Seen>) -> bool {
    match (left, right) {
        (
            Some(Seen::Number { value: a, slack }),
            Some(Seen::Number {
                value: b,
                slack: other,
            }),
        ) => a.abs_diff(*b) <= *slack.max(other),
        (left, right) => left == right,
    }
}

fn shown(seen: Option<&Seen>) -> String {
    match seen {
        None => "nothing".into(),
        Some(Seen::Text(text)) => text.clone(),
        Some(Seen::Number { value, .. }) => value.to_string(),
    }
}
