//! Cells whose right outcome is not "nothing happened", each with the reason. A cell that shows what does not stand here
//! fails. So does a cell that does not show what stands here for [`Sureness::Always`], and a sweep over all cells of an
//! entry for [`Sureness::Sometimes`] of which none shows it.

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

/// How sure it is that a cell shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sureness {
    /// Every one does.
    Always,
    /// It depends on who writes what in which second.
    Sometimes,
}

/// An explanation.
pub struct Entry {
    /// How sure it is.
    pub sureness: Sureness,
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
        sureness: Sureness::Always,
        effect: Effect::Lost,
        faults: &[Fault::KeyDeletedRestarted],
        paths: &[Path::IdentityToKms, Path::AescbcToKms],
        from: Phase::ReadConverged,
        to: Phase::PruneConverged,
        why: "the two smaller components are ahead of kube-apiserver and have written with the new key by then: what lies under a deleted key goes with the last process that has its seed in memory, unless the key is restored",
    },
    Entry {
        sureness: Sureness::Always,
        effect: Effect::Lost,
        faults: &[Fault::KeyDeletedRestarted],
        paths: &[Path::KmsToKms, Path::KmsToIdentity],
        from: Phase::BeforeTheEdit,
        to: Phase::MigrationMiddle,
        why: "what is not rewritten yet lies under the deleted key: it goes with the last process that has its seed in memory, unless the key is restored",
    },
    Entry {
        sureness: Sureness::Sometimes,
        effect: Effect::Barred,
        faults: &[
            Fault::KeyDeleted,
            Fault::KeyDeletedRestarted,
            Fault::KeyDeletedRestored,
            Fault::KeySoftDeleted,
            Fault::MinVersionRaised,
            Fault::NodePartitioned,
            Fault::AllPartitioned,
            Fault::PluginCrashed,
            Fault::VaultSealed,
        ],
        paths: &[
            Path::IdentityToKms,
            Path::AescbcToKms,
            Path::KmsToKms,
            Path::KmsToIdentity,
        ],
        from: Phase::BeforeTheEdit,
        to: Phase::PruneConverged,
        why: "a server goes on writing with the seed that it has, and a server that has not met this seed before the fault cannot have it decrypted: until it is not ready, or, where Status has no reason to fail, as with a raised min_decryption_version, as long as the fault lasts",
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
            (false, Some(entry)) if entry.sureness == Sureness::Sometimes => {}
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

/// Entries of which every cell is among these, and none of them shows it.
pub fn unshown(cells: &[(Cell, Vec<&'static str>)]) -> Vec<String> {
    let seed = cells.first().map_or(0, |(cell, _)| cell.seed);
    let all = super::all(seed);
    let missing = EXPLAINED.iter().filter(|entry| {
        let played = |cell: &Cell| cells.iter().any(|(other, _)| other == cell);
        let shown = |(_, why): &(Cell, Vec<&str>)| why.contains(&entry.why);
        let mut covered = all.iter().filter(|cell| entry.covers(cell));
        covered.all(played) && !cells.iter().any(shown)
    });
    let told = missing.map(|entry| {
        format!(
            "the table of explanations says that {} because {}: no cell shows that",
            entry.effect.word(),
            entry.why
        )
    });
    told.collect()
}
