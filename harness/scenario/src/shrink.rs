//! Shrinking: the smallest scenario that still breaks the same invariant.
//!
//! Sub-seeds go by label, so a fault that is taken away does not move the others.
//!
//! What did not come to pass (`sometimes`, or a failure or a change that is expected) is always kept by taking its occasion away, and
//! then it "breaks" with an honest plugin as well. So another violation is kept rather, and where there is none, faults,
//! times and load stay as they are.

use std::time::Duration;

use crate::fault::Kind;
use crate::language::file::{ScaleTable, ScenarioFile};
use crate::language::time::{Rate, Time, TimeRange};
use crate::language::{Scenario, read, write};
use crate::plan::Plan;
use crate::verdict::{Outcome, Verdict};

/// What shrinking came to.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest scenario.
    pub form: ScenarioFile,
    /// What it still shows.
    pub keeps: String,
    /// How many runs it took.
    pub runs: u32,
}

/// Makes a failing scenario smaller with at most `limit` runs. `run` gives a plan's outcome; nothing if it could not be
/// run.
///
/// # Errors
/// The scenario does not fail with this seed, so there is nothing to keep.
pub fn shrink(
    scenario: &Scenario,
    seed: u64,
    limit: u32,
    mut run: impl FnMut(&Plan) -> Option<Outcome>,
) -> Result<Shrunk, String> {
    let first = run(&Plan::of(scenario, seed)).ok_or("the scenario could not be run")?;
    let keeps = match first.verdict {
        Verdict::Fail => {
            let mut ids: Vec<&str> = first.broken().map(|broken| &*broken.id).collect();
            ids.sort_by_key(|id| wants_an_occasion(id));
            ids.first().map(ToString::to_string)
        }
        _ => None,
    };
    let keeps = keeps.ok_or_else(|| {
        format!(
            "the verdict with seed {seed} is {}, so there is no violation to keep",
            first.verdict.as_str()
        )
    })?;
    let mut search = Search {
        form: drawn(scenario, seed),
        seed,
        keeps: keeps.clone(),
        runs: 1,
        limit,
        run: &mut run,
    };
    // the drawn values must show it as well, or nothing else is to be had
    let start = search.form.clone();
    if !search.shows(&start) {
        search.form = scenario.form.clone();
    }
    loop {
        let before = search.form.clone();
        let free = !wants_an_occasion(&search.keeps);
        if free {
            search.fewer_faults();
        }
        search.less_expected();
        if free {
            search.smaller_world();
            search.shorter();
        }
        if search.form == before || search.runs >= search.limit {
            break;
        }
    }
    Ok(Shrunk {
        form: search.form,
        keeps,
        runs: search.runs,
    })
}

/// Whether this invariant breaks where nothing happens at all.
fn wants_an_occasion(id: &str) -> bool {
    let Some((when, claim)) = id.split_once(':') else {
        return false;
    };
    let claim = claim.split('@').next().unwrap_or_default();
    let bad = ["status-bad", "writes-fail", "reads-fail", "key-id-changes"];
    when == "sometimes" || bad.contains(&claim)
}

/// The scenario with what the seed draws written into it.
fn drawn(scenario: &Scenario, seed: u64) -> ScenarioFile {
    let plan = Plan::of(scenario, seed);
    let mut form = scenario.form.clone();
    for table in &mut form.fault {
        if let Some(planned) = plan.faults.iter().find(|planned| planned.id == table.id) {
            table.at = one(planned.at);
            table.r#for = planned.length.map(one);
            if table.kind.on_nodes()
                && let [node] = planned.nodes[..]
            {
                table.node = Some(crate::language::file::NodeChoice::One(node));
            }
        }
    }
    form.scale = form.scale.filter(|scale: &ScaleTable| scale.process < 1.0);
    form
}

fn one(time: Duration) -> TimeRange {
    TimeRange {
        min: time,
        max: time,
    }
}

struct Search<'a, F> {
    form: ScenarioFile,
    seed: u64,
    keeps: String,
    runs: u32,
    limit: u32,
    run: &'a mut F,
}

impl<F: FnMut(&Plan) -> Option<Outcome>> Search<'_, F> {
    /// Whether a smaller form is right in itself and still shows the violation.
    fn shows(&mut self, form: &ScenarioFile) -> bool {
        if self.runs >= self.limit {
            return false;
        }
        let scenario = write(form).ok().and_then(|text| read(&text, None).ok());
        let Some(scenario) = scenario else {
            return false;
        };
        self.runs += 1;
        let outcome = (self.run)(&Plan::of(&scenario, self.seed));
        outcome.is_some_and(|outcome| outcome.broken().any(|broken| broken.id == self.keeps))
    }

    fn attempt(&mut self, change: impl FnOnce(&mut ScenarioFile)) -> bool {
        let mut form = self.form.clone();
        change(&mut form);
        if form == self.form || !self.shows(&form) {
            return false;
        }
        self.form = form;
        true
    }

    /// Takes faults away, first many at once.
    fn fewer_faults(&mut self) {
        let mut chunk = self.form.fault.len().div_ceil(2);
        while chunk > 0 {
            let mut from = 0;
            while from < self.form.fault.len() {
                let to = (from + chunk).min(self.form.fault.len());
                if !self.attempt(|form| drop(form.fault.drain(from..to))) {
                    from += chunk;
                }
            }
            chunk /= 2;
        }
    }

    fn less_expected(&mut self) {
        let mut at = self.form.expect.len();
        while at > 0 {
            at -= 1;
            if self.form.expect.len() > 1 {
                self.attempt(|form| drop(form.expect.remove(at)));
            }
        }
    }

    fn smaller_world(&mut self) {
        for nodes in 1..self.form.world.nodes {
            if self.attempt(|form| form.world.nodes = nodes) {
                break;
            }
        }
        self.attempt(|form| form.world.vault.nodes = 1);
        self.attempt(|form| form.world.plugin.clear());
        for objects in [1, 2, 5] {
            if objects < self.form.load.objects && self.attempt(|form| form.load.objects = objects)
            {
                break;
            }
        }
        self.attempt(|form| form.load.size = form.load.size.min(64));
        let slower = |rate: Rate| Rate {
            milli: rate.milli / 2,
            ..rate
        };
        for _ in 0..3 {
            self.attempt(|form| form.load.lists = slower(form.load.lists));
            self.attempt(|form| form.load.reads = slower(form.load.reads));
            self.attempt(|form| form.load.writes = slower(form.load.writes));
        }
    }

    fn shorter(&mut self) {
        for at in 0..self.form.fault.len() {
            self.attempt(|form| {
                let table = &mut form.fault[at];
                let start = Duration::from_secs(table.at.min.as_secs() / 2);
                if table.kind != Kind::Restore {
                    table.at = one(start);
                }
            });
            self.attempt(|form| {
                let table = &mut form.fault[at];
                table.r#for = table.r#for.map(|range| one(half(range.min)));
            });
        }
        self.attempt(|form| form.phases.fault = Time(half(form.phases.fault.0)));
        self.attempt(|form| form.phases.baseline = Time(half(form.phases.baseline.0)));
        self.attempt(|form| form.phases.liveness = Time(half(form.phases.liveness.0)));
        self.attempt(|form| form.phases.settle = Time(half(form.phases.settle.0)));
    }
}

/// Half of a time, in whole seconds if it has some.
fn half(time: Duration) -> Duration {
    if time >= Duration::from_secs(2) {
        Duration::from_secs(time.as_secs() / 2)
    } else {
        time / 2
    }
}
