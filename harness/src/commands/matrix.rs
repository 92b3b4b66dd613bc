//! `rehearse matrix` and `rehearse swarm`: every fault at every phase of every migration path, and all of it drawn.

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context, anyhow};
use kms_rehearse::many;
use kms_rehearse::matrix::report::Sweep;
use kms_rehearse::matrix::{Cell, Wish, cells};
use kms_rehearse::swarm::{Swarm, fly};
use serde::Serialize;

use crate::cli::{Format, RehearseArgs};
use crate::console;
use crate::exit::{self, Failure, OrUsage};

/// Seeds of a swarm where nothing else is said.
const SEEDS: u64 = 100;

/// Options that belong to `matrix` or `swarm` alone: name, and whether it was given.
fn own(args: &RehearseArgs) -> [(&'static str, bool); 4] {
    [
        ("--path", args.path.is_some()),
        ("--phase", args.phase.is_some()),
        ("--seeds", args.seeds.is_some()),
        ("--jobs", args.jobs.is_some()),
    ]
}

/// Says which option is given that the procedure has no use for.
///
/// # Errors
/// The first one.
pub fn refuse(args: &RehearseArgs, allowed: &[&str]) -> Result<(), Failure> {
    let others = [
        ("--at", args.at.is_some()),
        ("--mode", args.mode.is_some()),
        ("--nodes", args.nodes.is_some()),
        ("--objects", args.objects.is_some()),
        ("--fault", args.fault.is_some()),
        ("a category", args.category.is_some()),
    ];
    let given = own(args)
        .into_iter()
        .chain(others)
        .filter(|(_, given)| *given);
    let mut names = given.map(|(name, _)| name);
    match names.find(|name| !allowed.contains(name)) {
        Some(name) => Err(Failure::Usage(anyhow!(
            "rehearse {} takes no {}",
            args.procedure,
            name.trim_start_matches("a ")
        ))),
        None => Ok(()),
    }
}

/// Plays the cells that are wished for.
pub fn matrix(args: &RehearseArgs) -> Result<u8, Failure> {
    refuse(args, &["--path", "--phase", "--fault", "--jobs"])?;
    let cells = cells(&Wish {
        path: args.path.as_deref(),
        fault: args.fault.as_deref(),
        phase: args.phase.as_deref(),
        seed: args.seed,
    })
    .or_usage()?;
    let played = counted("cells", &cells, args.jobs, Cell::play);
    let sweep = Sweep::of(played);
    finish(args.format, &sweep, &sweep.text(), sweep.held)
}

/// Plays seeds from the first one on.
pub fn swarm(args: &RehearseArgs) -> Result<u8, Failure> {
    refuse(args, &["--seeds", "--jobs"])?;
    let count = args.seeds.unwrap_or(SEEDS);
    let seeds: Vec<u64> = (args.seed..args.seed.saturating_add(count)).collect();
    if seeds.is_empty() {
        return Err(Failure::Usage(anyhow!(
            "--seeds 0 plays nothing: say how many"
        )));
    }
    let flown = counted("seeds", &seeds, args.jobs, |seed| fly(*seed));
    let swarm = Swarm::of(flown);
    finish(args.format, &swarm, &swarm.text(), swarm.held)
}

fn counted<I: Sync, T: Send>(
    what: &str,
    items: &[I],
    jobs: Option<u16>,
    one: impl Fn(&I) -> T + Sync,
) -> Vec<T> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let threads = jobs.map_or(cores, usize::from);
    let (done, all) = (AtomicU64::new(0), items.len() as u64);
    let played = many::play(items, threads, one, |_| {
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        console::progress(what, done, all, false);
    });
    console::clear();
    played
}

fn finish(format: Format, data: &impl Serialize, text: &str, held: bool) -> Result<u8, Failure> {
    match format {
        Format::Text => console::result(text),
        Format::Json => {
            let json = serde_json::to_string_pretty(data).context("write the result")?;
            console::result(&(json + "\n"))
        }
    }
    .context("print the result")?;
    Ok(if held {
        exit::HELD
    } else {
        exit::SUBJECT_FAILED
    })
}
