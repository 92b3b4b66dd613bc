//! `chaos`: scenarios, each with some seeds, on one arm.

pub mod files;
mod place;
pub mod runs;
pub mod show;

use std::path::Path;

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

/// Writes the history of a run into the folder.
fn keep(out: Option<&Path>, ran: &Ran) -> anyhow::Result<()> {
    match out {
        Some(out) if !ran.history.is_empty() => {
            let name = format!("{}-{}-{}.history", ran.id, ran.arm.as_str(), ran.seed);
            show::write(&out.join(name), &runs::text(&ran.history))
        }
        _ => Ok(()),
    }
}
