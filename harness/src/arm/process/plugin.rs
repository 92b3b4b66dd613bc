//! The plugin's process: started without waiting, broken, and gone with its owner.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use kms_process::child::{Child, Launch, Stopped, describe};
use nix::sys::signal::Signal;

/// How long a plugin may take to end by itself.
const ENDS: Duration = Duration::from_secs(10);

/// One plugin, running or not.
pub struct Plugin {
    launch: Launch,
    child: Option<Child>,
}

impl Plugin {
    /// A plugin that is not running yet.
    pub fn new(launch: Launch) -> Self {
        Self {
            launch,
            child: None,
        }
    }

    /// Starts it. Whether it serves is another question.
    pub fn start(&mut self) -> Result<()> {
        self.child = Some(Child::spawn(&self.launch)?);
        Ok(())
    }

    /// Whether its process is there. One that ended by itself is said once.
    pub fn ended(&mut self) -> Option<String> {
        let status = self.child.as_mut()?.exited()?;
        self.child = None;
        Some(describe(status))
    }

    /// Kills it; false if it was not running.
    pub fn kill(&mut self) -> bool {
        let child = self.child.take();
        child.map(|mut child| child.kill()).is_some()
    }

    /// Asks it to end; how it did, nothing if it was not running.
    pub async fn stop(&mut self) -> Result<Option<String>> {
        let Some(mut child) = self.child.take() else {
            return Ok(None);
        };
        Ok(Some(match child.stop(Signal::SIGTERM, ENDS).await? {
            Stopped::Itself(status) => describe(status),
            Stopped::Killed => format!(
                "killed: it had not ended {} s after SIGTERM",
                ENDS.as_secs()
            ),
        }))
    }

    /// Sends a signal to a running one.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.child
            .as_mut()
            .context("the plugin is not running")?
            .signal(signal)
    }

    /// Everything it printed.
    pub fn log(&self) -> PathBuf {
        self.launch.log.clone()
    }
}
