//! The systemd unit, as systemd itself reads it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use kms_harness::child::find_program;
use tokio::process::Command;

use crate::page;

/// The highest exposure that `systemd-analyze security` may find, in tenths.
const EXPOSURE: &str = "20";

/// systemd's own judge of units.
pub fn find() -> Result<PathBuf, String> {
    find_program(Path::new("systemd-analyze"))
        .ok_or_else(|| "no systemd-analyze on PATH".to_owned())
}

/// No word of it is unknown, and the sandbox is as tight as it is said to be.
pub async fn it_is_well_formed_and_tight(analyze: PathBuf) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let text = std::fs::read_to_string(page::folder()?.join("vault-kubernetes-kms.service"))?;
    // A program that is there, so that its absence is not what is complained of.
    let text = text.replace("/usr/local/bin/vault-kubernetes-kms", "/bin/true");
    let unit = folder.path().join("vault-kubernetes-kms.service");
    let look = |arguments: &'static [&'static str]| {
        let mut command = Command::new(&analyze);
        command.args(arguments).arg(&unit).kill_on_drop(true);
        async move { command.output().await }
    };
    std::fs::write(&unit, &text)?;
    let verified = look(&["verify", "--man=no", "--recursive-errors=no"]).await?;
    let told = String::from_utf8_lossy(&verified.stderr).into_owned();
    ensure!(verified.status.success() && told.is_empty(), "{told}");
    let threshold: &'static [&'static str] =
        &["security", "--offline=true", "--threshold", EXPOSURE];
    let exposed = look(threshold).await?;
    ensure!(
        exposed.status.success(),
        "{}",
        String::from_utf8_lossy(&exposed.stdout)
    );
    // The judge sees a difference at all.
    let loose = text
        .replace("ProtectSystem=strict", "")
        .replace("CapabilityBoundingSet=", "");
    std::fs::write(&unit, loose.replace("SystemCallFilter=", "# "))?;
    ensure!(!look(threshold).await?.status.success(), "anything passes");
    std::fs::write(&unit, text.replace("WatchdogSec=30", "WatchdogSecs=30"))?;
    let verified = look(&["verify", "--man=no", "--recursive-errors=no"]).await?;
    let told = String::from_utf8_lossy(&verified.stderr).into_owned();
    told.contains("WatchdogSecs")
        .then_some(())
        .with_context(|| format!("an unknown word passes: {told}"))
}
