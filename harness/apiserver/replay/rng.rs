//! Randomness for a replay: seeds and ids from a generator, jitter as it was recorded.

use std::collections::VecDeque;
use std::convert::Infallible;

use rand::TryRng;
use rand::rand_core::Rng as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// Draws of whole numbers are taken from the recorded jitter, draws of bytes from a generator: the
/// model draws numbers for nothing else.
pub struct Scripted {
    bytes: ChaCha8Rng,
    jitter: VecDeque<f64>,
}

impl Scripted {
    /// With these values of jitter, each from -1 to 1.
    pub fn new(seed: u64, jitter: impl IntoIterator<Item = f64>) -> Self {
        Scripted {
            bytes: ChaCha8Rng::seed_from_u64(seed),
            jitter: jitter.into_iter().collect(),
        }
    }
}

impl TryRng for Scripted {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.bytes.next_u32())
    }

    /// The 64 bits that a uniform draw from -1 to 1 makes the wanted value of.
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let Some(jitter) = self.jitter.pop_front() else {
            return Ok(1 << 63);
        };
        let fraction = ((jitter + 1.0) / 2.0).clamp(0.0, 0.999_999_999);
        // 52 bits of fraction, as the uniform distribution takes them.
        Ok(((fraction * (1u64 << 52) as f64) as u64) << 12)
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.bytes.fill_bytes(out);
        Ok(())
    }
}
