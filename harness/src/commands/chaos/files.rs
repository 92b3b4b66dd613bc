//! Finds and reads scenario files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use kms_scenario::language::{Problem, Scenario, read};

use crate::exit::Failure;

/// The folder that is looked for where no path is given.
const FOLDER: &str = "scenarios";
/// No scenario is longer.
const LONGEST: u64 = 1 << 20;

/// A scenario and where it stands.
#[derive(Clone, Debug)]
pub struct ScenarioText {
    /// The file.
    pub path: PathBuf,
    /// What it says.
    pub scenario: Arc<Scenario>,
}

/// The scenario files that are meant, in order: files as they are given, of folders all `.toml` files below; of nothing
/// those of the folder `scenarios` here or above.
///
/// # Errors
/// A path that is not there, or no scenario at all.
pub fn chosen(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let found;
    let paths = if paths.is_empty() {
        found = [upwards()?];
        &found[..]
    } else {
        paths
    };
    let mut files = Vec::new();
    for path in paths {
        let before = files.len();
        if path.is_dir() {
            below(path, &mut files)?;
            files[before..].sort();
            if files.len() == before {
                bail!("{}: there is no .toml file in this folder", path.display());
            }
        } else if path.exists() {
            files.push(path.clone());
        } else {
            bail!("{}: there is no such file or folder", path.display());
        }
    }
    Ok(files)
}

fn upwards() -> anyhow::Result<PathBuf> {
    let here = std::env::current_dir().context("the current folder")?;
    let above = here.ancestors().zip(0_usize..).find_map(|(folder, steps)| {
        folder.join(FOLDER).is_dir().then(|| {
            let mut path: PathBuf = std::iter::repeat_n("..", steps).collect();
            path.push(FOLDER);
            path
        })
    });
    above.ok_or_else(|| {
        anyhow!("there is no folder {FOLDER:?} here or above; name scenario files or a folder")
    })
}

fn below(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    for entry in entries {
        let path = entry
            .with_context(|| format!("read {}", folder.display()))?
            .path();
        if path.is_dir() {
            below(&path, files)?;
        } else if path.extension().is_some_and(|ending| ending == "toml") {
            files.push(path);
        }
    }
    Ok(())
}

/// Reads one scenario; the problems if there are any.
///
/// # Errors
/// The file cannot be read.
pub fn read_one(path: &Path) -> anyhow::Result<Result<Scenario, Vec<Problem>>> {
    let about = || format!("read {}", path.display());
    let length = fs::metadata(path).with_context(about)?.len();
    if length > LONGEST {
        bail!(
            "{}: it is longer than a scenario can be (1 MiB)",
            path.display()
        );
    }
    let text = fs::read_to_string(path).with_context(about)?;
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    Ok(read(&text, stem))
}

/// A problem as it is shown.
pub fn shown(path: &Path, problem: &Problem) -> String {
    format!("{}:{problem}", path.display())
}

/// Reads scenarios, all of them right.
///
/// # Errors
/// Usage: everything that is wrong with any of them; two with one id.
pub fn read_all(paths: &[PathBuf]) -> Result<Vec<ScenarioText>, Failure> {
    let mut texts: Vec<ScenarioText> = Vec::new();
    let mut wrong = Vec::new();
    for path in paths {
        match read_one(path).map_err(Failure::Usage)? {
            Ok(scenario) => {
                let id = &scenario.form.id;
                if let Some(other) = texts.iter().find(|other| other.scenario.form.id == *id) {
                    wrong.push(format!(
                        "{}: {} has the id {id:?} already; rename one",
                        path.display(),
                        other.path.display()
                    ));
                }
                texts.push(ScenarioText {
                    path: path.clone(),
                    scenario: Arc::new(scenario),
                });
            }
            Err(problems) => wrong.extend(problems.iter().map(|problem| shown(path, problem))),
        }
    }
    if wrong.is_empty() {
        Ok(texts)
    } else {
        Err(Failure::Usage(anyhow!("{}", wrong.join("\n"))))
    }
}
