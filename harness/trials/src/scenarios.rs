//! The scenarios of a library as tests. They need real processes around the plugin, a Vault and API servers among them:
//! `kms-harness` has those, so each test runs that program and nothing of it is linked here.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kms_process::child::find_program;
use libtest_mimic::{Completion, Failed, Trial};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

/// Which scenarios, on which plugin.
#[derive(Clone, Debug)]
pub struct Scenarios {
    subject: PathBuf,
    library: PathBuf,
    vault: String,
}

impl Scenarios {
    /// Those below the folder `library` that say how they run in real time, on the plugin that the file `subject`
    /// describes as `kms-harness run --subject` takes it. The program is `$KMS_HARNESS`, or `kms-harness` on PATH; without
    /// it they are ignored.
    pub fn new(subject: impl Into<PathBuf>, library: impl Into<PathBuf>) -> Self {
        Self {
            subject: subject.into(),
            library: library.into(),
            vault: "sim".to_owned(),
        }
    }

    /// Another Vault than the built-in one: a word of `kms-harness chaos --vault`.
    #[must_use]
    pub fn on(mut self, vault: &str) -> Self {
        vault.clone_into(&mut self.vault);
        self
    }

    pub(crate) fn trials(self) -> Vec<Trial> {
        let mut files = Vec::new();
        let unread = below(&self.library, &mut files).err();
        let mut trials: Vec<Trial> = files
            .into_iter()
            .filter_map(|(file, text)| match toml::from_str::<Head>(&text) {
                Ok(Head { id, scale }) => scale.map(|_| {
                    let all = self.clone();
                    Trial::ignorable_test(format!("scenario::{id}"), move || all.run(&file))
                }),
                // Passed over, it would be a test that nobody misses.
                Err(error) => {
                    let why = format!("{}: {error}", file.display());
                    let name = format!("scenario::{}", file.display());
                    Some(Trial::test(name, move || Err(Failed::from(why))))
                }
            })
            .collect();
        if let Some(error) = unread {
            let why = format!("read the scenarios in {}: {error}", self.library.display());
            trials.push(Trial::test("scenario", move || Err(Failed::from(why))));
        }
        trials
    }

    fn run(&self, file: &Path) -> Result<Completion, Failed> {
        let named = std::env::var_os("KMS_HARNESS").map(PathBuf::from);
        let program = named.unwrap_or_else(|| "kms-harness".into());
        let Some(program) = find_program(&program) else {
            let why = format!("no program {}: set $KMS_HARNESS", program.display());
            return Ok(Completion::ignored_with(why));
        };
        let output = Command::new(program)
            .arg("chaos")
            .arg(file)
            .args([
                "--arm",
                "process",
                "--format",
                "json",
                "--vault",
                &self.vault,
            ])
            .arg("--subject")
            .arg(&self.subject)
            .stdin(Stdio::null())
            .output()?;
        let result: Value = serde_json::from_slice(&output.stdout)
            .map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())?;
        let run = &result["scenarios"][0];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match run["verdict"].as_str() {
            Some("pass" | "not_shown") => Ok(Completion::Completed),
            Some("not_applicable") => Ok(Completion::ignored_with(text(&run["reason"]))),
            _ => {
                let invariants = run["invariants"].as_array().into_iter().flatten();
                let bad = invariants.filter(|one| one["result"] != "held");
                let told = bad.map(|one| {
                    let [id, result, detail] =
                        ["id", "result", "detail"].map(|name| text(&one[name]));
                    format!("{id} {result}: {detail}\n")
                });
                let told: String = told.collect();
                let (verdict, reason) = (text(&run["verdict"]), text(&run["reason"]));
                Err(format!("{verdict} {reason}\n{told}{}", text(&run["replay"])).into())
            }
        }
    }
}

/// What of a scenario's file decides whether it is a test here.
#[derive(Deserialize)]
struct Head {
    id: String,
    scale: Option<IgnoredAny>,
}

/// The files below a folder, sorted, with their text.
fn below(folder: &Path, files: &mut Vec<(PathBuf, String)>) -> std::io::Result<()> {
    let entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    let mut paths: Vec<PathBuf> = entries.iter().map(std::fs::DirEntry::path).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            below(&path, files)?;
        } else if path.extension().is_some_and(|ending| ending == "toml") {
            let text = std::fs::read_to_string(&path)?;
            files.push((path, text));
        }
    }
    Ok(())
}
