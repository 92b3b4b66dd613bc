//! What a provider writes with: one wrapped seed, and until when (KMS2-STATE-01).

use std::sync::Arc;
use std::time::Duration;

use super::seed::Opener;
use super::shown;
use crate::gotext::sha256;
use crate::object::SourceType;
use crate::proto::Annotations;
use crate::seam::{Now, TransformError};

/// How long writes go on after the last Status that was acted on (KMS2-STATE-02).
pub const WRITE_TTL: Duration = Duration::from_secs(180);

/// The write state; there is none until an Encrypt has succeeded (KMS2-STATE-07).
pub(super) struct State {
    pub(super) opener: Arc<Opener>,
    pub(super) key_id: String,
    pub(super) key_id_hash: String,
    pub(super) source: Vec<u8>,
    pub(super) annotations: Annotations,
    pub(super) source_type: SourceType,
    /// Of the Encrypt that wrapped the seed.
    pub(super) uid: String,
    pub(super) expiry: Now,
    pub(super) cache_key: [u8; 32],
}

impl State {
    /// Whether writes may use it: until its expiry and at that moment, not after (KMS2-STATE-03).
    pub(super) fn may_write(&self, now: Now) -> Result<(), TransformError> {
        if now.mono <= self.expiry.mono {
            return Ok(());
        }
        Err(TransformError::new(format!(
            "encryptedDEKSource with keyID hash \"{}\" expired at {} (current time is {})",
            sha256(self.key_id.as_bytes()),
            shown(self.expiry),
            shown(now)
        )))
    }
}

/// The expiry of a state that is extended now.
pub(super) fn expiry_from(now: Now) -> Now {
    Now {
        mono: now.mono + WRITE_TTL,
        unix: now.unix + WRITE_TTL,
    }
}
