//! Runs the harness as a program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A folder for one test, with short paths: a socket's may have 107 bytes.
pub fn folder() -> TempDir {
    tempfile::Builder::new().prefix("kms-").tempdir().unwrap()
}

/// The harness with these arguments, without the caller's Vault settings.
pub fn harness(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kms-harness"));
    command
        .args(args)
        .stdin(Stdio::null())
        .current_dir(std::env::temp_dir());
    for (name, _) in std::env::vars() {
        if name.starts_with("VAULT") || name.starts_with("BAO") {
            command.env_remove(name);
        }
    }
    command
}

/// What it said.
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Runs it to its end.
pub fn run(args: &[&str]) -> Said {
    said(harness(args).output().unwrap())
}

pub fn said(output: Output) -> Said {
    Said {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Said {
    /// Ended with this code; shows everything otherwise.
    #[track_caller]
    pub fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }

    /// Its one JSON document.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

/// The toy plugin, which `cargo test` builds with the examples.
pub fn toy() -> PathBuf {
    let toy = Path::new(env!("CARGO_BIN_EXE_kms-harness"))
        .with_file_name("examples")
        .join("toy_plugin");
    assert!(
        toy.is_file(),
        "no {}: build the examples first (cargo build --examples -p kms-harness)",
        toy.display()
    );
    toy
}

/// A subject file for the toy plugin in `folder`.
pub fn toy_subject(folder: &Path, broken: &str) -> PathBuf {
    let file = folder.join(format!("toy-{broken}.toml"));
    let text = format!(
        "name = \"toy\"\nversion = \"1.2.3\"\n\
         command = [{:?}, \"--socket={{socket}}\", \"--key={{folder}}/toy.key\", \"--break={broken}\"]\n\
         [readiness]\nwithin = \"5s\"\n[stop]\nwithin = \"2s\"\n",
        toy().display().to_string()
    );
    std::fs::write(&file, text).unwrap();
    file
}

/// Status of a requirement in a report.
#[track_caller]
pub fn status<'a>(report: &'a Value, id: &str) -> &'a str {
    row(report, id)["status"].as_str().unwrap()
}

/// A requirement in a report.
#[track_caller]
pub fn row<'a>(report: &'a Value, id: &str) -> &'a Value {
    let rows = report["requirements"].as_array().unwrap();
    rows.iter()
        .find(|row| row["id"] == id)
        .unwrap_or_else(|| panic!("no row {id}"))
}
