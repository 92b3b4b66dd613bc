//! The main job on a real server, as a user runs it.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use crate::world::Parts;

pub async fn main_job(parts: Parts) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("bundle");
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_kms-harness"))
        .args(["run", "--vault", "openbao", "--format", "json", "--plugin"])
        .arg(&*parts.plugin)
        .arg("--out")
        .arg(&out)
        .env("BAO", &parts.bao)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}:\n{told}", output.status);
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("read the report")?;
    ensure!(
        report["environment"]["backend"]["product"] == "openbao",
        "the backend is {}",
        report["environment"]["backend"]
    );
    ensure!(out.join("SHA256SUMS").is_file(), "no bundle was written");
    Ok(())
}
