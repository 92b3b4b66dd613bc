//! The suite as the tests of a plugin's own, on ours: each requirement is a test by its id (`cargo test -p kms-harness
//! --test own_plugin -- KMS2-ENC`). What a plugin author writes is the function `main`; the rest is a Vault for it.

#[allow(dead_code, reason = "most of it is for the tiers")]
mod common;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use kms_harness::subject::own::{Vocabulary, describe};
use kms_harness::subject::values;
use kms_harness::vault::VaultBackend;
use kms_harness::vault::provision::Wanted;
use kms_harness::vault::sim::{Front, Sim};
use kms_trials::Subject;
use sim_vault::Flavour;
use tempfile::TempDir;

fn main() -> ExitCode {
    let world = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&world);
    let code = kms_trials::main(move || {
        let (subject, stands) = started().unwrap_or_else(|error| panic!("{error:#}"));
        *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(stands);
        subject
    });
    drop(world);
    code
}

/// A Vault and the files with its credentials: they go when the tests have ended.
struct World {
    _vault: Sim,
    _folder: TempDir,
}

/// The plugin, in the words of OpenShift's sidecar, on a simulated Vault.
fn started() -> Result<(Subject, World)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start a runtime")?;
    let folder = tempfile::tempdir().context("make a folder for the credentials")?;
    let plugin = common::plugin::built_first();
    let (vault, access) = runtime.block_on(async {
        let vault = Sim::start(1, Flavour::OpenBao, Front::Own).await?;
        let access = Wanted::default()
            .create(&vault.admin(), folder.path())
            .await?;
        Ok::<_, anyhow::Error>((vault, access))
    })?;
    let mut values = values(&vault, &access, folder.path());
    values.insert("socket", "{socket}".to_owned());
    let description = describe(&plugin, Vocabulary::Sidecar, &values);
    let words = description.command.iter().skip(1);
    let words: Vec<String> = words
        .map(|word| word.fill(&values))
        .collect::<Result<_>>()?;
    let world = World {
        _vault: vault,
        _folder: folder,
    };
    Ok((Subject::command(plugin, words), world))
}
