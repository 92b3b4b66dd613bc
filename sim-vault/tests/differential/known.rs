//! Differences that stay, each with its reason and a sequence of calls that shows it. A reason that has gone must go from the
//! list: an entry whose calls no longer differ fails the test.

use libtest_mimic::Failed;
use regex::Regex;
use serde::Deserialize;
use sim_vault::Flavour;

use crate::call::Call;

/// The list, `known.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    known: Vec<Entry>,
}

/// One difference.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// `openbao`, `vault`; absent: both.
    flavour: Option<String>,
    /// Why the model does not follow.
    pub reason: String,
    /// Pattern on `METHOD PATH`.
    call: String,
    /// Pattern on the live answer's shape.
    live: String,
    /// Pattern on the model's.
    model: String,
    /// The shortest sequence that shows it.
    pub shown_by: Vec<String>,
    /// The server's answer is left to chance: so many tries must show it.
    #[serde(default = "once")]
    pub tries: u32,
    /// It shows on a busy machine alone: no number of tries must show it.
    #[serde(default)]
    pub rare: bool,
}

fn once() -> u32 {
    1
}

/// The entries of one flavour, their patterns compiled.
pub struct Known(Vec<(Entry, [Regex; 3])>);

impl Known {
    pub fn load(flavour: Flavour) -> Result<Self, Failed> {
        let file: File = toml::from_str(include_str!("known.toml"))?;
        let name = if flavour.is_openbao() {
            "openbao"
        } else {
            "vault"
        };
        let ours = |e: &Entry| e.flavour.as_deref().is_none_or(|f| f == name);
        let compiled: Result<Vec<_>, regex::Error> = file
            .known
            .into_iter()
            .filter(ours)
            .map(|e| {
                let patterns = [
                    Regex::new(&e.call)?,
                    Regex::new(&e.live)?,
                    Regex::new(&e.model)?,
                ];
                Ok((e, patterns))
            })
            .collect();
        Ok(Self(compiled?))
    }

    /// The entry that explains a difference.
    pub fn explains(&self, call: &Call, live: &str, model: &str) -> bool {
        let asked = format!("{} {}", call.method, call.path);
        self.0.iter().any(|(_, [of_call, of_live, of_model])| {
            of_call.is_match(&asked) && of_live.is_match(live) && of_model.is_match(model)
        })
    }

    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter().map(|(entry, _)| entry)
    }
}

impl Entry {
    /// Its calls, read.
    pub fn calls(&self) -> Result<Vec<Call>, Failed> {
        let read = |line: &String| Call::parse(line).ok_or(format!("no call: {line}").into());
        self.shown_by.iter().map(read).collect()
    }
}
