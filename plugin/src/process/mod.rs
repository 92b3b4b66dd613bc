//! What the plugin is as a process: hardened, told of signals, known to its supervisor.
//!
//! Not here: command lines and the order of a run ([`crate::run`]).

pub mod notify;
pub mod world;

use std::io;
use std::sync::Arc;

use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{Resource, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::event::Event;
use crate::seam::Observer;

/// Keeps this process's memory to itself: no core file, no tracing, no reading of its memory by
/// others of the same user (KMS2-SEC-01). Called before any secret is read.
///
/// # Errors
/// The system's. Some sandboxes forbid these calls; serving on is better than not serving.
pub fn harden() -> io::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    set_dumpable(false)?;
    Ok(())
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
}

/// The signals that mean something to a server. While this value exists none of them kills.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Takes the signals over.
    ///
    /// # Errors
    /// The system's; there is no sensible way to serve without.
    pub fn take() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one. Cancelling loses none.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::Reload,
        }
    }
}

/// Tells several observers, in order.
pub struct Tee(Vec<Arc<dyn Observer>>);

impl Tee {
    /// All of them hear everything.
    pub fn new(observers: Vec<Arc<dyn Observer>>) -> Self {
        Self(observers)
    }
}

impl Observer for Tee {
    fn event(&self, event: &Event<'_>) {
        for observer in &self.0 {
            observer.event(event);
        }
    }
}
