//! The transformers of one resource: a list of prefixes, the first of which writes, and any of
//! which may read (KMS2-ETCD-01, KMS2-WRITE-02, KMS2-STALE-02).
//!
//! Not for which resource has which: see [`crate::table`].

use rand::Rng;

use crate::aead::{Cbc, Gcm, Secretbox};
use crate::config::Key;
use crate::gotext::aggregate;
use crate::metrics::{Direction, Metrics};
use crate::seam::{Plain, ProviderId, TransformError};

/// One provider of a list, with its prefix.
pub(crate) struct Link {
    pub(crate) prefix: String,
    pub(crate) transformer: Transformer,
}

/// What stands behind a prefix.
pub(crate) enum Transformer {
    /// Passes values through, and refuses to read what is encrypted.
    Identity,
    /// One of the ciphers, with named keys: the key's name is a second prefix.
    Local(Vec<(String, Cipher)>, &'static str),
    /// A KMS v2 provider.
    Kms(ProviderId),
    /// A KMS v1 provider, which is not emulated beyond its configuration.
    KmsV1,
}

/// A cipher with a key of the file.
pub(crate) enum Cipher {
    Cbc(Cbc),
    Gcm(Box<Gcm>),
    Secretbox(Box<Secretbox>),
}

/// Every prefix of an encrypted value begins with this.
const ENCRYPTED: &[u8] = b"k8s:enc:";

/// Why `identity` does not read a value.
pub(crate) const NOT_PLAIN: &str = "identity transformer tried to read encrypted data";

const NO_KEY: [(&str, &str); 3] = [
    (
        "k8s:enc:aescbc:v1:",
        "no matching key was found for the provided AES transformer",
    ),
    (
        "k8s:enc:aesgcm:v1:",
        "no matching key was found for the provided AES transformer",
    ),
    (
        "k8s:enc:secretbox:v1:",
        "no matching key was found for the provided Secretbox transformer",
    ),
];

impl Link {
    /// `aescbc` with the keys of a validated file.
    pub(crate) fn cbc(keys: &[Key]) -> Self {
        Self::local(0, keys, |bytes| {
            Cipher::Cbc(Cbc::new(bytes).expect("validation checks the sizes of keys"))
        })
    }

    /// `aesgcm` with the keys of a validated file.
    pub(crate) fn gcm(keys: &[Key]) -> Self {
        Self::local(1, keys, |bytes| {
            Cipher::Gcm(Box::new(
                Gcm::new(bytes).expect("validation checks the sizes of keys"),
            ))
        })
    }

    /// `secretbox` with the keys of a validated file.
    pub(crate) fn secretbox(keys: &[Key]) -> Self {
        Self::local(2, keys, |bytes| {
            let bytes = bytes
                .try_into()
                .expect("validation checks the sizes of keys");
            Cipher::Secretbox(Box::new(Secretbox::new(bytes)))
        })
    }

    fn local(which: usize, keys: &[Key], cipher: impl Fn(&[u8]) -> Cipher) -> Self {
        let (prefix, no_key) = NO_KEY[which];
        let keys = keys
            .iter()
            .map(|key| (format!("{}:", key.name), cipher(&key.valid_bytes())));
        Link {
            prefix: prefix.to_owned(),
            transformer: Transformer::Local(keys.collect(), no_key),
        }
    }

    /// `identity`.
    pub(crate) fn identity() -> Self {
        Link {
            prefix: String::new(),
            transformer: Transformer::Identity,
        }
    }

    /// A KMS v2 provider.
    pub(crate) fn kms(name: &str, id: ProviderId) -> Self {
        Link {
            prefix: format!("k8s:enc:kms:v2:{name}:"),
            transformer: Transformer::Kms(id),
        }
    }

    /// A KMS v1 provider.
    pub(crate) fn kms_v1(name: &str) -> Self {
        Link {
            prefix: format!("k8s:enc:kms:v1:{name}:"),
            transformer: Transformer::KmsV1,
        }
    }

    /// What stands behind this link's prefix, if the value has it.
    pub(crate) fn body<'a>(&self, stored: &'a [u8]) -> Option<&'a [u8]> {
        stored.strip_prefix(self.prefix.as_bytes())
    }
}

