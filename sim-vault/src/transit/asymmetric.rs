//! Key pairs: made from the model's own randomness, shown as PEM, RSA used for encryption.

use p256::elliptic_curve::pkcs8::EncodePublicKey as _;
use ring::signature::{Ed25519KeyPair, KeyPair};
use rsa::{
    Oaep, RsaPrivateKey, RsaPublicKey,
    pkcs1::EncodeRsaPrivateKey,
    pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding},
    rand_core::{CryptoRng, Error, RngCore},
    sha2::{Sha224, Sha256, Sha384, Sha512},
};
use zeroize::Zeroizing;

use super::KeyType;
use crate::{Core, gobase64};

/// The model's generator as the older traits of the RSA crate want it.
struct Draw<'a>(&'a mut Core);

impl RngCore for Draw<'_> {
    fn next_u32(&mut self) -> u32 {
        rand::Rng::next_u32(&mut self.0.rng)
    }

    fn next_u64(&mut self) -> u64 {
        rand::Rng::next_u64(&mut self.0.rng)
    }

    fn fill_bytes(&mut self, to: &mut [u8]) {
        rand::Rng::fill_bytes(&mut self.0.rng, to);
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(to);
        Ok(())
    }
}

impl CryptoRng for Draw<'_> {}

/// A fresh private key: PKCS#8 for RSA, the scalar or seed for the others.
pub(super) fn generate(core: &mut Core, kind: KeyType) -> Vec<u8> {
    match kind {
        KeyType::Rsa(bits) => RsaPrivateKey::new(&mut Draw(core), usize::from(bits))
            .ok()
            .and_then(|key| key.to_pkcs8_der().ok())
            .map(|der| der.as_bytes().to_vec())
            .unwrap_or_default(),
        KeyType::Ecdsa(bits) => loop {
            let mut scalar = core.random(usize::from(bits).div_ceil(8));
            if let (521, Some(first)) = (bits, scalar.first_mut()) {
                // 521 bits are 65 bytes and one bit
                *first &= 1;
            }
            if public(kind, &scalar).is_some() {
                return scalar;
            }
        },
        _ => core.random(32),
    }
}

/// The public key as the key document shows it; `None` if the private key is none.
pub(super) fn public(kind: KeyType, material: &[u8]) -> Option<String> {
    match kind {
        KeyType::Rsa(_) => RsaPublicKey::from(rsa_key(material)?)
            .to_public_key_pem(LineEnding::LF)
            .ok(),
        KeyType::Ecdsa(256) => p256::SecretKey::from_slice(material)
            .ok()?
            .public_key()
            .to_public_key_pem(LineEnding::LF)
            .ok(),
        KeyType::Ecdsa(384) => p384::SecretKey::from_slice(material)
            .ok()?
            .public_key()
            .to_public_key_pem(LineEnding::LF)
            .ok(),
        KeyType::Ecdsa(_) => p521::SecretKey::from_slice(material)
            .ok()?
            .public_key()
            .to_public_key_pem(LineEnding::LF)
            .ok(),
        KeyType::Ed25519 => {
            let pair = Ed25519KeyPair::from_seed_unchecked(material).ok()?;
            Some(gobase64::encode(pair.public_key().as_ref()))
        }
        _ => None,
    }
}

/// The private key as `export` shows it.
pub(super) fn private(kind: KeyType, material: &[u8]) -> Option<String> {
    match kind {
        KeyType::Rsa(_) => rsa_key(material)?
            .to_pkcs1_pem(LineEnding::LF)
            .ok()
            .map(|pem| pem.to_string()),
        KeyType::Ecdsa(256) => Some(
            p256::SecretKey::from_slice(material)
                .ok()?
                .to_sec1_pem(LineEnding::LF)
                .ok()?
                .to_string(),
        ),
        KeyType::Ecdsa(384) => Some(
            p384::SecretKey::from_slice(material)
                .ok()?
                .to_sec1_pem(LineEnding::LF)
                .ok()?
                .to_string(),
        ),
        KeyType::Ecdsa(_) => Some(
            p521::SecretKey::from_slice(material)
                .ok()?
                .to_sec1_pem(LineEnding::LF)
                .ok()?
                .to_string(),
        ),
        _ => None,
    }
}

fn rsa_key(material: &[u8]) -> Option<RsaPrivateKey> {
    RsaPrivateKey::from_pkcs8_der(material).ok()
}

/// RSA-OAEP with SHA-256.
pub(super) fn rsa_encrypt(
    core: &mut Core,
    material: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, &'static str> {
    const TOO_LONG: &str =
        "failed to RSA encrypt the plaintext: crypto/rsa: message too long for RSA key size";
    let key = RsaPublicKey::from(rsa_key(material).ok_or(TOO_LONG)?);
    key.encrypt(&mut Draw(core), Oaep::new::<Sha256>(), plaintext)
        .map_err(|_| TOO_LONG)
}

/// The inverse.
pub(super) fn rsa_decrypt(
    material: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    const FAILED: &str = "failed to RSA decrypt the ciphertext: crypto/rsa: decryption error";
    rsa_key(material)
        .ok_or(FAILED)?
        .decrypt(Oaep::new::<Sha256>(), sealed)
        .map(Zeroizing::new)
        .map_err(|_| FAILED)
}

/// The hashes that an import may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// RSA-OAEP with the hash that an import names; `None` if it does not open.
pub(super) fn unwrap_key(material: &[u8], sealed: &[u8], hash: Hash) -> Option<Zeroizing<Vec<u8>>> {
    let padding = match hash {
        Hash::Sha1 => Oaep::new::<sha1::Sha1>(),
        Hash::Sha224 => Oaep::new::<Sha224>(),
        Hash::Sha256 => Oaep::new::<Sha256>(),
        Hash::Sha384 => Oaep::new::<Sha384>(),
        Hash::Sha512 => Oaep::new::<Sha512>(),
    };
    rsa_key(material)?
        .decrypt(padding, sealed)
        .ok()
        .map(Zeroizing::new)
}
