//! `chaos`: scenarios, each with some seeds, on one arm.

pub mod files;
mod place;
pub mod rejudge;
pub mod runs;
pub mod show;

use std::path::Path;

use anyhow::{Context, anyhow};
use kms_history::chaos_file;
use kms_scenario::language;

use self::files::ScenarioText;
use self::runs::{Job, Place, Ran};
use crate::cli::ChaosArgs;
use crate::exit::{Failure, OrUsage};

/// Runs scenarios and says what came of them.
pub fn chaos(args: &ChaosArgs) -> Result<u8, Failure> {
    let paths = files::chosen(&args.paths).or_usage()?;
    let scenarios = files::read_all(&paths)?;
    let out = show::folder(args.out.as_deref())?;
    let place = place::place(args)?;
    let jobs: Vec<Job> = scenarios
        .iter()
        .flat_map(|text| (0..args.seeds).map(move |number| (text, args.seed.wrapping_add(number))))
        .map(|(text, seed)| job(text, &place, args, seed))
        .collect();
    let ran = runs::all(&jobs, args.jobs, |ran| keep(out.as_deref(), ran))?;
    show::finish(&ran, args.format, out.as_deref())
}

fn job(text: &ScenarioText, place: &Place, args: &ChaosArgs, seed: u64) -> Job {
    let path = show::quoted(&text.path);
    Job {
        scenario: text.scenario.clone(),
        place: place.clone(),
        seed,
        replay: match place {
            Place::Sim => format!("kms-harness replay {path} --seed {seed}"),
            Place::Process(parts) => format!(
                "kms-harness chaos {path} --arm process{} --seed {seed}",
                place::words(args, parts)
            ),
        },
    }
}

/// Writes the history of a run into the folder: for eyes, and for being judged again.
pub fn keep(out: Option<&Path>, ran: &Ran) -> anyhow::Result<()> {
    let (Some(out), Some(outcome)) = (out, &ran.outcome) else {
        return Ok(());
    };
    if ran.history.is_empty() {
        return Ok(());
    }
    let name = format!("{}-{}-{}", ran.id, ran.arm.as_str(), ran.seed);
    let text = runs::text(&ran.history);
    show::write(&out.join(format!("{name}.history")), &text)?;
    let header = chaos_file::Header {
        format: chaos_file::FORMAT.to_owned(),
        version: chaos_file::VERSION,
        scenario: language::write(&ran.scenario.form).map_err(|error| anyhow!(error))?,
        seed: ran.seed,
        arm: ran.arm.as_str().to_owned(),
        replay: ran.replay.clone(),
        digest: outcome.digest.clone(),
        trouble: ran.reason.clone(),
        wall_seconds: ran.wall.as_secs_f64(),
    };
    let file = chaos_file::write(&header, &ran.history).context("write a history as JSON")?;
    show::write(&out.join(format!("{name}.{}", rejudge::ENDING)), &file)
}
