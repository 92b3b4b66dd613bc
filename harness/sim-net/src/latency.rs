//! How long a packet travels.

use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// A uniform distribution of one-way travel times, both bounds included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    min: Duration,
    max: Duration,
}

impl Latency {
    /// Always the same time.
    #[must_use]
    pub const fn fixed(time: Duration) -> Self {
        Self {
            min: time,
            max: time,
        }
    }

    /// Any time from one to the other; bounds in the wrong order are swapped.
    #[must_use]
    pub fn between(a: Duration, b: Duration) -> Self {
        Self {
            min: a.min(b),
            max: a.max(b),
        }
    }

    /// One draw, in whole microseconds.
    pub(crate) fn draw(self, rng: &mut ChaCha8Rng) -> Duration {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        if self.min == self.max {
            return self.min;
        }
        Duration::from_micros(rng.random_range(micros(self.min)..=micros(self.max)))
    }
}

impl Default for Latency {
    /// Half a millisecond: machines in one rack.
    fn default() -> Self {
        Self::fixed(Duration::from_micros(500))
    }
}
