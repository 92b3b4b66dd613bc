//! Ctrl-C and its kin: seen once, told to whoever waits.

use std::future::Future;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::exit::Failure;

/// Knows whether the harness was asked to stop.
#[derive(Clone, Debug)]
pub struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Listens for SIGINT, SIGTERM and SIGHUP from now on.
    pub fn listen() -> Result<Self> {
        let (tell, told) = watch::channel(false);
        for kind in [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ] {
            let mut signals = signal(kind).context("listen for signals")?;
            let tell = tell.clone();
            tokio::spawn(async move {
                signals.recv().await;
                let _ = tell.send(true);
            });
        }
        Ok(Self(told))
    }

    /// Runs `work` to its end, or drops it at a signal.
    pub async fn or<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        let mut told = self.0.clone();
        tokio::select! {
            biased;
            // The listeners live as long as the runtime, so only `true` ends this.
            _ = told.wait_for(|told| *told) => Err(Failure::Interrupted),
            done = work => Ok(done),
        }
    }
}
