//! The same story on both servers, and what they show at each point of rest.

use std::ops::RangeInclusive;

use anyhow::{Context, Result, bail};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::Instant;

use crate::again::{self, Found, Playing, Verdict};
use crate::allowed::Allowed;
use crate::facts::Facts;
use crate::side::Side;
use crate::story::{Chapter, Event, Story};
use crate::times::Times;
use crate::world::{Kind, Parts};

/// Chapters of a random story.
const LENGTH: usize = 10;
/// Stories that run beside each other: they mostly wait.
const BESIDE: usize = 6;
/// Who is compared.
const BOTH: [Kind; 2] = [Kind::Real, Kind::Simulated];

/// Plays one story on fresh servers.
async fn play(
    parts: &Parts,
    kinds: [Kind; 2],
    story: &Story,
    seed: u64,
    allowed: &mut Allowed,
) -> Playing {
    let start = Instant::now();
    let mut playing = Playing::default();
    let played = Box::pin(chapters(parts, kinds, story, seed, allowed, &mut playing));
    if let Err(broke) = played.await {
        playing.broke = Some(broke);
    }
    playing.seconds = start.elapsed().as_secs_f32();
    playing
}

/// All chapters, or the number of the one in which something broke, and what.
async fn chapters(
    parts: &Parts,
    kinds: [Kind; 2],
    story: &Story,
    seed: u64,
    allowed: &mut Allowed,
    playing: &mut Playing,
) -> Result<(), (usize, String)> {
    let start = Instant::now();
    let (mut real, mut simulated) = tokio::try_join!(
        Side::start(kinds[0], parts, seed),
        Side::start(kinds[1], parts, seed),
    )
    .map_err(|error| (0, format!("start: {error:#}")))?;
    let mut times = Times::default();
    for (number, chapter) in story.chapters.iter().enumerate() {
        times.before(chapter).await;
        let began = Instant::now();
        let (mut left, mut right) =
            tokio::try_join!(live(&mut real, chapter), live(&mut simulated, chapter))
                .map_err(|error| (number, format!("{:?}: {error:#}", chapter.event)))?;
        times.settle(began, [&mut left, &mut right]);
        playing.facts += left.len();
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
        playing
            .found
            .extend(found.into_iter().map(|difference| Found {
                story: story.name.clone(),
                chapter: number,
                difference,
            }));
    }
    Ok(())
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
/// difference that lasts, and each of its entries must have occurred.
pub async fn known(parts: Parts) -> Result<()> {
    LocalSet::new().run_until(all(parts, Story::of_ci())).await
}

/// Two real servers agree without any explanation: what is found between the others is no noise of the comparison.
pub async fn the_real_one_with_itself(parts: Parts, story: Story) -> Result<()> {
    let mut nothing = Allowed::parse("")?;
    let verdict = again::judged(&story.name, async || {
        play(&parts, [Kind::Real; 2], &story, 1, &mut nothing).await
    })
    .await;
    tell_once(&verdict);
    failed_with(lines(&verdict.lasting))
}

/// Random stories of these seeds.
pub fn long(parts: Parts, seeds: RangeInclusive<u64>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let stories = seeds.map(|seed| Story::random(seed, LENGTH)).collect();
    LocalSet::new().block_on(&runtime, all(parts, stories))
}

async fn all(parts: Parts, stories: Vec<Story>) -> Result<()> {
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
            let verdict = again::judged(&story.name, async || {
                play(&parts, BOTH, &story, seed, &mut allowed).await
            })
            .await;
            anyhow::Ok((verdict, allowed))
        });
    }
    while let Some(result) = running.join_next().await {
        results.push(result);
    }
    let mut allowed = Allowed::read()?;
    let (mut failures, mut facts, mut seconds) = (Vec::new(), 0, 0.0);
    for result in results {
        let (verdict, met) = result.context("a story panicked")??;
        tell_once(&verdict);
        for found in &verdict.lasting {
            println!("    {}: lasting: {}", found.story, found.whole());
        }
        failures.extend(lines(&verdict.lasting));
        facts += verdict.facts;
        seconds += verdict.seconds;
        allowed.add(&met);
    }
    println!(
        "    {count} stories, {facts} facts, {seconds:.0} s of story in {:.0} s",
        start.elapsed().as_secs_f32()
    );
    for (id, hits, reason) in allowed.met() {
        println!("    explained {hits} times: {id}: {reason}");
    }
    failures.extend(
        allowed
            .unused()
            .iter()
            .map(|id| format!("the explained difference {id} no longer occurs")),
    );
    failed_with(failures)
}

fn lines(found: &[Found]) -> Vec<String> {
    found.iter().map(Found::to_string).collect()
}

/// What showed in one playing of two is told and no failure.
fn tell_once(verdict: &Verdict) {
    for found in &verdict.once {
        println!(
            "    {}: seen once, not again: {}",
            found.story,
            found.whole()
        );
    }
}

fn failed_with(failures: Vec<String>) -> Result<()> {
    if failures.is_empty() {
        Ok(())
    } else {
        bail!("{}", again::compact(failures))
    }
}
