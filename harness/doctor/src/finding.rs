//! A diagnosis, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::evidence::{Evidence, Seen, Written};
use crate::rows::{self, ROWS};

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// Its row: `OCP-FAULT-NN` or `OCP-TRAP-NN`.
    pub id: String,
    /// What was seen.
    pub saw: String,
    /// What that means.
    pub means: String,
    /// What to do.
    pub remedy: String,
}

impl Finding {
    /// What was seen of a row.
    pub(crate) fn new(id: &str, saw: impl Into<String>) -> Self {
        let row = rows::row(id);
        let (means, remedy) = row.map_or(("", ""), |row| (row.means, row.remedy));
        Self {
            id: id.to_owned(),
            saw: saw.into(),
            means: means.to_owned(),
            remedy: remedy.to_owned(),
        }
    }
}

/// A part or a row that could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blind {
    /// The part's name, or the row's id.
    pub what: String,
    /// Why.
    pub because: String,
}

/// What came of looking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Diagnosis {
    /// What is wrong, by id.
    pub findings: Vec<Finding>,
    /// Parts that were asked for and not seen.
    pub not_seen: Vec<Blind>,
    /// Rows that could not be looked for.
    pub not_looked_for: Vec<Blind>,
    /// How the values under KMS v2 in etcd are written, where they were seen: a vault-kubernetes-kms that has taken over from
    /// another plugin drops `-adopt` when none needs it any more.
    pub written: Option<Written>,
}

impl Diagnosis {
    /// Looks at everything.
    pub fn of(seen: &Evidence) -> Self {
        let not_seen = seen.not_seen().into_iter().map(|(what, why)| Blind {
            what,
            because: why.text().to_owned(),
        });
        let findings = crate::diagnose(seen);
        let found = |id: &str| findings.iter().any(|it| it.id == id);
        let blind = ROWS.iter().filter(|row| !found(row.id)).filter_map(|row| {
            Some(Blind {
                what: row.id.to_owned(),
                because: row.blind(seen)?,
            })
        });
        Self {
            not_seen: not_seen.collect(),
            not_looked_for: blind.collect(),
            findings,
            written: seen
                .etcd
                .values()
                .filter_map(Seen::get)
                .map(|it| it.written)
                .reduce(Written::and),
        }
    }

    /// The same with real names of nodes, for whoever gathered it: `names` are those with what stands for them.
    #[must_use]
    pub fn named(mut self, names: &BTreeMap<String, String>) -> Self {
        let mut texts: Vec<&mut String> = self.findings.iter_mut().map(|it| &mut it.saw).collect();
        texts.extend(self.not_seen.iter_mut().map(|it| &mut it.what));
        for text in texts {
            *text = replaced(text, names);
        }
        self
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let line = "writing to a String does not fail";
        for it in &self.findings {
            writeln!(text, "{}  {}", it.id, it.saw).expect(line);
            writeln!(text, "    means   {}", it.means).expect(line);
            writeln!(text, "    remedy  {}", it.remedy).expect(line);
        }
        for it in &self.not_seen {
            writeln!(text, "not seen  {}: {}", it.what, it.because).expect(line);
        }
        if let Some(it) = self.written {
            let Written {
                bound,
                unbound,
                foreign,
            } = it;
            let need = it.need_adopt();
            writeln!(
                text,
                "stored  values under KMS v2: {bound} of vault-kubernetes-kms, {unbound} of its first phase of taking over, \
                 {foreign} of another plugin; it needs -adopt for {need}"
            )
            .expect(line);
        }
        let rows = ROWS.len() - self.not_looked_for.len();
        writeln!(
            text,
            "{} findings; {rows} of {} rows could be looked for{}",
            self.findings.len(),
            ROWS.len(),
            if self.not_looked_for.is_empty() {
                ""
            } else {
                ", not the others:"
            }
        )
        .expect(line);
        let mut by: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for it in &self.not_looked_for {
            by.entry(&it.because).or_default().push(&it.what);
        }
        for (because, ids) in by {
            writeln!(text, "    {}: {because}", ids.join(" ")).expect(line);
        }
        text
    }
}

/// Each `node-N` that stands alone with the name that it stands for.
fn replaced(text: &str, names: &BTreeMap<String, String>) -> String {
    let whole: BTreeMap<&str, &str> = names
        .iter()
        .map(|(name, it)| (it.as_str(), name.as_str()))
        .collect();
    let mut shown = String::new();
    let mut word = String::new();
    for c in text.chars().map(Some).chain([None]) {
        if let Some(c) = c.filter(|c| c.is_ascii_alphanumeric() || *c == '-') {
            word.push(c);
            continue;
        }
        shown.push_str(whole.get(word.as_str()).copied().unwrap_or(&word));
        word.clear();
        shown.extend(c);
    }
    shown
}
