//! The library's scenarios that say how they run in real time, on a real server: the same verdict as in the simulation.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kms_harness::arm::process::Parts;
use kms_harness::commands::chaos::files::{self, Script};
use kms_harness::commands::chaos::runs::{self, Job, Place, Ran};
use kms_harness::commands::chaos::show::explained;
use kms_harness::vault::family::Family;
use kms_scenario::language::Scenario;
use kms_scenario::language::file::ArmName;
use kms_scenario::verdict::Verdict;
use kms_scenario::world::Flavour;

/// One scenario of the library.
#[derive(Clone)]
pub struct Entry {
    /// Its id.
    pub id: String,
    scenario: Arc<Scenario>,
}

impl Entry {
    /// The server that it is about.
    pub fn family(&self) -> Family {
        match self.scenario.form.world.vault.flavour {
            Flavour::Openbao => Family::OpenBao,
            Flavour::Vault => Family::Vault,
        }
    }

    /// How long it takes in real time, without starts and the audit.
    pub fn lasts(&self) -> Duration {
        runs::plan(&self.scenario, ArmName::Process, 1)
            .phases
            .total()
    }

    /// Whether it shows a fault of an API server's own.
    #[cfg(feature = "kube")]
    pub fn shows_an_apiserver(&self) -> bool {
        use kms_scenario::fault::Fault;

        let mut faults = self.scenario.faults.iter();
        !self.scenario.upstream.is_empty()
            && faults.any(|it| matches!(it.fault, Fault::RpcSick | Fault::RpcWrongKey))
    }
}

/// Those that have a scale for real time.
pub fn entries() -> Result<Vec<Entry>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let files = files::chosen(&[folder])?;
    let texts = files::read_all(&files).map_err(|_| anyhow::anyhow!("read the library"))?;
    let scenarios = texts.iter().filter_map(|text| text.script.plugins());
    let scaled = scenarios.filter(|it| it.form.scale.is_some());
    let entries = scaled.map(|scenario| Entry {
        id: scenario.form.id.clone(),
        scenario: Arc::clone(scenario),
    });
    Ok(entries.collect())
}

/// Both arms pass it. A real server that no longer shows a fault of its own has not failed.
pub async fn same_verdict(entry: Entry, parts: Parts) -> Result<()> {
    ensure!(
        entry.scenario.form.arms.contains(&ArmName::Process),
        "it has a scale for an arm that it does not name"
    );
    let simulated = ran(&entry, Place::Sim).await?;
    let real = ran(&entry, Place::Process(Arc::new(parts))).await?;
    for ran in [&simulated, &real] {
        let passed = match ran.verdict {
            Verdict::Pass => true,
            Verdict::NotShown => ran.arm == ArmName::Process,
            _ => false,
        };
        if !passed {
            bail!("{}: {}", ran.arm.as_str(), explained(ran));
        }
    }
    Ok(())
}

/// One run of it.
pub async fn ran(entry: &Entry, place: Place) -> Result<Ran> {
    let job = Job {
        script: Script::Plugins(Arc::clone(&entry.scenario)),
        place,
        seed: 1,
        replay: String::new(),
    };
    #[expect(clippy::disallowed_methods, reason = "a run has a runtime of its own")]
    let ran = tokio::task::spawn_blocking(move || runs::one(&job));
    ran.await.context("the run panicked")
}
