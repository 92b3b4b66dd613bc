//! The search for differences: random stories on both sides, the shortest one that shows a difference as the answer.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use proptest::test_runner::{Config, RngAlgorithm, RngSeed, TestCaseError, TestError, TestRunner};
use serde_json::json;

use crate::compare::difference;
use crate::plan::plans;
use crate::real::Real;
use crate::story::{Story, Told};
use crate::{Side, number};

/// How often a story that showed a difference is played again. The real controllers walk over Go maps: what differs only
/// sometimes is chance.
const AGAIN: u32 = 4;

/// A difference at its shortest.
pub struct Found {
    pub story: Story,
    pub why: String,
    /// What the real controllers said.
    pub real: Told,
}

/// What a search did.
#[derive(Default)]
pub struct Search {
    pub found: Option<Found>,
    /// Stories played, without those of the shrinking.
    pub stories: u32,
    /// Lines that were alike.
    pub lines: usize,
    /// Stories that differed once, but not each time.
    pub chance: u32,
}

/// Plays random stories until one shows a difference, which is shrunk.
pub fn search(part: &Path, side: Side, stories: u32, seed: u64) -> Result<Search> {
    let real = RefCell::new(Real::new(side.generation, part));
    let (played, lines, chance) = (Cell::new(0), Cell::new(0), Cell::new(0));
    // While a story is shrunk, each try counts: once is enough, and the shortest one is looked at again.
    let again = Cell::new(AGAIN);
    let mut runner = TestRunner::new(Config {
        cases: stories,
        max_shrink_iters: 4_000,
        max_shrink_time: 40_000,
        failure_persistence: None,
        rng_algorithm: RngAlgorithm::ChaCha,
        rng_seed: RngSeed::Fixed(seed),
        ..Config::default()
    });
    let run = runner.run(&plans(), |plan| {
        let (story, model) = plan.tell(side);
        let said = real.borrow_mut().play(&story);
        if again.get() == AGAIN {
            played.set(played.get() + 1);
        }
        if difference(&said, &model).is_none() {
            lines.set(lines.get() + said.lines.len());
            return Ok(());
        }
        for _ in 0..again.get() {
            if difference(&real.borrow_mut().play(&story), &model).is_none() {
                chance.set(chance.get() + 1);
                return Ok(());
            }
        }
        again.set(0);
        Err(TestCaseError::fail("a difference"))
    });
    let found = match run {
        Ok(()) => None,
        Err(TestError::Abort(why)) => bail!("{why}"),
        Err(TestError::Fail(_, plan)) => {
            let (story, model) = plan.tell(side);
            let said = real.borrow_mut().play(&story);
            let why = difference(&said, &model)
                .context("the shortest story differed each time but the last")?;
            Some(Found {
                story,
                why,
                real: said,
            })
        }
    };
    Ok(Search {
        found,
        stories: played.get(),
        lines: lines.get(),
        chance: chance.get(),
    })
}

/// The tier's test: no story may differ. Says how many were alike.
pub fn none_differs(part: &Path, side: Side, stories: u32) -> Result<()> {
    let stories = number("OPENSHIFT_STORIES", stories)?;
    let seed = u64::from(number("OPENSHIFT_SEED", 1)?);
    let show = number("OPENSHIFT_SHOW", 1)?;
    let mut shown = String::new();
    let (mut alike, mut lines, mut chance, mut differ) = (0, 0, 0, 0);
    while alike + differ < stories {
        let left = stories - alike - differ;
        let did = search(part, side, left, seed + 1_000_003 * u64::from(differ))?;
        lines += did.lines;
        chance += did.chance;
        let Some(found) = did.found else {
            alike += did.stories;
            break;
        };
        alike += did.stories.saturating_sub(1);
        differ += 1;
        let file = keep(&format!("{:?}-{seed}-{differ}", side.generation), &found)?;
        writeln!(
            shown,
            "{}{}\n  kept as {}\n",
            found.story,
            found.why,
            file.display()
        )?;
        if differ >= show {
            break;
        }
    }
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

/// Writes the difference as a recording of the real controllers, ready to be put into `found/` with a better name.
fn keep(name: &str, found: &Found) -> Result<PathBuf> {
    let operators: Vec<_> = found
        .story
        .operators
        .iter()
        .map(|o| json!([o.name, o.resources, o.nodes]))
        .collect();
    let title = json!({"step": 0, "what": "story", "name": name, "text": "?", "data": {"operators": operators}});
    let mut text = format!("{title}\n");
    for line in &found.real.lines {
        writeln!(text, "{line}")?;
    }
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.jsonl"));
    fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
    Ok(file)
}
