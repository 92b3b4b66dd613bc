//! Plugins that we did not write: one on the Go library that most are built on, and the one of the API server's own tests.
//! What the suite says against them is expected, and explained, in `foreign.toml`; anything else is a false alarm.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use kms_harness::arm::process::Parts;
use kms_harness::arm::process::subject::Subject;
use kms_harness::commands::chaos::runs::Place;
use kms_harness::subject::file::SubjectFile;
use kms_process::parts::GO_PLUGINS;
use kms_scenario::verdict::Verdict;
use libtest_mimic::Trial;
use serde::Deserialize;
use serde_json::Value;
use tokio::process::Command;

use super::library::{self, Entry};
use super::openbao;
use crate::common::tier;

/// What the suite is known to say against a plugin.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Explained {
    plugin: Vec<Plugin>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plugin {
    name: String,
    /// Scenarios that say something about it.
    scenarios: Vec<String>,
    /// Requirements that fail, or scenarios.
    alarm: Vec<Alarm>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Alarm {
    id: String,
    /// The requirement's checks that fail, each of them; or expectations of the scenario, of which one breaks at least.
    breaks: Vec<String>,
    /// Why it is right.
    why: String,
}

impl Plugin {
    /// How it is run, as a user would say it, with the program by its path.
    fn subject(&self, program: &Path) -> Result<String> {
        let name = &self.name;
        let file = format!(
            "{}/../ci/go-plugins/{name}.toml",
            env!("CARGO_MANIFEST_DIR")
        );
        let text = std::fs::read_to_string(&file).with_context(|| format!("read {file}"))?;
        let word = format!("\n    {name:?}");
        ensure!(
            text.contains(&word),
            "{file}: the command does not begin with {name:?} on its line"
        );
        Ok(text.replacen(&word, &format!("\n    {program:?}"), 1))
    }

    fn alarm(&self, id: &str) -> Option<&Alarm> {
        self.alarm.iter().find(|alarm| alarm.id == id)
    }
}

fn explained() -> Explained {
    toml::from_str(include_str!("foreign.toml")).expect("foreign.toml is well formed")
}

/// All of them.
pub fn trials(subject: &Subject) -> Vec<Trial> {
    let entries = library::entries().expect("the library is read");
    let mut trials = Vec::new();
    for plugin in explained().plugin {
        for alarm in &plugin.alarm {
            assert!(!alarm.why.is_empty(), "{}: say why", alarm.id);
            assert!(!alarm.breaks.is_empty(), "{}: say what breaks", alarm.id);
        }
        let found = || {
            let program = GO_PLUGINS.find().map_err(|error| format!("{error:#}"))?;
            let program = program.with_file_name(&plugin.name);
            openbao(subject).map(|parts| (parts, program))
        };
        let judged = plugin.clone();
        trials.push(tier::test(
            &format!("process::foreign::{}::requirements", plugin.name),
            found(),
            move |(_, program)| requirements(judged, program),
        ));
        for id in &plugin.scenarios {
            let entry = entries.iter().find(|entry| entry.id == *id).cloned();
            let entry = entry.unwrap_or_else(|| panic!("{id} has no scale for real time"));
            let judged = plugin.clone();
            trials.push(tier::test(
                &format!("process::foreign::{}::{id}", plugin.name),
                found(),
                move |(parts, program)| scenario(judged, entry, parts, program),
            ));
        }
    }
    trials
}

/// The main job on it: what fails is what is listed.
async fn requirements(plugin: Plugin, program: PathBuf) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("subject.toml");
    std::fs::write(&file, plugin.subject(&program)?)?;
    let output = Command::new(env!("CARGO_BIN_EXE_kms-harness"))
        .args(["run", "--format", "json", "--subject"])
        .arg(&file)
        .arg("--out")
        .arg(folder.path().join("bundle"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let report: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let rows = report["requirements"]
        .as_array()
        .context("no requirements")?;
    let mut failed = BTreeSet::new();
    for row in rows.iter().filter(|row| row["status"] == "fail") {
        let checks = row["checks"].as_array().context("no checks")?;
        for check in checks.iter().filter(|check| check["status"] == "fail") {
            failed.insert((row["id"].as_str(), check["checkId"].as_str()));
        }
    }
    let mut listed = BTreeSet::new();
    for alarm in plugin.alarm.iter().filter(|it| it.id.starts_with("KMS2-")) {
        let checks = alarm.breaks.iter();
        listed.extend(checks.map(|check| (Some(alarm.id.as_str()), Some(check.as_str()))));
    }
    let unlisted: Vec<_> = failed.difference(&listed).collect();
    let told = rows
        .iter()
        .filter(|row| unlisted.iter().any(|(id, _)| row["id"].as_str() == *id));
    let told: Vec<_> = told
        .map(|row| format!("{}: {}", row["id"], row["checks"]))
        .collect();
    let gone: Vec<_> = listed.difference(&failed).collect();
    ensure!(
        unlisted.is_empty() && gone.is_empty(),
        "{}: not in foreign.toml: {unlisted:?}; listed there, and no longer seen: {gone:?}\n{}",
        plugin.name,
        told.join("\n")
    );
    Ok(())
}

/// A scenario on it: it passes, or fails as listed.
async fn scenario(plugin: Plugin, entry: Entry, parts: Parts, program: PathBuf) -> Result<()> {
    let file = SubjectFile::parse(&plugin.subject(&program)?)?;
    let parts = Parts {
        subject: Subject::Described(Box::new(file)),
        ..parts
    };
    let ran = library::ran(&entry, Place::Process(Arc::new(parts))).await?;
    let broken = ran.outcome.iter().flat_map(|outcome| outcome.broken());
    let broken: BTreeSet<_> = broken.map(|broken| broken.id.to_string()).collect();
    match (ran.verdict, plugin.alarm(&entry.id)) {
        (Verdict::Pass, None) => Ok(()),
        (Verdict::Pass, Some(_)) => bail!("listed in foreign.toml, and no longer seen"),
        (Verdict::Fail, Some(alarm)) if alarm.breaks.iter().any(|id| broken.contains(id)) => Ok(()),
        (verdict, _) => bail!(
            "{verdict:?} {broken:?}, which is not in foreign.toml: {:?}",
            ran.reason
        ),
    }
}
