//! `shrink`: the smallest scenario that still shows what another one shows.

use anyhow::{Context, anyhow};
use kms_scenario::language;

use super::chaos::{files, runs};
use crate::cli::ShrinkArgs;
use crate::console;
use crate::exit::{self, Failure, OrUsage};

/// Shrinks a scenario and prints what is left as TOML.
pub fn shrink(args: &ShrinkArgs) -> Result<u8, Failure> {
    let texts = files::read_all(std::slice::from_ref(&args.file))?;
    let text = texts
        .into_iter()
        .next()
        .context("one file is one scenario")?;
    let scenario = text.script.plugins().with_context(|| {
        let file = args.file.display();
        format!("{file}: it has one fault alone, and a procedure that cannot be made shorter")
    });
    let scenario = scenario.or_usage()?;
    let mut count = 0;
    let shrunk = kms_scenario::shrink::shrink(scenario, args.seed, args.runs, |plan| {
        count += 1;
        console::progress("runs", count, u64::from(args.runs), false);
        runs::outcome_of(plan)
    });
    console::clear();
    let shrunk =
        shrunk.map_err(|why| Failure::Harness(anyhow!("{}: {why}", args.file.display())))?;
    let toml = language::write(&shrunk.form).map_err(|error| anyhow!(error))?;
    console::result(&toml).context("print the scenario")?;
    console::tell(&format!(
        "{} faults of {} left after {} runs; it still breaks {} with --seed {}",
        shrunk.form.fault.len(),
        scenario.faults.len(),
        shrunk.runs,
        shrunk.keeps,
        args.seed
    ));
    Ok(exit::HELD)
}