/// Reads through `identity`: everything but what begins like an encrypted value.
pub(crate) fn read_identity(stored: &[u8]) -> Result<Vec<u8>, TransformError> {
    if stored.starts_with(ENCRYPTED) {
        Err(TransformError::new(NOT_PLAIN))
    } else {
        Ok(stored.to_vec())
    }
}

/// Why nothing goes through a KMS v1 provider.
pub(crate) fn no_kms_v1() -> TransformError {
    TransformError::new("KMS v1 is not emulated: only its configuration is")
}

/// Seals with the first key, behind what `out` holds already.
pub(crate) fn seal_local(
    keys: &[(String, Cipher)],
    out: &mut Vec<u8>,
    key: &str,
    plaintext: &[u8],
    rng: &mut dyn Rng,
) -> Result<(), TransformError> {
    let (name, cipher) = keys.first().expect("validation wants a key");
    out.extend_from_slice(name.as_bytes());
    let mut random = [0; 24];
    rng.fill_bytes(&mut random);
    match cipher {
        Cipher::Cbc(cipher) => {
            let iv = *random.first_chunk().expect("longer than that");
            cipher.seal(out, iv, plaintext);
            Ok(())
        }
        Cipher::Gcm(cipher) => {
            let nonce = *random.first_chunk().expect("longer than that");
            cipher.seal(out, nonce, key.as_bytes(), plaintext)
        }
        Cipher::Secretbox(cipher) => cipher.seal(out, random, plaintext),
    }
    .map_err(TransformError::new)
}

/// Opens with the keys whose names fit; of the second and later ones the value is stale.
pub(crate) fn open_local(
    keys: &[(String, Cipher)],
    no_key: &str,
    key: &str,
    body: &[u8],
    resource: &str,
    metrics: &mut Metrics,
) -> Result<Plain, TransformError> {
    let mut errors = Vec::new();
    for (index, (name, cipher)) in keys.iter().enumerate() {
        let Some(sealed) = body.strip_prefix(name.as_bytes()) else {
            continue;
        };
        let opened = match cipher {
            Cipher::Cbc(cipher) => cipher.open(sealed),
            Cipher::Gcm(cipher) => cipher.open(key.as_bytes(), sealed),
            Cipher::Secretbox(cipher) => cipher.open(sealed),
        }
        .map_err(TransformError::new);
        record(
            metrics,
            resource,
            Direction::FromStorage,
            name,
            opened.as_ref().err(),
        );
        match opened {
            Ok(bytes) => {
                return Ok(Plain {
                    bytes,
                    stale: index > 0,
                });
            }
            Err(error) => errors.push(error),
        }
    }
    let error = together(errors).unwrap_or_else(|| TransformError::new(no_key));
    Err(error)
}

/// Several errors as one: alone as it is.
pub(crate) fn together(mut errors: Vec<TransformError>) -> Option<TransformError> {
    match errors.len() {
        0 => None,
        1 => errors.pop(),
        _ => {
            let texts: Vec<String> = errors.into_iter().map(|error| error.text).collect();
            Some(TransformError::new(aggregate(&texts)))
        }
    }
}

/// Counts a transformation that took no time.
pub(crate) fn record(
    metrics: &mut Metrics,
    resource: &str,
    direction: Direction,
    prefix: &str,
    error: Option<&TransformError>,
) {
    record_after(
        metrics,
        resource,
        direction,
        prefix,
        error,
        std::time::Duration::ZERO,
    );
}

/// Counts a transformation.
pub(crate) fn record_after(
    metrics: &mut Metrics,
    resource: &str,
    direction: Direction,
    prefix: &str,
    error: Option<&TransformError>,
    took: std::time::Duration,
) {
    let code;
    let status = match error {
        None => "OK",
        Some(TransformError {
            status: Some(status),
            ..
        }) => {
            code = status.code.name();
            &code
        }
        Some(_) => "unknown-non-grpc",
    };
    metrics.transformation(resource, direction, prefix, status, took);
}
