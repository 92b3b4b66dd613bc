//! Runs seeds in the simulation and prints one line each: seed, verdict, digest. With `hour`, each is an hour of one
//! node with the mission's faults; with `swarm`, each is drawn whole from its seed. With a folder, the histories go there.
//!
//! ```sh
//! cargo run --release -p kms-sim --example seeds -- hour 1 40
//! ```

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use kms_scenario::plan::Plan;
use kms_scenario::verdict::{Verdict, outcome};
use kms_scenario::{language, swarm};

/// An hour of one node.
const HOUR: &str = include_str!("hour.toml");

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> Result<ExitCode, String> {
    let usage = "usage: seeds hour|swarm FIRST COUNT [FOLDER]";
    let (mode, first, count, folder) = match arguments {
        [mode, first, count] => (mode, first, count, None),
        [mode, first, count, folder] => (mode, first, count, Some(folder)),
        _ => return Err(usage.to_owned()),
    };
    let number = |text: &String| text.parse::<u64>().map_err(|_| usage.to_owned());
    let (first, count) = (number(first)?, number(count)?);
    #[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
    let began = std::time::Instant::now();
    let mut failed = false;
    for seed in first..first.saturating_add(count) {
        let text = match mode.as_str() {
            "hour" => HOUR.to_owned(),
            "swarm" => language::write(&swarm::draw(seed))?,
            _ => return Err(usage.to_owned()),
        };
        let scenario = language::read(&text, None).map_err(|problems| {
            let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
            all.join("\n")
        })?;
        let plan = Plan::of(&scenario, seed);
        let ran = kms_sim::run::run(&plan);
        let outcome = outcome(&plan, &ran.history);
        if let Some(folder) = folder {
            let text: String = ran
                .history
                .iter()
                .map(|entry| format!("{entry}\n"))
                .collect();
            let path = Path::new(folder).join(format!("{seed}.history"));
            std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        failed |= outcome.verdict == Verdict::Fail || ran.trouble.is_some();
        let trouble = ran.trouble.map(|trouble| format!(" {trouble}"));
        let broken: Vec<String> = outcome
            .broken()
            .map(|invariant| format!(" {}: {}", invariant.id, invariant.detail))
            .collect();
        let line = format!(
            "{seed} {} {}{}{}",
            outcome.verdict.as_str(),
            outcome.digest,
            trouble.unwrap_or_default(),
            broken.concat()
        );
        writeln!(io::stdout(), "{line}").map_err(|error| error.to_string())?;
    }
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let each = began.elapsed().as_secs_f64() / count.max(1) as f64;
    let _ = writeln!(io::stderr(), "{each:.4} s each");
    Ok(ExitCode::from(u8::from(failed)))
}
