//! The main job on a real server, as a user runs it.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use kms_harness::vault::VaultBackend;
use kms_harness::vault::openbao::OpenBao;
use serde_json::Value;
use tokio::process::Command;

use crate::world::Parts;

pub async fn main_job(parts: Parts) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut command = harness(&parts, &["--vault", "openbao"], folder.path());
    let report = report(command.env("BAO", &parts.bao)).await?;
    ensure!(
        report["environment"]["backend"]["product"] == "openbao",
        "{}",
        report["environment"]
    );
    ensure!(
        folder.path().join("bundle/SHA256SUMS").is_file(),
        "no bundle was written"
    );
    ensure!(
        report["subject"]["version"].is_string(),
        "{}",
        report["subject"]
    );
    for (id, wanted) in [
        ("KMS2-RT-01", "pass"),
        ("KMS2-RT-02", "pass"),
        ("KMS2-ROT-01", "pass"),
    ] {
        let rows = report["requirements"]
            .as_array()
            .context("no requirements")?;
        let row = rows.iter().find(|row| row["id"] == id).context(id)?;
        ensure!(row["status"] == wanted, "{id}: {row}");
    }
    Ok(())
}

/// At an address: the run works in mounts of its own and takes them away again.
pub async fn somebody_elses_vault_is_given_back(parts: Parts) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let bao = OpenBao::dev(&parts.bao, folder.path()).await?;
    let admin = bao.admin();
    let mut before = Vec::new();
    for path in ["sys/mounts", "sys/auth", "sys/policies/acl?list=true"] {
        before.push((path, admin.read(path).await?.ok()?["data"].clone()));
    }
    let address = bao.addresses().remove(0);
    let mut command = harness(&parts, &["--vault", &address], folder.path());
    let report = report(command.env("VAULT_TOKEN", admin.token())).await?;
    ensure!(
        report["environment"]["backend"]["product"] == "openbao",
        "{}",
        report["environment"]
    );
    for (path, wanted) in before {
        let now = admin.read(path).await?.ok()?["data"].clone();
        ensure!(now == wanted, "{path} was {wanted}, is {now}");
    }
    let bundle = folder.path().join("bundle");
    for file in std::fs::read_dir(bundle)? {
        let text = std::fs::read(file?.path())?;
        ensure!(
            !kms_harness::bundle::holds(&text, &[admin.token()]),
            "the bundle holds the root token"
        );
    }
    Ok(())
}

fn harness(parts: &Parts, args: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kms-harness"));
    command
        .args(["run", "--format", "json", "--plugin"])
        .arg(&*parts.plugin)
        .arg("--out")
        .arg(folder.join("bundle"))
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

async fn report(command: &mut Command) -> Result<Value> {
    let output = command.output().await?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{}:\n{told}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout)
    );
    serde_json::from_slice(&output.stdout).context("read the report")
}
