//! Time and chance, as a server is given them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kms_apiserver::seam::Now;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;
use tokio::time::Instant;

/// The clock of one server: tokio's, so that it can be virtual, and the wall time at its epoch.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    epoch: Instant,
    unix_at_epoch: Duration,
}

impl Clock {
    /// A clock that begins now, when the wall shows `unix` (since 1970-01-01 UTC).
    pub fn starting_at(unix: Duration) -> Self {
        Clock {
            epoch: Instant::now(),
            unix_at_epoch: unix,
        }
    }

    /// The present moment.
    pub fn now(&self) -> Now {
        let mono = self.epoch.elapsed();
        Now {
            mono,
            unix: self.unix_at_epoch + mono,
        }
    }

    /// When tokio's clock reaches a moment of this clock.
    pub fn instant(&self, mono: Duration) -> Instant {
        self.epoch + mono
    }
}

/// Chance for what needs no secrecy: uids and generated names.
#[derive(Debug)]
pub struct Chance(Mutex<ChaCha12Rng>);

impl Chance {
    /// All chance comes from this seed.
    pub fn new(seed: [u8; 32]) -> Self {
        Chance(Mutex::new(ChaCha12Rng::from_seed(seed)))
    }

    /// A uid, version 4.
    pub fn uid(&self) -> String {
        let mut bytes = [0; 16];
        self.with(|rng| rng.fill_bytes(&mut bytes));
        uuid::Builder::from_random_bytes(bytes)
            .into_uuid()
            .to_string()
    }

    /// The five letters that end a generated name.
    pub fn suffix(&self) -> String {
        const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        self.with(|rng| {
            (0..5)
                .map(|_| char::from(LETTERS[rng.random_range(0..LETTERS.len())]))
                .collect()
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut ChaCha12Rng) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
