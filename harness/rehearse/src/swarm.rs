//! The swarm: a whole rehearsal drawn from a seed - operators, nodes, objects, path, faults and their moments, the
//! plugins' settings - and judged as a cell of the matrix is.
//!
//! Faults overlap here. What a cell's table explains is reckoned instead: objects may be lost only where a key was
//! deleted and not restored.

use std::time::Duration;

use kms_apiserver_api::Trouble;
use kms_scenario::seed::Seed;
use serde::Serialize;
use sim_vault::Flavour;

use crate::matrix::fault::Fault;
use crate::matrix::path::Path;
use crate::matrix::phase::Phase;
use crate::matrix::trial::{self, Blow, Outcome, Setting};
use crate::matrix::word;
use crate::options::{Mode, Words};
use crate::world::{Plan, World};

/// What came of a seed.
#[derive(Clone, Debug, Serialize)]
pub struct Flown {
    /// Which.
    pub seed: u64,
    /// What was drawn, for people.
    pub drawn: String,
    /// What is wrong; empty is well.
    pub wrong: Vec<String>,
    /// Objects that were lost with a deleted key.
    pub lost: usize,
    /// Reads that failed on a ready node while a fault lasted.
    pub barred: usize,
    /// Writes that were acknowledged, and refused.
    pub written: (u64, u64),
    /// Seconds on the cluster's clock.
    pub simulated_seconds: u64,
}

/// The most and the least of what is drawn, in seconds.
const AFTER: (u64, u64) = (0, 120);
const LASTS: (u64, u64) = (10, 900);
const NODE: (u64, u64) = (24, 120);

/// Draws a rehearsal.
///
/// # Panics
/// Never: every list that is drawn from has entries.
pub fn draw(seed: u64) -> Setting {
    let root = Seed::root(seed).label("rehearsal");
    let one = |label: &str, of: &[u64]| -> u64 {
        let drawn = root.label(label).pick(of).copied();
        drawn.expect("the list is not empty")
    };
    let path = pick::<Path>(&root.label("path"));
    let mode = match (path, one("mode", &[0, 1, 2])) {
        (Path::KmsToKms, 0 | 1) | (_, 1) => Mode::V2,
        (_, 0) => Mode::Seed,
        _ => Mode::Newest,
    };
    let nodes = one("nodes", &[1, 2, 3, 3, 3, 3, 4, 5]);
    let older = root.label("older").chance(30);
    let mut blows: Vec<Blow> = Vec::new();
    for number in 0..one("faults", &[1, 1, 2, 2, 3]) {
        let seed = root.label(&format!("fault {number}"));
        let blow = blow(&seed, nodes, older);
        // two changes of one key at once have no remedy that is the remedy of both
        let fits = |other: &Blow| other.fault != blow.fault && !(of_key(other) && of_key(&blow));
        if blows.iter().all(fits) {
            blows.push(blow);
        }
    }
    let soft = blows.iter().any(|blow| blow.fault == Fault::KeySoftDeleted);
    let flavour = if soft || root.label("flavour").chance(50) {
        Flavour::OpenBao
    } else {
        Flavour::Vault
    };
    Setting {
        plan: Plan {
            mode,
            nodes: usize::try_from(nodes).unwrap_or(1),
            objects: root.label("objects").number(&(12..=60)),
            seed: root.label("world").u64(),
            flavour,
        },
        path,
        older,
        blows,
        node: seconds(&root.label("node"), NODE),
        rate: one("rate", &[1, 2, 5, 23]),
        plugin: plugin(&root),
    }
}

fn pick<T: Words>(seed: &Seed) -> T {
    let drawn = seed.pick(T::ALL).map(|(_, value)| *value);
    drawn.expect("the list is not empty")
}

fn seconds(seed: &Seed, (least, most): (u64, u64)) -> Duration {
    Duration::from_secs(seed.number(&(least..=most)))
}

/// It changes what the key is.
fn of_key(blow: &Blow) -> bool {
    matches!(
        blow.fault,
        Fault::KeyDeleted
            | Fault::KeyDeletedRestarted
            | Fault::KeyDeletedRestored
            | Fault::KeySoftDeleted
            | Fault::MinVersionRaised
    )
}

fn blow(seed: &Seed, nodes: u64, older: bool) -> Blow {
    let phases: Vec<Phase> = Phase::ALL
        .iter()
        .map(|(_, phase)| *phase)
        .filter(|phase| older || !phase.of_pruning())
        .collect();
    let phase = seed.label("phase").pick(&phases).copied();
    let node = seed.label("node").number(&(0..=nodes - 1));
    Blow {
        fault: pick(&seed.label("fault")),
        phase: phase.expect("the list is not empty"),
        after: seconds(&seed.label("after"), AFTER),
        lasts: seconds(&seed.label("lasts"), LASTS),
        node: usize::try_from(node).unwrap_or_default(),
    }
}

