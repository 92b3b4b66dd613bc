//! `chaos`: scenarios, each with some seeds, on one arm.

pub mod files;
pub mod runs;
pub mod show;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow};

use self::files::ScenarioText;
use self::runs::{Job, Parts, Place, Ran};
use crate::arm::process::vault::Make;
use crate::child::find_program;
use crate::cli::{Arm, ChaosArgs};
use crate::console;
use crate::exit::{Failure, OrUsage};
use crate::subject::own;
use crate::vault::family::Family;

/// Runs scenarios and says what came of them.
pub fn chaos(args: &ChaosArgs) -> Result<u8, Failure> {
    let paths = files::chosen(&args.paths).or_usage()?;
    let scenarios = files::read_all(&paths)?;
    let out = show::folder(args.out.as_deref())?;
    let place = place(args)?;
    let jobs: Vec<Job> = scenarios
        .iter()
        .flat_map(|text| (0..args.seeds).map(move |number| (text, args.seed.wrapping_add(number))))
        .map(|(text, seed)| job(text, &place, seed))
        .collect();
    let ran = runs::all(&jobs, args.jobs, |ran| keep(out.as_deref(), ran))?;
    show::finish(&ran, args.format, out.as_deref())
}

/// Where the runs are made; the parts of the process arm are found or built.
fn place(args: &ChaosArgs) -> Result<Place, Failure> {
    if args.arm == Arm::Sim {
        let idle = args.vault.is_some() || args.plugin.is_some();
        let told =
            || anyhow!("--vault and --plugin belong to --arm process: the simulation has its own");
        return if idle {
            Err(told()).or_usage()
        } else {
            Ok(Place::Sim)
        };
    }
    let vault = match args.vault.as_deref().unwrap_or("sim") {
        "sim" => Ok(Make::Simulated),
        "openbao" => real(Family::OpenBao),
        "vault" => real(Family::Vault),
        other => Err(anyhow!(
            "--vault {other}: the process arm takes sim, openbao or vault"
        )),
    };
    let vault = vault.or_usage()?;
    let plugin = match (&args.plugin, own::workspace()) {
        (Some(path), _) => find_program(path)
            .with_context(|| format!("--plugin {}: no executable file", path.display()))
            .or_usage()?,
        (None, Some(workspace)) => {
            console::tell("building the plugin alone");
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("make a runtime")?;
            runtime.block_on(own::build(&workspace))?
        }
        (None, None) => {
            return Err(anyhow!("--plugin PATH is needed outside of the checkout")).or_usage();
        }
    };
    Ok(Place::Process(Arc::new(Parts { vault, plugin })))
}

fn real(family: Family) -> anyhow::Result<Make> {
    Ok(Make::Real(family, family.part().find()?))
}

fn job(text: &ScenarioText, place: &Place, seed: u64) -> Job {
    let path = show::quoted(&text.path);
    Job {
        scenario: text.scenario.clone(),
        place: place.clone(),
        seed,
        replay: match place {
            Place::Sim => format!("kms-harness replay {path} --seed {seed}"),
            Place::Process(parts) => format!(
                "kms-harness chaos {path} --arm process --vault {} --seed {seed}",
                parts.vault.word()
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
