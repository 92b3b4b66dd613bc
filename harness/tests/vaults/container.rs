//! What only a container has: it must go with the run.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kms_harness::vault::container::OWNER;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testcontainers::bollard::query_parameters::ListContainersOptionsBuilder;
use testcontainers::core::client::docker_client_instance;
use tokio::time::sleep;

use super::kind::Place;
use super::suite::harness;
use super::world::Parts;

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
