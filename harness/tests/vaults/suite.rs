//! The main job on a real server, as a user runs it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kms_harness::vault::container::OWNER;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use testcontainers::bollard::query_parameters::ListContainersOptionsBuilder;
use testcontainers::core::client::docker_client_instance;
use tokio::process::Command;
use tokio::time::sleep;

use crate::kind::{Kind, Place, Setup};
use crate::world::Parts;

/// `--vault WORD`.
pub async fn main_job(parts: Parts, word: &str, kind: Kind) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut command = harness(&parts, &["--vault", word], folder.path());
    match &parts.place {
        Place::Here(..) => {}
        Place::Binary(family, file) => {
            command.env(family.variable(), file);
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

/// Ctrl-C while a run is under way: exit 130, and its container is gone.
pub async fn interrupted_run_leaves_no_container(parts: Parts) -> Result<()> {
    let Place::Image(image) = &parts.place else {
        bail!("this is for containers, not for {:?}", parts.place);
    };
    let folder = tempfile::tempdir()?;
    let arguments = ["--vault", "container", "--vault-image", &image.to_string()];
    let mut run = harness(&parts, &arguments, folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let pid = run.id().context("the harness has ended")?;
    let transcript = folder.path().join("bundle/history.jsonl");
    while std::fs::metadata(&transcript).map_or(0, |file| file.len()) < 5_000 {
        ensure!(run.try_wait()?.is_none(), "the run was over at once");
        sleep(Duration::from_millis(50)).await;
    }
    let docker = docker_client_instance().await?;
    let filters = [("label".to_owned(), vec![format!("{OWNER}={pid}")])];
    let filters = filters.into_iter().collect();
    let ours = || {
        let all = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters);
        docker.list_containers(Some(all.build()))
    };
    ensure!(ours().await?.len() == 1, "the run has no container");
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGINT)?;
    let ended = run.wait().await?;
    ensure!(ended.code() == Some(130), "{ended}");
    let left = ours().await?.len();
    ensure!(left == 0, "{left} containers are left");
    Ok(())
}

fn is_of(environment: &Value, kind: Kind) -> bool {
    let product = environment["backend"]["product"].as_str();
    product.is_some_and(|product| kind.products().contains(&product))
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
