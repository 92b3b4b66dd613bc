//! The main job on a real server, as a user runs it.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use kms_harness::bundle::{Bundle, holds};
use serde_json::Value;
use tokio::process::Command;

use super::kind::{Kind, Place, Setup};
use super::world::Parts;

/// `--vault WORD`.
pub async fn main_job(parts: Parts, word: &str, kind: Kind) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut command = harness(&parts, &["--vault", word], folder.path());
    match &parts.place {
        Place::Here(..) => {}
        Place::Binary(family, file) => {
            command.env(family.part().variable, file);
        }
        Place::Image(image) => {
            command.args(["--vault-image", &image.to_string()]);
        }
    }
    let report = report(&mut command).await?;
    let environment = &report["environment"];
    let simulated = matches!(parts.place, Place::Here(..));
    ensure!(
        if simulated {
            environment["backend"]["product"] == "sim-vault"
        } else {
            is_of(environment, kind)
        },
        "{environment}"
    );
    ensure!(
        environment["containerRuntime"].is_string() == matches!(parts.place, Place::Image(_)),
        "{environment}"
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
pub async fn somebody_elses_vault_is_given_back(parts: Parts, kind: Kind) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let vault = parts.place.start(Setup::Dev, folder.path()).await?;
    let admin = vault.admin();
    let mut before = Vec::new();
    for path in ["sys/mounts", "sys/auth", "sys/policies/acl?list=true"] {
        before.push((path, admin.read(path).await?.ok()?["data"].clone()));
    }
    let address = vault.addresses().remove(0);
    let mut command = harness(&parts, &["--vault", &address], folder.path());
    let report = report(command.env("VAULT_TOKEN", admin.token())).await?;
    let environment = &report["environment"];
    ensure!(is_of(environment, kind), "{environment}");
    for (path, wanted) in before {
        let now = admin.read(path).await?.ok()?["data"].clone();
        ensure!(now == wanted, "{path} was {wanted}, is {now}");
    }
    let bundle = Bundle::at(&folder.path().join("bundle"));
    for file in bundle.files()? {
        let text = std::fs::read(bundle.path(&file))?;
        ensure!(
            !holds(&text, &[admin.token()]),
            "the bundle holds the root token"
        );
    }
    Ok(())
}

fn is_of(environment: &Value, kind: Kind) -> bool {
    let product = environment["backend"]["product"].as_str();
    product.is_some_and(|product| kind.products().contains(&product))
}

/// The harness as a user runs it, with the plugin that is there.
pub fn harness(parts: &Parts, args: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kms-harness"));
    command
        .args(["run", "--format", "json", "--scenarios", "none", "--plugin"])
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
