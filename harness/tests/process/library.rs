//! The library's scenarios that say how they run in real time, on a real server: the same verdict as in the simulation.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use kms_harness::commands::chaos::files;
use kms_harness::commands::chaos::runs::{self, Job, Parts, Place, Ran};
use kms_scenario::language::Scenario;
use kms_scenario::language::file::ArmName;
use kms_scenario::verdict::Verdict;

/// One scenario of the library.
#[derive(Clone)]
pub struct Entry {
    /// Its id.
    pub id: String,
    scenario: Arc<Scenario>,
}

/// Those that have a scale for real time.
pub fn entries() -> Result<Vec<Entry>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let files = files::chosen(&[folder])?;
    let texts = files::read_all(&files).map_err(|_| anyhow::anyhow!("read the library"))?;
    let entries = texts.into_iter().map(|text| Entry {
        id: text.scenario.form.id.clone(),
        scenario: text.scenario,
    });
    Ok(entries
        .filter(|it| it.scenario.form.scale.is_some())
        .collect())
}

/// Both arms pass it.
pub async fn passes(entry: Entry, parts: Parts) -> Result<()> {
    ensure!(
        entry.scenario.form.arms.contains(&ArmName::Process),
        "it has a scale for an arm that it does not name"
    );
    let job = |place| Job {
        scenario: Arc::clone(&entry.scenario),
        place,
        seed: 1,
        replay: String::new(),
    };
    for job in [job(Place::Sim), job(Place::Process(Arc::new(parts)))] {
        #[expect(clippy::disallowed_methods, reason = "a run has a runtime of its own")]
        let ran = tokio::task::spawn_blocking(move || runs::one(&job));
        let ran = ran.await.context("the run panicked")?;
        if ran.verdict != Verdict::Pass {
            bail!("{}: {}", ran.arm.as_str(), told(&ran));
        }
    }
    Ok(())
}

fn told(ran: &Ran) -> String {
    let mut told = vec![ran.verdict.as_str().to_owned()];
    told.extend(ran.reason.clone());
    if let Some(outcome) = &ran.outcome {
        for fault in &outcome.faults {
            if fault.hits < fault.at_least {
                told.push(format!(
                    "fault {} touched {} of {}",
                    fault.id, fault.hits, fault.at_least
                ));
            }
        }
        for invariant in &outcome.invariants {
            if invariant.result != "held" {
                told.push(format!(
                    "{} {}: {}",
                    invariant.id, invariant.result, invariant.detail
                ));
            }
        }
    }
    told.join("\n")
}

/// The parts of a real server.
pub fn parts(vault: kms_harness::arm::process::vault::Make, plugin: &Path) -> Parts {
    Parts {
        vault,
        plugin: PathBuf::from(plugin),
    }
}
