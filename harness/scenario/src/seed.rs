//! One root seed, and sub-seeds by label: who is added or taken away does not change what the others draw.

use std::ops::RangeInclusive;
use std::time::Duration;

use sha2::{Digest, Sha256};

/// A seed. Draws are pure: the same label gives the same value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed([u8; 32]);

impl Seed {
    /// The root of a run.
    #[must_use]
    pub fn root(seed: u64) -> Self {
        Self(Sha256::digest([b"kms-scenario:".as_slice(), &seed.to_be_bytes()].concat()).into())
    }

    /// The seed of a part.
    #[must_use]
    pub fn label(&self, label: &str) -> Self {
        let hash = Sha256::new().chain_update(self.0);
        Self(hash.chain_update(label).finalize().into())
    }

    /// The bytes, for a generator.
    #[must_use]
    pub fn bytes(&self) -> [u8; 32] {
        self.0
    }

    /// 64 bits.
    #[must_use]
    pub fn u64(&self) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.0[..8]);
        u64::from_be_bytes(bytes)
    }

    /// A number of a range, each about equally likely.
    #[must_use]
    pub fn number(&self, range: &RangeInclusive<u64>) -> u64 {
        let width = u128::from(range.end().saturating_sub(*range.start())) + 1;
        let offset = (u128::from(self.u64()) * width) >> 64;
        range.start() + u64::try_from(offset).expect("below the width")
    }

    /// A time between two, in whole milliseconds if they are far enough apart.
    #[must_use]
    pub fn duration(&self, min: Duration, max: Duration) -> Duration {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        if max <= min {
            return min;
        }
        let drawn = self.number(&(nanos(min)..=nanos(max)));
        let coarse = drawn - drawn % 1_000_000;
        Duration::from_nanos(if coarse < nanos(min) { drawn } else { coarse })
    }

    /// One of several.
    #[must_use]
    pub fn pick<'a, T>(&self, of: &'a [T]) -> Option<&'a T> {
        let last = u64::try_from(of.len()).ok()?.checked_sub(1)?;
        of.get(usize::try_from(self.number(&(0..=last))).ok()?)
    }

    /// Whether something of this share happens.
    #[must_use]
    pub fn chance(&self, percent: u64) -> bool {
        self.number(&(0..=99)) < percent
    }
}
