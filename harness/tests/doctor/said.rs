//! The command, and what it says.

use std::ffi::OsStr;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::process::Command;

/// What a command said.
pub struct Said {
    pub code: Option<i32>,
    pub json: Value,
    pub out: String,
    pub err: String,
}

/// Runs `kms-harness` with these arguments and JSON on standard output. No token of this process reaches it.
pub async fn say<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Result<Said> {
    run(Command::new(env!("CARGO_BIN_EXE_kms-harness")), args).await
}

/// The same by a command that ends in the harness.
pub async fn run<S: AsRef<OsStr>>(
    mut command: Command,
    args: impl IntoIterator<Item = S>,
) -> Result<Said> {
    let output = command
        .args(args)
        .args(["--format", "json"])
        .env_remove("VAULT_TOKEN")
        .env_remove("VAULT_CACERT")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("run kms-harness")?;
    let out = String::from_utf8(output.stdout)?;
    Ok(Said {
        code: output.status.code(),
        json: serde_json::from_str(&out).unwrap_or_default(),
        out,
        err: String::from_utf8(output.stderr)?,
    })
}

impl Said {
    /// Ids of the findings.
    pub fn ids(&self) -> Vec<&str> {
        let all = self.json["findings"].as_array().into_iter().flatten();
        all.filter_map(|it| it["id"].as_str()).collect()
    }

    /// Exactly these were found, and the exit code says so.
    pub fn found(&self, ids: &[&str]) -> Result<()> {
        let code = i32::from(!ids.is_empty());
        ensure!(
            self.ids() == ids && self.code == Some(code),
            "expected {ids:?}: {:?} {}{}",
            self.code,
            self.out,
            self.err
        );
        for finding in self.json["findings"].as_array().into_iter().flatten() {
            for field in ["saw", "means", "remedy"] {
                let text = finding[field].as_str().unwrap_or_default();
                ensure!(!text.is_empty(), "no {field} in {finding}");
            }
        }
        Ok(())
    }
}