/// Settings that change how a plugin works under load and after a fault, each left alone as often as not.
fn plugin(root: &Seed) -> Vec<(String, String)> {
    const SETTINGS: [(&str, &[&str]); 4] = [
        ("max-in-flight", &["4", "16"]),
        ("vault-connection-timeout", &["1s", "3s"]),
        ("key-id-epoch", &["one", "two"]),
        ("revoke-on-exit", &["true"]),
    ];
    let drawn = SETTINGS.iter().filter_map(|(name, values)| {
        let seed = root.label(name);
        let value = seed.label("value").pick(values).copied()?;
        seed.chance(40)
            .then(|| ((*name).to_owned(), value.to_owned()))
    });
    drawn.collect()
}

/// What was drawn, in a line.
pub fn spoken(setting: &Setting) -> String {
    let plan = &setting.plan;
    let blows = setting.blows.iter().map(|blow| {
        format!(
            "{} on node {} {} s after {} for {} s",
            word(blow.fault),
            blow.node,
            blow.after.as_secs(),
            word(blow.phase),
            blow.lasts.as_secs()
        )
    });
    let options = setting.plugin.iter();
    let options: Vec<String> = options
        .map(|(name, value)| format!(" -{name}={value}"))
        .collect();
    format!(
        "{}{} in mode {}, {} nodes of {} s, {} objects at {} a second, {:?}{}: {}",
        word(setting.path),
        if setting.older {
            " after an older key"
        } else {
            ""
        },
        word(plan.mode),
        plan.nodes,
        setting.node.as_secs(),
        plan.objects,
        setting.rate,
        plan.flavour,
        options.concat(),
        blows.collect::<Vec<_>>().join("; ")
    )
}

/// Plays a seed.
pub fn fly(seed: u64) -> Flown {
    fly_with(seed, &mut |_| ())
}

/// Plays a seed with somebody who meddles.
pub fn fly_with(seed: u64, meddler: &mut dyn FnMut(&mut World)) -> Flown {
    let setting = draw(seed);
    let work = trial::play(&setting, meddler);
    let outcome: Result<Outcome, Trouble> = kms_sim::run::virtual_time(setting.plan.seed, work);
    let (mut wrong, outcome) = match outcome {
        Ok(outcome) => (outcome.violations.clone(), outcome),
        Err(trouble) => (vec![trouble.to_string()], Outcome::default()),
    };
    let may_lose =
        |blow: &Blow| matches!(blow.fault, Fault::KeyDeleted | Fault::KeyDeletedRestarted);
    if outcome.lost > 0 && !setting.blows.iter().any(may_lose) {
        wrong.push(format!(
            "{} objects are lost, and no key was deleted",
            outcome.lost
        ));
    }
    Flown {
        seed,
        drawn: spoken(&setting),
        wrong,
        lost: outcome.lost,
        barred: outcome.barred.len(),
        written: outcome.answered,
        simulated_seconds: outcome.seconds,
    }
}

/// Seeds that were played together.
#[derive(Clone, Debug, Serialize)]
pub struct Swarm {
    /// Whether none has failed.
    pub held: bool,
    /// How many.
    pub seeds: usize,
    /// Seeds after which objects were lost with a deleted key.
    pub with_losses: usize,
    /// Seeds in which reads on a ready node failed while a fault lasted.
    pub with_barred_reads: usize,
    /// Writes that were acknowledged, over all.
    pub written: u64,
    /// Seconds on the clusters' clocks, over all.
    pub simulated_seconds: u64,
    /// Those that failed.
    pub failed: Vec<Flown>,
}

impl Swarm {
    /// Puts them together.
    pub fn of(flown: Vec<Flown>) -> Self {
        let failed = flown.iter().filter(|flown| !flown.wrong.is_empty());
        let failed: Vec<Flown> = failed.cloned().collect();
        Self {
            held: failed.is_empty(),
            seeds: flown.len(),
            with_losses: flown.iter().filter(|flown| flown.lost > 0).count(),
            with_barred_reads: flown.iter().filter(|flown| flown.barred > 0).count(),
            written: flown.iter().map(|flown| flown.written.0).sum(),
            simulated_seconds: flown.iter().map(|flown| flown.simulated_seconds).sum(),
            failed,
        }
    }

    /// The page.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for flown in &self.failed {
            out.push_str(&format!("FAILED seed {}: {}\n", flown.seed, flown.drawn));
            for text in &flown.wrong {
                out.push_str(&format!("  {text}\n"));
            }
            out.push_str(&format!(
                "  again: kms-harness rehearse swarm --seeds 1 --seed {}\n",
                flown.seed
            ));
        }
        out.push_str(&format!(
            "{} seeds, {} failed; objects lost with a deleted key in {}, reads barred while a fault lasted in {}; {} writes acknowledged; {} on the clusters' clocks\n",
            self.seeds,
            self.failed.len(),
            self.with_losses,
            self.with_barred_reads,
            self.written,
            crate::report::span(self.simulated_seconds)
        ));
        out
    }
}
