//! The fault matrix: every fault at every phase boundary of every migration path, each cell a cluster of its own.
//!
//! A cell is right when the invariants hold at every step, everything that was acknowledged can be read on every ready
//! node at every step, and after the remedy the path completes: key secrets list everything, every value in etcd has
//! the new key's prefix, every node runs the pruned configuration. What has to be otherwise stands in [`explained`].
//!
//! In reading order: [`path`], [`phase`], [`fault`], [`ledger`] (the clients), [`trial`] (one cell), [`explained`],
//! [`report`].

pub mod explained;
pub mod fault;
pub mod ledger;
pub mod path;
pub mod phase;
pub mod report;
pub mod trial;

use std::fmt;
use std::time::Duration;

use kms_apiserver_api::Trouble;
use kms_scenario::seed::Seed;
use serde::Serialize;

use crate::options::{Words, Wrong};
use crate::world::{Plan, World};
use fault::Fault;
use path::Path;
use phase::Phase;
use report::Played;
use trial::{Blow, Setting};

/// A cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Cell {
    /// Which path.
    pub path: Path,
    /// Which fault.
    pub fault: Fault,
    /// When it happens.
    pub phase: Phase,
    /// Root of all randomness.
    pub seed: u64,
}

/// A value's word.
pub(crate) fn word<T: Words + PartialEq>(value: T) -> &'static str {
    let found = T::ALL.iter().find(|(_, known)| *known == value);
    found.map_or("", |(word, _)| word)
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, fault, phase) = (word(self.path), word(self.fault), word(self.phase));
        write!(f, "{path} {fault} {phase}")
    }
}

/// Which cells are wished for; what is not said means all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish<'a> {
    /// A path's word.
    pub path: Option<&'a str>,
    /// A fault's word.
    pub fault: Option<&'a str>,
    /// A phase's word.
    pub phase: Option<&'a str>,
    /// Root of all randomness.
    pub seed: u64,
}

/// The whole matrix.
pub fn all(seed: u64) -> Vec<Cell> {
    let wish = Wish {
        seed,
        ..Wish::default()
    };
    cells(&wish).expect("a wish without words names none that there is not")
}

/// The cells of a wish, in order.
///
/// # Errors
/// A word that there is not; the sentence names those that there are.
pub fn cells(wish: &Wish<'_>) -> Result<Vec<Cell>, Wrong> {
    fn chosen<T: Words>(word: Option<&str>) -> Result<Vec<T>, Wrong> {
        match word {
            Some(word) => Ok(vec![T::read(word)?]),
            None => Ok(T::ALL.iter().map(|(_, value)| *value).collect()),
        }
    }
    let faults = chosen::<Fault>(wish.fault)?;
    let phases = chosen::<Phase>(wish.phase)?;
    let mut cells = Vec::new();
    for path in chosen::<Path>(wish.path)? {
        for fault in &faults {
            cells.extend(phases.iter().map(|phase| Cell {
                path,
                fault: *fault,
                phase: *phase,
                seed: wish.seed,
            }));
        }
    }
    Ok(cells)
}

impl Cell {
    /// The command that plays this cell alone.
    pub fn replay(&self) -> String {
        format!(
            "kms-harness rehearse matrix --path {} --fault {} --phase {} --seed {}",
            word(self.path),
            word(self.fault),
            word(self.phase),
            self.seed
        )
    }

    /// The trial that it is: three nodes, few objects, roll-outs of three minutes, a fault that outlives the three
    /// minutes for which API servers write without their plugin.
    pub fn setting(&self) -> Setting {
        let seed = Seed::root(self.seed).label(&self.to_string());
        let lasts = if self.fault.passes_by_itself() {
            Duration::from_secs(60)
        } else {
            let seconds = Duration::from_secs;
            seed.label("lasts").duration(seconds(240), seconds(330))
        };
        let node = seed.label("node").number(&(0..=2));
        Setting {
            plan: Plan {
                mode: self.path.mode(),
                nodes: 3,
                objects: 20,
                seed: seed.u64(),
                flavour: self.fault.flavour(),
            },
            path: self.path,
            older: self.phase.of_pruning(),
            blows: vec![Blow {
                fault: self.fault,
                phase: self.phase,
                after: Duration::ZERO,
                lasts,
                node: usize::try_from(node).unwrap_or_default(),
            }],
            node: Duration::from_secs(36),
            rate: 1,
            plugin: Vec::new(),
        }
    }

    /// Plays it.
    pub fn play(&self) -> Played {
        self.play_with(&mut |_| ())
    }

    /// Plays it with somebody who meddles.
    pub fn play_with(&self, meddler: &mut dyn FnMut(&mut World)) -> Played {
        let setting = self.setting();
        let work = trial::play(&setting, meddler);
        let outcome: Result<_, Trouble> = kms_sim::run::virtual_time(setting.plan.seed, work);
        Played::of(*self, outcome)
    }
}
