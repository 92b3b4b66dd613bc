//! Child processes that never outlive us: killed and reaped on drop, also on the way out of an error.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

/// How much of a log a message shows, in bytes.
const TAIL: usize = 1500;

/// A running child. Dropping it kills it, even when it is stopped, and waits for it.
#[derive(Debug)]
pub struct Child {
    inner: std::process::Child,
    name: String,
    log: PathBuf,
}

impl Child {
    /// Starts `program` with no environment but PATH and a HOME inside `dir`; both outputs go to
    /// `dir/NAME.log`.
    pub fn spawn<S: AsRef<OsStr>>(
        name: &str,
        program: &Path,
        args: &[S],
        dir: &Path,
    ) -> Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let out = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(program);
        command
            .args(args)
            .env_clear()
            .env("HOME", dir)
            .current_dir(dir);
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command
            .stdin(Stdio::null())
            .stderr(out.try_clone()?)
            .stdout(out);
        let inner = command
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self {
            inner,
            name: name.to_owned(),
            log,
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.inner.id()
    }

    /// Sends a signal. Nothing happens when the process has ended and was reaped.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.inner.try_wait()?.is_none() {
            kill(Pid::from_raw(self.pid().cast_signed()), signal)?;
        }
        Ok(())
    }

    /// An error that shows the end of the log if the process has ended.
    pub fn must_run(&mut self) -> Result<()> {
        match self.inner.try_wait()? {
            None => Ok(()),
            Some(status) => anyhow::bail!(
                "{} ended early ({status}); its last words:\n{}",
                self.name,
                self.log_tail()
            ),
        }
    }

    /// SIGTERM, then SIGKILL after `limit`. The exit status, or `None` when it had to be killed.
    pub async fn stop(mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        self.signal(Signal::SIGTERM)?;
        let until = Instant::now() + limit;
        while Instant::now() < until {
            if let Some(status) = self.inner.try_wait()? {
                return Ok(Some(status));
            }
            sleep(Duration::from_millis(1)).await;
        }
        Ok(None)
    }

    /// The last words of its log.
    pub fn log_tail(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&text[text.len().saturating_sub(TAIL)..]).into_owned()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Fails only when the process has ended already; waiting is what matters then.
        let _: io::Result<()> = self.inner.kill();
        let _ = self.inner.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alive(pid: u32) -> bool {
        kill(Pid::from_raw(pid.cast_signed()), None).is_ok()
    }

    #[test]
    fn a_dropped_child_is_gone_even_when_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Child::spawn("sleeper", Path::new("sleep"), &["600"], dir.path()).unwrap();
        child.signal(Signal::SIGSTOP).unwrap();
        let pid = child.pid();
        assert!(alive(pid));
        drop(child);
        assert!(!alive(pid));
    }

    #[tokio::test]
    async fn an_early_end_is_reported_with_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Child::spawn(
            "talker",
            Path::new("sh"),
            &["-c", "echo wrong flag >&2; exit 2"],
            dir.path(),
        )
        .unwrap();
        child.inner.wait().unwrap();
        let text = child.must_run().unwrap_err().to_string();
        assert!(
            text.contains("talker ended early") && text.contains("wrong flag"),
            "{text}"
        );
    }
}
