//! `replay`: one scenario, one seed, event by event.

use anyhow::Context;
use kms_scenario::verdict::Verdict;

use super::chaos::files::Script;
use super::chaos::runs::{self, Job, Place};
use super::chaos::{files, show};
use crate::cli::ReplayArgs;
use crate::console;
use crate::exit::{self, Failure};

/// Runs it again: the history, or the operators' page, to standard output, the verdict to standard error.
pub fn replay(args: &ReplayArgs) -> Result<u8, Failure> {
    let texts = files::read_all(std::slice::from_ref(&args.file))?;
    let text = texts
        .into_iter()
        .next()
        .context("one file is one scenario")?;
    let ran = runs::one(&Job {
        script: text.script.clone(),
        place: Place::Sim,
        seed: args.seed,
        replay: format!(
            "kms-harness replay {} --seed {}",
            show::quoted(&text.path),
            args.seed
        ),
    });
    let shown = match text.script {
        Script::Plugins(_) => runs::text(&ran.history),
        Script::Operators(_) => ran.page.clone(),
    };
    console::result(&shown).context("print the history")?;
    if let Some(outcome) = &ran.outcome {
        console::tell(&format!(
            "{}, digest {}",
            ran.verdict.as_str(),
            outcome.digest
        ));
    }
    if ran.verdict != Verdict::Pass {
        console::tell(show::explained(&ran).trim());
    }
    Ok(match ran.verdict {
        Verdict::Pass | Verdict::NotShown => exit::HELD,
        Verdict::Fail => exit::SUBJECT_FAILED,
        Verdict::Inconclusive | Verdict::NotApplicable => exit::INCONCLUSIVE,
    })
}
