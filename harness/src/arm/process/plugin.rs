//! The plugin's process: started without waiting, broken, and gone with its owner. Or one that runs already and is
//! somebody else's.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use kms_process::child::{Child, Launch, Stopped, describe};
use nix::sys::signal::Signal;

use crate::subject::file::Stop;

/// One plugin, running or not.
pub struct Plugin {
    /// Nothing for one that is not ours.
    launch: Option<Launch>,
    stop: Stop,
    child: Option<Child>,
}

impl Plugin {
    /// A plugin that is not running yet.
    pub fn new(launch: Launch, stop: Stop) -> Self {
        Self {
            launch: Some(launch),
            stop,
            child: None,
        }
    }

    /// One that runs already.
    pub fn theirs() -> Self {
        Self {
            launch: None,
            stop: Stop::default(),
            child: None,
        }
    }

    /// Starts it, if it is ours to start. Whether it serves is another question.
    pub fn start(&mut self) -> Result<()> {
        if let Some(launch) = &self.launch {
            self.child = Some(Child::spawn(launch)?);
        }
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
        let Stop { signal, within } = self.stop;
        Ok(Some(match child.stop(signal, within).await? {
            Stopped::Itself(status) => describe(status),
            Stopped::Killed => format!(
                "killed: it had not ended {} s after {signal}",
                within.as_secs()
            ),
        }))
    }

    /// Sends a signal to a running one.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.launch.is_none() {
            bail!("the plugin's process is somebody else's");
        }
        self.child
            .as_mut()
            .context("the plugin is not running")?
            .signal(signal)
    }

    /// Everything it printed; nothing of one that is not ours.
    pub fn log(&self) -> Option<PathBuf> {
        let launch = self.launch.as_ref();
        launch.map(|launch| Path::new(&launch.log).to_owned())
    }
}
