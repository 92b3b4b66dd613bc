//! Recorded runs, judged again by the invariants of this build.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use kms_history::chaos_file;
use kms_scenario::language::file::ArmName;
use kms_scenario::language::{self, Scenario};
use kms_scenario::verdict::{Verdict, digest};

use super::files::Script;
use super::runs::{Ran, plan};
use super::show;
use crate::cli::Output;
use crate::exit::{Failure, OrUsage};

/// What the names of recorded runs end with.
pub const ENDING: &str = "run.jsonl";

/// The recorded runs in a folder, in order.
///
/// # Errors
/// The folder cannot be read.
pub fn recorded(folder: &Path) -> Result<Vec<PathBuf>> {
    let about = || format!("read {}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(about)? {
        let path = entry.with_context(about)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(&format!(".{ENDING}")) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Judges them, and says what came of them as `chaos` does.
pub fn rejudge(files: &[PathBuf], output: &Output) -> Result<u8, Failure> {
    let out = show::folder(output.out.as_deref())?;
    let ran = files.iter().map(|file| again(file).or_usage());
    let ran = ran.collect::<Result<Vec<Ran>, Failure>>()?;
    show::finish(&ran, output.format, out.as_deref())
}

/// One of them.
///
/// # Errors
/// It is none of this build, or was changed.
pub fn again(file: &Path) -> Result<Ran> {
    let about = || format!("read {}", file.display());
    let text = fs::read_to_string(file).with_context(about)?;
    let (header, history) = chaos_file::read(&text)
        .map_err(|error| anyhow!(error))
        .with_context(about)?;
    ensure!(
        digest(&history) == header.digest,
        "{}: its events are not those that its first line was written for",
        file.display()
    );
    let scenario = scenario(&header.scenario).with_context(about)?;
    let arm = ArmName::ALL
        .into_iter()
        .find(|arm| arm.as_str() == header.arm);
    let arm = arm
        .with_context(|| format!("there is no arm {:?}", header.arm))
        .with_context(about)?;
    let plan = plan(&scenario, arm, header.seed);
    let mut ran = Ran {
        id: scenario.form.id.clone(),
        script: Script::Plugins(Arc::new(scenario)),
        arm,
        seed: header.seed,
        verdict: Verdict::NotApplicable,
        outcome: None,
        reason: None,
        history: Vec::new(),
        page: String::new(),
        simulated: Duration::ZERO,
        wall: Duration::from_secs_f64(header.wall_seconds.clamp(0.0, 1e9)),
        replay: header.replay,
    };
    ran.judge(&plan, history, header.trouble);
    Ok(ran)
}

fn scenario(text: &str) -> Result<Scenario> {
    language::read(text, None).map_err(|problems| {
        let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow!("its scenario is none of this build: {}", all.join("; "))
    })
}
