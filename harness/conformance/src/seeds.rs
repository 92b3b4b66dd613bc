//! Randomness of a run: one root, one independent stream per label, whatever order they are asked in.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

/// The root of a run's randomness.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seeds(pub u64);

impl Seeds {
    /// 32 bytes that belong to the label.
    pub fn bytes(self, label: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.0.to_le_bytes());
        hash.update(label.as_bytes());
        hash.finalize().into()
    }

    /// A generator that belongs to the label.
    pub fn rng(self, label: &str) -> ChaCha8Rng {
        ChaCha8Rng::from_seed(self.bytes(label))
    }
}

/// A random UUID of version 4 in the API server's spelling (KMS2-ENC-03).
pub(crate) fn uuid(rng: &mut impl Rng) -> String {
    let mut bytes = [0u8; 16];
    rng.fill_bytes(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::with_capacity(36);
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// Random bytes of a length.
pub(crate) fn random(rng: &mut impl Rng, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    rng.fill_bytes(&mut bytes);
    bytes
}
