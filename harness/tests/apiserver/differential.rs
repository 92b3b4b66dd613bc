//! The same story on both servers, and what they show at each point of rest.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail, ensure};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::Instant;

use crate::allowed::{Allowed, Difference};
use crate::facts::Facts;
use crate::side::Side;
use crate::story::{Chapter, Event, Story};
use crate::world::{Kind, Parts};

/// Chapters of a random story.
const LENGTH: usize = 10;
/// Stories that run beside each other in a long run: they mostly wait.
const BESIDE: usize = 3;
/// So many random stories show every difference that there is.
const MANY: usize = 12;
/// Who is compared.
const BOTH: [Kind; 2] = [Kind::Real, Kind::Simulated];

/// What came of a story.
pub struct Outcome {
    pub name: String,
    pub found: Vec<(usize, Difference)>,
    pub broke: Option<String>,
    pub facts: usize,
    pub seconds: f32,
}

/// Plays one story on fresh servers.
pub async fn play(
    parts: &Parts,
    kinds: [Kind; 2],
    story: &Story,
    seed: u64,
    allowed: &mut Allowed,
) -> Result<Outcome> {
    let start = Instant::now();
    let (mut real, mut simulated) = tokio::try_join!(
        Side::start(kinds[0], parts, seed),
        Side::start(kinds[1], parts, seed),
    )?;
    let mut outcome = Outcome {
        name: story.name.clone(),
        found: Vec::new(),
        broke: None,
        facts: 0,
        seconds: 0.0,
    };
    for (number, chapter) in story.chapters.iter().enumerate() {
        let (left, right) =
            tokio::try_join!(live(&mut real, chapter), live(&mut simulated, chapter))
                .with_context(|| {
                    format!("{}, chapter {number}: {:?}", story.name, chapter.event)
                })?;
        ensure!(
            !left.is_empty(),
            "chapter {number} of {} showed nothing",
            story.name
        );
        outcome.facts += left.len();
        let found = allowed.compare(&left, &right);
        println!(
            "    {}: chapter {number} {:.80}, {:?}: {} facts, {} unexplained differences, {:.0} s",
            story.name,
            format!("{:?}", chapter.event),
            chapter.requests,
            left.len(),
            found.len(),
            start.elapsed().as_secs_f32()
        );
        outcome
            .found
            .extend(found.into_iter().map(|difference| (number, difference)));
    }
    outcome.seconds = start.elapsed().as_secs_f32();
    Ok(outcome)
}

async fn live(side: &mut Side, chapter: &Chapter) -> Result<Facts> {
    let before = side.is_well();
    let mut facts = side.meet(&chapter.event).await?;
    for (number, request) in chapter.requests.iter().enumerate() {
        let seen = side
            .ask(*request)
            .await
            .with_context(|| format!("{}: request {number}, {request:?}", side.kind))?;
        facts.insert(format!("request {number}, {request:?}"), seen);
    }
    // A reload that fails is tried again and again, with new Encrypts for the providers that are well.
    let reload = matches!(chapter.event, Event::Reload(_));
    let steady = before && side.is_well() && !reload;
    facts.extend(side.look(steady).await?);
    Ok(facts)
}

/// The stories of CI: each kind of event once, and every way in which a plugin can be sick. The list must explain every
/// difference, and each of its entries that is not rare must have occurred.
pub async fn known(parts: Parts) -> Result<()> {
    let stories = [Story::short(), Story::sick(), Story::sick_at_start()];
    LocalSet::new()
        .run_until(all(parts, stories.to_vec(), true))
        .await
}

/// Two real servers agree without any explanation: what is found between the others is no noise of the comparison.
pub async fn the_real_one_with_itself(parts: Parts, story: Story) -> Result<()> {
    let mut nothing = Allowed::parse("")?;
    let outcome = Box::pin(play(&parts, [Kind::Real; 2], &story, 1, &mut nothing)).await?;
    let text = told(&outcome);
    if text.is_empty() {
        Ok(())
    } else {
        bail!("{text}")
    }
}

/// Random stories of the seeds 1 to `count`; in many of them, every entry of the list must have occurred.
pub fn long(parts: Parts, count: u64) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let stories = (1..=count)
        .map(|seed| Story::random(seed, LENGTH))
        .collect();
    LocalSet::new().block_on(&runtime, all(parts, stories, false))
}

async fn all(parts: Parts, stories: Vec<Story>, short: bool) -> Result<()> {
    let start = Instant::now();
    let count = stories.len();
    let mut results = Vec::new();
    let mut running = JoinSet::new();
    for (seed, story) in (1..).zip(stories) {
        if running.len() >= BESIDE {
            results.extend(running.join_next().await);
        }
        let parts = parts.clone();
        running.spawn_local(async move {
            let mut allowed = Allowed::read()?;
            let outcome = Box::pin(play(&parts, BOTH, &story, seed, &mut allowed)).await?;
            anyhow::Ok((outcome, allowed))
        });
    }
    while let Some(result) = running.join_next().await {
        results.push(result);
    }
    let mut allowed = Allowed::read()?;
    let (mut text, mut facts, mut seconds) = (String::new(), 0, 0.0);
    for result in results {
        match result.context("a story panicked")? {
            Ok((outcome, met)) => {
                text.push_str(&told(&outcome));
                facts += outcome.facts;
                seconds += outcome.seconds;
                allowed.add(&met);
            }
            Err(error) => {
                let _ = writeln!(text, "{error:#}");
            }
        }
    }
    println!(
        "    {count} stories, {facts} facts, {seconds:.0} s of story in {:.0} s",
        start.elapsed().as_secs_f32()
    );
    for (id, hits, reason) in allowed.met() {
        println!("    explained {hits} times: {id}: {reason}");
    }
    // A few random stories may miss what is there.
    if short || count >= MANY {
        for id in allowed.unused(short) {
            let _ = writeln!(text, "the explained difference {id} no longer occurs");
        }
    }
    if text.is_empty() {
        Ok(())
    } else {
        bail!("{text}")
    }
}

fn told(outcome: &Outcome) -> String {
    let mut text = String::new();
    for (chapter, difference) in &outcome.found {
        let Difference {
            label,
            real,
            simulated,
        } = difference;
        let _ = writeln!(
            text,
            "{}, chapter {chapter}: {label}\n      real:      {real}\n      simulated: {simulated}",
            outcome.name
        );
    }
    if let Some(why) = &outcome.broke {
        let _ = writeln!(text, "{} broke off in {why}", outcome.name);
    }
    text
}
