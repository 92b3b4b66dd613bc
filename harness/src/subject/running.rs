//! A plugin that the harness started.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use super::file::{Stop, SubjectFile, Template, Values};
use crate::child::{Child, Launch, Stopped, describe, log_tail};
use crate::socket;

/// Lines of the plugin's log that a failed start shows.
const SHOWN_LINES: usize = 8;

/// A started plugin. Dropping it kills the process and what it left behind.
#[derive(Debug)]
pub struct Running {
    subject: SubjectFile,
    values: Values,
    launch: Launch,
    socket: PathBuf,
    child: Child,
}

impl Running {
    /// Starts the plugin with `values` filled in and waits until its Status is good.
    pub async fn start(subject: SubjectFile, values: Values, log: PathBuf) -> Result<Self> {
        let mut running = Self::spawn(subject, values, log)?;
        running.wait_ready().await?;
        Ok(running)
    }

    /// Starts the plugin and waits for nothing.
    pub fn spawn(subject: SubjectFile, values: Values, log: PathBuf) -> Result<Self> {
        let socket = PathBuf::from(values.get("socket").context("the run has no socket")?);
        let launch = launch(&subject, &values, log)?;
        let child = Child::spawn(&launch)?;
        Ok(Self {
            subject,
            values,
            launch,
            socket,
            child,
        })
    }

    /// Waits until somebody listens on its socket, it has ended, or the time is up.
    pub async fn wait_listening(&mut self, within: Duration) {
        let deadline = Instant::now() + within;
        while UnixStream::connect(&self.socket).await.is_err()
            && self.child.exited().is_none()
            && Instant::now() < deadline
        {
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Path of its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// File with everything it printed, over all its starts.
    pub fn log(&self) -> &Path {
        &self.launch.log
    }

    /// The process, for signals.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Asks it to stop as its description says, and kills it otherwise.
    pub async fn stop(&mut self) -> Result<Stopped> {
        let Stop { signal, within } = self.subject.stop;
        self.child.stop(signal, within).await
    }

    /// Restarts it as its description says, and waits until its Status is good.
    pub async fn restart(&mut self) -> Result<()> {
        if let Some(restart) = &self.subject.restart {
            let (program, args) = command(&restart.command, &self.values)?;
            run_hook(
                &program,
                &args,
                self.subject.readiness.within,
                &self.launch.log,
            )
            .await?;
        } else {
            self.stop().await?;
            self.child = Child::spawn(&self.launch)?;
        }
        self.wait_ready().await
    }

    /// Kills it as a crash would, and starts it again.
    pub async fn crash_and_start(&mut self) -> Result<()> {
        self.child.kill();
        self.child = Child::spawn(&self.launch)?;
        self.wait_ready().await
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let own_restart = self.subject.restart.is_some();
        let child = &mut self.child;
        // With a restart command of its own, the process that we started may rightly be gone.
        let ended = || {
            child
                .exited()
                .filter(|_| !own_restart)
                .map(|status| format!("it ended with {}", describe(status)))
        };
        let ready = socket::wait_ready(&self.socket, self.subject.readiness.within, ended).await;
        ready.map(drop).with_context(|| {
            let tail = log_tail(&self.launch.log, SHOWN_LINES);
            format!("start {}; its log ends:\n{tail}\n", self.subject.name)
        })
    }
}

/// The process that a description means, with `values` filled in.
///
/// # Errors
/// A placeholder has no value.
pub fn launch(subject: &SubjectFile, values: &Values, log: PathBuf) -> Result<Launch> {
    let (program, args) = command(&subject.command, values)?;
    let environment = subject
        .environment
        .iter()
        .map(|(name, value)| Ok((name.clone(), value.fill(values)?)))
        .collect::<Result<_>>()?;
    Ok(Launch {
        name: subject.name.clone(),
        program,
        args,
        environment,
        log,
    })
}

fn command(command: &[Template], values: &Values) -> Result<(PathBuf, Vec<String>)> {
    let mut filled = command
        .iter()
        .map(|part| part.fill(values))
        .collect::<Result<Vec<_>>>()?;
    let program = PathBuf::from(filled.remove(0));
    Ok((program, filled))
}

/// Runs an operator's command to its end; anything but exit code 0 in time is an error. It has the
/// harness's whole environment, and what it leaves running stays: that may be the plugin.
pub async fn run_hook(program: &Path, args: &[String], within: Duration, log: &Path) -> Result<()> {
    let output = File::options()
        .append(true)
        .create(true)
        .open(log)
        .with_context(|| format!("open the log {}", log.display()))?;
    let ended = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(output.try_clone().context("share the log")?)
        .stderr(output)
        .kill_on_drop(true)
        .status();
    match timeout(within, ended).await {
        Ok(status) => {
            let status = status.with_context(|| format!("run {}", program.display()))?;
            ensure!(
                status.success(),
                "the restart command ended with {}; see {}",
                describe(status),
                log.display()
            );
            Ok(())
        }
        Err(_) => {
            bail!(
                "the restart command had not ended after {} s and was killed",
                within.as_secs()
            )
        }
    }
}
