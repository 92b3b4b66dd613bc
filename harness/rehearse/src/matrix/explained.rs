//! Cells whose right outcome is not "nothing happened", each with the reason. A cell that shows something which stands
//! not here fails, and so does an entry that a cell of it does not show.

use super::Cell;
use super::fault::Fault;
use super::path::Path;
use super::phase::Phase;
use super::trial::Outcome;

/// What a cell may show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Objects are lost for good.
    Lost,
    /// Objects cannot be read on a ready node while the fault lasts.
    Barred,
}

impl Effect {
    fn shows(self, outcome: &Outcome) -> bool {
        match self {
            Self::Lost => outcome.lost > 0,
            Self::Barred => !outcome.barred.is_empty(),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Lost => "objects are lost",
            Self::Barred => "objects cannot be read on a ready node while the fault lasts",
        }
    }
}

/// An explanation.
pub struct Entry {
    /// What shows.
    pub effect: Effect,
    /// In cells with one of these faults,
    pub faults: &'static [Fault],
    /// on one of these paths,
    pub paths: &'static [Path],
    /// from this phase on,
    pub from: Phase,
    /// to this one.
    pub to: Phase,
    /// Why it has to be so.
    pub why: &'static str,
}

/// The table.
pub const EXPLAINED: &[Entry] = &[
    Entry {
        effect: Effect::Lost,
        faults: &[Fault::KeyDeletedRestarted],
        paths: &[Path::IdentityToKms, Path::AescbcToKms],
        from: Phase::WriteBetween,
        to: Phase::PruneConverged,
        why: "a node has written with the new key by then: what lies under a deleted key goes with the last process that has its seed in memory, unless the key is restored",
    },
    Entry {
        effect: Effect::Lost,
        faults: &[Fault::KeyDeletedRestarted],
        paths: &[Path::KmsToKms, Path::KmsToIdentity],
        from: Phase::BeforeTheEdit,
        to: Phase::MigrationMiddle,
        why: "what is not rewritten yet lies under the deleted key: it goes with the last process that has its seed in memory, unless the key is restored",
    },
];

impl Entry {
    /// Whether it is about a cell.
    pub fn covers(&self, cell: &Cell) -> bool {
        self.faults.contains(&cell.fault)
            && self.paths.contains(&cell.path)
            && (self.from..=self.to).contains(&cell.phase)
    }
}

/// What is wrong with an outcome by this table, and what explains the rest.
pub fn judge(cell: &Cell, outcome: &Outcome) -> (Vec<String>, Vec<&'static str>) {
    let mut wrong = outcome.violations.clone();
    let mut why = Vec::new();
    for effect in [Effect::Lost, Effect::Barred] {
        let entry = EXPLAINED
            .iter()
            .find(|entry| entry.effect == effect && entry.covers(cell));
        match (effect.shows(outcome), entry) {
            (false, None) => {}
            (true, Some(entry)) => why.push(entry.why),
            (true, None) => {
                let example = outcome.barred.first().map_or("", String::as_str);
                wrong.push(format!(
                    "{}, and nothing explains it: {} lost, {} reads barred {example}",
                    effect.word(),
                    outcome.lost,
                    outcome.barred.len(),
                ));
            }
            (false, Some(entry)) => wrong.push(format!(
                "the table of explanations says that {} because {}: that did not happen",
                effect.word(),
                entry.why
            )),
        }
    }
    (wrong, why)
}
