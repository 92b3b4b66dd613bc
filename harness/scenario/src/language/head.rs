//! What every form of scenario file begins with: id, title, what it proves, where it can run.

use std::collections::BTreeSet;

use super::file::ArmName;
use super::ids;
use super::problem::{Path, Problem, Source};

/// The head of a file.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Kebab-case name.
    pub id: &'a str,
    /// One sentence.
    pub title: &'a str,
    /// Requirements, bugs, rows of the operators' fault table.
    pub proves: &'a [String],
    /// Arms.
    pub arms: &'a [ArmName],
}

/// `a-b-2`: lower case, digits, single dashes.
pub(super) fn kebab(id: &str) -> bool {
    !id.is_empty()
        && id.split('-').all(|word| {
            !word.is_empty()
                && word
                    .chars()
                    .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit())
        })
}

impl Head<'_> {
    /// Everything that is wrong with it. `stem` is the file's name without folder and ending, which the id must equal.
    pub fn check(&self, source: &Source<'_>, stem: Option<&str>, problems: &mut Vec<Problem>) {
        let id = Path::of(&["id"]);
        if !kebab(self.id) {
            problems.push(source.problem(
                &id,
                format!("{:?} is not kebab-case", self.id),
                "write small letters and digits with single dashes between words",
            ));
        } else if let Some(stem) = stem
            && stem != self.id
        {
            problems.push(source.problem(
                &id,
                format!("the file is called {stem:?}"),
                format!("write id = {stem:?}, or rename the file"),
            ));
        }
        if self.title.trim().is_empty() {
            problems.push(source.problem(
                &Path::of(&["title"]),
                "it is empty",
                "say in one sentence what happens and what must hold",
            ));
        }
        let proves = Path::of(&["proves"]);
        if self.proves.is_empty() {
            problems.push(source.problem(
                &proves,
                "it proves nothing",
                "name requirements (KMS2-…), bugs (BUG-…) or rows (OCP-…)",
            ));
        }
        for (index, name) in self.proves.iter().enumerate() {
            let path = proves.index(index);
            if !ids::known(name) {
                let fix = ids::nearest(name).map_or_else(
                    || "see `kms-harness list` for requirements".to_owned(),
                    |near| format!("did you mean {near:?}?"),
                );
                problems.push(source.problem(&path, format!("there is no {name:?}"), fix));
            } else if self.proves[..index].contains(name) {
                problems.push(source.problem(
                    &path,
                    format!("{name:?} stands there twice"),
                    "name it once",
                ));
            }
        }
        let arms: BTreeSet<ArmName> = self.arms.iter().copied().collect();
        if arms.is_empty() {
            problems.push(source.problem(
                &Path::of(&["arms"]),
                "it can run nowhere",
                "write arms = [\"sim\"]",
            ));
        } else if arms.len() < self.arms.len() {
            problems.push(source.problem(
                &Path::of(&["arms"]),
                "an arm stands there twice",
                "name each once",
            ));
        }
    }
}
