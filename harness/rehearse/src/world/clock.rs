//! Time in a rehearsal: the runtime's paused clock, with a wall time at its beginning.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::plugin::BEGIN;

/// The clock of one rehearsal. Copies show the same time.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that shows [`BEGIN`] now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Wall time now, since 1970-01-01 UTC.
    pub fn since_epoch(self) -> Duration {
        BEGIN + self.0.elapsed()
    }

    /// Wall time now.
    pub fn now(self) -> Timestamp {
        let signed = SignedDuration::try_from(self.since_epoch()).unwrap_or(SignedDuration::ZERO);
        Timestamp::from_duration(signed).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// The beginning of a line as klog writes it: level, date, time.
    pub fn klog(self, level: char) -> String {
        klog(level, self.now())
    }
}

/// The same for a moment that is past.
pub fn klog(level: char, at: Timestamp) -> String {
    format!("{level}{}", at.strftime("%m%d %H:%M:%S%.6f"))
}
