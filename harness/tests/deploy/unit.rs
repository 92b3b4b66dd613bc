//! The systemd unit: as systemd itself reads it, and carried out on the real program by a manager that is played. What the
//! sandbox does to it is not shown here: that takes a running systemd.

use std::collections::BTreeMap;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kms_harness::child::{Child, Launch, find_program};
use kms_harness::vault::VaultBackend;
use kms_harness::vault::provision::Wanted;
use kms_harness::vault::server::Server;
use nix::sys::signal::Signal;
use tokio::net::UnixDatagram;
use tokio::process::Command;
use tokio::time::{Instant, timeout_at};

use super::page;
use super::setup::Parts;
use crate::common::kms::Kms;

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

/// What of a unit a manager acts on: the values of a name, in order.
struct Unit(BTreeMap<String, Vec<String>>);

impl Unit {
    fn read() -> Result<Self> {
        let text = std::fs::read_to_string(page::folder()?.join("vault-kubernetes-kms.service"))?;
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
            all.entry(name.to_owned())
                .or_default()
                .push(value.to_owned());
        }
        Ok(Self(all))
    }

    fn one(&self, name: &str) -> Result<&str> {
        match self.0.get(name).map(Vec::as_slice) {
            Some([value]) => Ok(value),
            other => bail!("the unit has {name} as {other:?}"),
        }
    }

    fn seconds(&self, name: &str) -> Result<Duration> {
        Ok(Duration::from_secs(self.one(name)?.parse()?))
    }
}

/// What the plugin tells its manager.
struct Told(UnixDatagram);

impl Told {
    /// Waits for this word, at most so long.
    async fn hears(&self, word: &str, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        loop {
            let mut buffer = [0; 256];
            let heard = timeout_at(deadline, self.0.recv(&mut buffer)).await;
            let length =
                heard.with_context(|| format!("no {word} within {} s", within.as_secs()))??;
            if String::from_utf8_lossy(&buffer[..length])
                .lines()
                .any(|line| line == word)
            {
                return Ok(());
            }
        }
    }
}

/// Environment and folder as the unit says, its check before the start, ready in time, alive in time, told to reload,
/// stopped in time.
pub async fn a_manager_carries_it_out(parts: Parts) -> Result<()> {
    let unit = Unit::read()?;
    let folder = tempfile::Builder::new().prefix("kms-").tempdir()?;
    let place = folder.path();
    let vault = Server::dev(parts.family, &parts.server, place).await?;
    let access = Wanted::default().create(&vault.admin(), place).await?;
    // The runtime folder is where the default socket is.
    ensure!(unit.one("RuntimeDirectory")? == "kmsplugin" && unit.one("Type")? == "notify");
    let mode = u32::from_str_radix(unit.one("RuntimeDirectoryMode")?, 8)?;
    let run = place.join("kmsplugin");
    std::fs::DirBuilder::new().mode(mode).create(&run)?;
    let socket = run.join("kms.sock");
    let mut environment = BTreeMap::from(
        [
            ("VAULT_ADDRESS", vault.addresses().remove(0)),
            ("TRANSIT_KEY", access.key.clone()),
            ("AUTH_METHOD", "token".to_owned()),
            ("TOKEN_PATH", access.token_file.display().to_string()),
            ("SOCKET", format!("unix://{}", socket.display())),
            ("HEALTH_ADDRESS", "off".to_owned()),
            ("METRICS_ADDRESS", "off".to_owned()),
        ]
        .map(|(name, value)| (format!("VAULT_KMS_{name}"), value)),
    );
    let words = |name: &str| -> Result<Vec<String>> {
        let mut words = unit.one(name)?.split(' ').map(str::to_owned);
        ensure!(words.next().as_deref() == Some("/usr/local/bin/vault-kubernetes-kms"));
        Ok(words.collect())
    };
    let checked = Command::new(&*parts.plugin)
        .args(words("ExecStartPre")?)
        .env_clear()
        .envs(&environment)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    ensure!(checked.status.success(), "{checked:?}");

    let notify = place.join("notify");
    let told = Told(UnixDatagram::bind(&notify)?);
    let watchdog = unit.seconds("WatchdogSec")?;
    environment.extend([
        ("NOTIFY_SOCKET".to_owned(), notify.display().to_string()),
        ("WATCHDOG_USEC".to_owned(), watchdog.as_micros().to_string()),
    ]);
    let launch = Launch {
        args: words("ExecStart")?,
        environment,
        ..Launch::new("plugin", &parts.plugin, place)
    };
    let mut plugin = Child::spawn(&launch)?;
    told.hears("READY=1", unit.seconds("TimeoutStartSec")?)
        .await?;
    ensure!(socket.exists(), "ready before the socket was there");
    for _ in 0..2 {
        told.hears("WATCHDOG=1", watchdog)
            .await
            .context("the watchdog kills it")?;
    }

    let kms = Kms::connect(&socket).await?;
    kms.round_trip(&[1; 32]).await?;
    let reload = unit
        .one("ExecReload")?
        .replace("$MAINPID", &plugin.id().to_string());
    page::run(&reload, place, &[]).await?;
    plugin.must_run()?;
    kms.round_trip(&[2; 32]).await.context("after a reload")?;
    let asked = Instant::now();
    plugin.signal(Signal::SIGTERM)?;
    let limit = unit.seconds("TimeoutStopSec")?;
    told.hears("STOPPING=1", limit).await?;
    let ended = plugin.wait(limit.saturating_sub(asked.elapsed())).await;
    ensure!(
        ended.is_some_and(|status| status.success()),
        "it ended with {ended:?}"
    );
    let kept = std::fs::metadata(&run)?.permissions().mode() & 0o777;
    ensure!(
        kept == mode && unit.one("RuntimeDirectoryPreserve")? == "yes",
        "{kept:o}"
    );
    Ok(())
}
