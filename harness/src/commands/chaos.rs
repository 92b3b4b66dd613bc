//! `chaos`: scenarios, each with some seeds, on one arm.

#[cfg(feature = "kube")]
mod cluster;
pub mod files;
mod place;
pub mod recorded;
pub mod rejudge;
pub mod row;
pub mod runs;
pub mod show;

use std::path::Path;

use self::files::ScenarioText;
use self::runs::{Job, Place, Ran};
use crate::cli::ChaosArgs;
use crate::exit::{Failure, OrUsage};

/// Runs scenarios and says what came of them.
pub fn chaos(args: &ChaosArgs) -> Result<u8, Failure> {
    if args.cluster.cleanup {
        return place::cleanup(args);
    }
    let paths = files::chosen(&args.paths).or_usage()?;
    let scenarios = files::read_all(&paths)?;
    let out = show::folder(args.out.as_deref())?;
    let place = place::place(args)?;
    let jobs: Vec<Job> = scenarios
        .iter()
        .flat_map(|text| (0..args.seeds).map(move |number| (text, args.seed.wrapping_add(number))))
        .map(|(text, seed)| job(text, &place, args, seed))
        .collect();
    #[cfg(feature = "kube")]
    if let Place::Cluster(parts) = &place {
        return cluster::chaos(&jobs, parts, args, out.as_deref());
    }
    let ran = runs::all(&jobs, args.jobs, |ran| keep(out.as_deref(), ran))?;
    show::finish(&ran, args.format, out.as_deref())
}

fn job(text: &ScenarioText, place: &Place, args: &ChaosArgs, seed: u64) -> Job {
    let path = show::quoted(&text.path);
    Job {
        script: text.script.clone(),
        place: place.clone(),
        seed,
        replay: match place {
            Place::Sim => format!("kms-harness replay {path} --seed {seed}"),
            Place::Process(parts) => format!(
                "kms-harness chaos {path} --arm process{} --seed {seed}",
                place::words(args, parts)
            ),
            #[cfg(feature = "kube")]
            Place::Cluster(_) => format!(
                "kms-harness chaos {path} --arm cluster{} --seed {seed}",
                cluster::words(args)
            ),
        },
    }
}

/// Writes what a run left into the folder: its history for eyes and for being judged again, or the operators' page.
pub fn keep(out: Option<&Path>, ran: &Ran) -> anyhow::Result<()> {
    let Some(out) = out else { return Ok(()) };
    if !ran.page.is_empty() {
        let page = recorded::name(ran).replace(rejudge::ENDING, "page.txt");
        return show::write(&out.join(page), &ran.page);
    }
    if ran.history.is_empty() {
        return Ok(());
    }
    let file = recorded::name(ran);
    let eyes = file.replace(rejudge::ENDING, "history");
    show::write(&out.join(eyes), &runs::text(&ran.history))?;
    recorded::write(&out.join(file), ran)
}
