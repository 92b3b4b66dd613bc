//! Seeds and keys ready for use, and the two caches of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::Rng;
use zeroize::Zeroizing;

use crate::aead::{self, CounterNonce, Gcm, INFO};
use crate::expiring::Expiring;
use crate::metrics::Metrics;
use crate::seam::Now;

/// How long an unwrapped seed may stay in the cache (KMS2-CACHE-02).
pub const SEED_TTL: Duration = Duration::from_secs(24 * 3600);
/// How long the key of one path may stay in the cache (KMS2-CACHE-05).
pub const PATH_TTL: Duration = Duration::from_secs(600);

/// The cache of unwrapped seeds of one provider (KMS2-CACHE-01).
pub(super) struct Seeds(Expiring<[u8; 32], Arc<Opener>>);

impl Seeds {
    pub(super) fn new() -> Self {
        Seeds(Expiring::new(SEED_TTL))
    }

    pub(super) fn get(&self, key: &[u8; 32]) -> Option<Arc<Opener>> {
        let Seeds(cache) = self;
        cache.get(key).cloned()
    }

    pub(super) fn insert(
        &mut self,
        now: Now,
        key: [u8; 32],
        opener: Arc<Opener>,
        provider: &str,
        metrics: &mut Metrics,
    ) {
        let Seeds(cache) = self;
        cache.insert(now.mono, key, opener);
        metrics.cache_size(provider, cache.len());
    }
}

/// Seals and opens values with one unwrapped seed or key.
pub(super) enum Opener {
    /// A key for AES-GCM itself: type 0.
    Key {
        cipher: Box<Gcm>,
        /// Only a writer has nonces.
        nonces: Option<Mutex<CounterNonce>>,
    },
    /// A seed that keys are derived from: type 1.
    Seed {
        seed: Zeroizing<Vec<u8>>,
        paths: Mutex<Paths>,
    },
}

/// By the value's path: the info and the cipher that was derived with it last.
type Paths = Expiring<Box<[u8]>, Arc<([u8; INFO], Gcm)>>;

impl Opener {
    /// Of a type-0 key, for reading.
    pub(super) fn key(key: &[u8]) -> Result<Self, String> {
        Ok(Opener::Key {
            cipher: Box::new(Gcm::new(key)?),
            nonces: None,
        })
    }

    /// Of a type-0 key, for writing.
    pub(super) fn writing_key(key: &[u8; 32]) -> Self {
        Opener::Key {
            cipher: Box::new(Gcm::new(key).expect("a key of a length that it takes")),
            nonces: Some(Mutex::new(CounterNonce::default())),
        }
    }

    /// Of a type-1 seed.
    pub(super) fn seed(seed: &[u8]) -> Result<Self, String> {
        if seed.len() < INFO {
            return Err(aead::seed_too_short(seed.len()));
        }
        Ok(Opener::Seed {
            seed: Zeroizing::new(seed.to_vec()),
            paths: Mutex::new(Expiring::new(PATH_TTL)),
        })
    }

    /// How many bytes longer a sealed value is.
    pub(super) fn overhead(&self) -> usize {
        match self {
            Opener::Key { .. } => aead::OVERHEAD,
            Opener::Seed { .. } => INFO + aead::OVERHEAD,
        }
    }

    /// Seals a value for its place, behind what `out` holds already.
    pub(super) fn seal(
        &self,
        out: &mut Vec<u8>,
        path: &[u8],
        plaintext: &[u8],
        now: Now,
        rng: &mut dyn Rng,
    ) -> Result<(), String> {
        match self {
            Opener::Key { cipher, nonces } => {
                let nonces = nonces.as_ref().ok_or("a key for reading cannot write")?;
                let nonce = lock(nonces).draw(rng);
                cipher.seal(out, nonce, path, plaintext)?;
            }
            Opener::Seed { seed, paths } => {
                let mut random = [0; INFO + 12];
                rng.fill_bytes(&mut random);
                let (info, nonce) = random.split_at(INFO);
                let info: [u8; INFO] = info.try_into().expect("cut at that length");
                let nonce: [u8; 12] = nonce.try_into().expect("the rest of that length");
                out.extend_from_slice(&info);
                let derived = derive(seed, info)?;
                derived.1.seal(out, nonce, path, plaintext)?;
                lock(paths).insert(now.mono, path.into(), derived);
            }
        }
        Ok(())
    }

    /// Opens a value at its place.
    pub(super) fn open(&self, path: &[u8], data: &[u8], now: Now) -> Result<Vec<u8>, String> {
        match self {
            Opener::Key { cipher, .. } => cipher.open(path, data),
            Opener::Seed { seed, paths } => {
                let (info, sealed) = aead::split_info(data)?;
                let mut paths = lock(paths);
                let known = paths.get(path).filter(|known| known.0 == *info).cloned();
                let derived = match known {
                    Some(known) => known,
                    None => {
                        let derived = derive(seed, *info)?;
                        paths.insert(now.mono, path.into(), Arc::clone(&derived));
                        derived
                    }
                };
                drop(paths);
                derived.1.open(path, sealed)
            }
        }
    }
}

fn derive(seed: &[u8], info: [u8; INFO]) -> Result<Arc<([u8; INFO], Gcm)>, String> {
    let key = aead::derive(seed, &info)?;
    Ok(Arc::new((info, Gcm::new(&*key)?)))
}

/// Nothing panics while one of these is held, and a half-done insert would be harmless.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
