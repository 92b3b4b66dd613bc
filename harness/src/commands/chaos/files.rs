//! Finds and reads scenario files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use kms_rehearse::scenario::{self as rehearsals, Row};
use kms_scenario::language::file::ArmName;
use kms_scenario::language::{self, Problem, Scenario};

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
    pub script: Script,
}

/// What a file is about. Clones share it.
#[derive(Clone, Debug)]
pub enum Script {
    /// Plugins under faults and load.
    Plugins(Arc<Scenario>),
    /// The operators' procedure, with something that goes wrong in it.
    Operators(Arc<Row>),
}

impl Script {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Plugins(scenario) => &scenario.form.id,
            Self::Operators(row) => &row.form.id,
        }
    }

    /// Arms that it names.
    #[must_use]
    pub fn arms(&self) -> &[ArmName] {
        match self {
            Self::Plugins(scenario) => &scenario.form.arms,
            Self::Operators(row) => &row.form.arms,
        }
    }

    /// The scenario, if it is about plugins.
    #[must_use]
    pub fn plugins(&self) -> Option<&Arc<Scenario>> {
        match self {
            Self::Plugins(scenario) => Some(scenario),
            Self::Operators(_) => None,
        }
    }

    /// The file's text, in one form for all that say the same.
    ///
    /// # Errors
    /// A number that TOML has no form for.
    pub fn text(&self) -> anyhow::Result<String> {
        let text = match self {
            Self::Plugins(scenario) => language::write(&scenario.form),
            Self::Operators(row) => language::write(&row.form),
        };
        text.map_err(|error| anyhow!(error))
    }
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
pub fn read_one(path: &Path) -> anyhow::Result<Result<Script, Vec<Problem>>> {
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
    Ok(if rehearsals::is_meant(&text) {
        rehearsals::read(&text, stem).map(|row| Script::Operators(Arc::new(row)))
    } else {
        language::read(&text, stem).map(|scenario| Script::Plugins(Arc::new(scenario)))
    })
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
            Ok(script) => {
                let id = script.id();
                if let Some(other) = texts.iter().find(|other| other.script.id() == id) {
                    wrong.push(format!(
                        "{}: {} has the id {id:?} already; rename one",
                        path.display(),
                        other.path.display()
                    ));
                }
                texts.push(ScenarioText {
                    path: path.clone(),
                    script,
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
