//! The search for differences: random stories on both sides, the shortest one that shows a difference as the answer.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, RngSeed, TestRunner};
use serde_json::json;

use crate::compare::{Difference, difference};
use crate::plan::{Plan, plans};
use crate::real::Real;
use crate::story::{Story, Told};
use crate::{Side, number};

/// How often a story that showed a difference is played again. The real controllers walk over Go maps: what differs only
/// sometimes is chance.
const AGAIN: u32 = 4;

/// A difference at its shortest.
pub struct Found {
    pub story: Story,
    pub why: Difference,
    /// What the real controllers said.
    pub real: Told,
}

/// A search under way.
pub struct Search {
    real: Real,
    side: Side,
    runner: TestRunner,
    /// Stories played, without those of the shrinking.
    pub stories: u32,
    /// Lines that were alike.
    pub lines: usize,
    /// Stories that differed once, but not each time.
    pub chance: u32,
}

impl Search {
    /// The same seed plays the same stories.
    pub fn new(part: &Path, side: Side, seed: u64) -> Self {
        Self {
            real: Real::new(side.generation, part),
            side,
            runner: TestRunner::new(Config {
                failure_persistence: None,
                rng_algorithm: RngAlgorithm::ChaCha,
                rng_seed: RngSeed::Fixed(seed),
                ..Config::default()
            }),
            stories: 0,
            lines: 0,
            chance: 0,
        }
    }

    /// Plays random stories, so many in all, until one shows a difference; it comes back shortened.
    pub fn next(&mut self, stories: u32) -> Result<Option<Found>> {
        let plans = plans();
        while self.stories < stories {
            self.stories += 1;
            let tree = plans.new_tree(&mut self.runner);
            let plan = tree
                .map_err(|why| anyhow!("draw a story: {why}"))?
                .current();
            match self.play(&plan) {
                None => {}
                Some(found) if self.lasts(&found) => return Ok(Some(self.shorten(plan, found))),
                Some(_) => self.chance += 1,
            }
        }
        Ok(None)
    }

    /// Plays a plan on both.
    fn play(&mut self, plan: &Plan) -> Option<Found> {
        let (story, model) = plan.tell(self.side);
        let real = self.real.play(&story);
        let Some(why) = difference(&real, &model) else {
            self.lines += real.lines.len();
            return None;
        };
        Some(Found { story, why, real })
    }

    /// It shows each time.
    fn lasts(&mut self, found: &Found) -> bool {
        let model = found.story.on_the_model(self.side);
        (0..AGAIN).all(|_| difference(&self.real.play(&found.story), &model).is_some())
    }

    /// Takes steps away for as long as a difference stays, and all that come after it.
    fn shorten(&mut self, mut plan: Plan, mut found: Found) -> Found {
        plan.steps.truncate(found.why.step);
        loop {
            let before = plan.steps.len();
            for at in (0..before).rev() {
                if at >= plan.steps.len() {
                    continue;
                }
                let mut shorter = plan.clone();
                shorter.steps.remove(at);
                if let Some(still) = self.play(&shorter) {
                    shorter.steps.truncate(still.why.step);
                    (plan, found) = (shorter, still);
                }
            }
            if plan.steps.len() == before {
                // what was cut off behind the difference was still there when it was found
                return self.play(&plan).unwrap_or(found);
            }
        }
    }
}

/// The tier's test: no story may differ. Says how many were alike.
pub fn none_differs(part: &Path, side: Side, stories: u32) -> Result<()> {
    let stories = number("OPENSHIFT_STORIES", stories)?;
    let seed = u64::from(number("OPENSHIFT_SEED", 1)?);
    let show = number("OPENSHIFT_SHOW", 1)?;
    let mut search = Search::new(part, side, seed);
    let mut shown = String::new();
    let mut differ = 0;
    while differ < show {
        let Some(found) = search.next(stories)? else {
            break;
        };
        differ += 1;
        let file = keep(
            &format!("{:?}-{seed}-{differ}", side.generation),
            &found.story,
            &found.real,
        )?;
        let Found { story, why, .. } = found;
        writeln!(shown, "{story}{why}\n  kept as {}\n", file.display())?;
    }
    let Search {
        stories,
        lines,
        chance,
        ..
    } = search;
    let alike = stories - differ - chance;
    println!(
        "{:?}: {alike} random stories alike, {differ} different, {chance} by chance ({lines} lines, seed {seed})",
        side.generation
    );
    ensure!(
        differ == 0,
        "{differ} stories differ, shortened:\n\n{shown}"
    );
    Ok(())
}

/// Writes what the real controllers said as a recording, ready to be put into `found/` with a better name.
pub fn keep(name: &str, story: &Story, real: &Told) -> Result<PathBuf> {
    let operators: Vec<_> = story
        .operators
        .iter()
        .map(|o| json!([o.name, o.resources, o.nodes]))
        .collect();
    let title = json!({"step": 0, "what": "story", "name": name, "text": "?", "data": {"operators": operators}});
    let mut text = format!("{title}\n");
    for line in &real.lines {
        writeln!(text, "{line}")?;
    }
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.jsonl"));
    fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
    Ok(file)
}
