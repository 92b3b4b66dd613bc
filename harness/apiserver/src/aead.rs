//! The ciphers: AES-GCM, the extended-nonce form of it that KMS v2 writes, AES-CBC and secretbox
//! (KMS2-CRYPTO-01 to -04). Not for prefixes: those are the chain's.

use aes::cipher::{BlockDecryptMut, BlockEncryptMut, KeyIvInit, block_padding::NoPadding};
use aes::{Aes128, Aes192, Aes256};
use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{AeadInPlace, KeyInit};
use aes_gcm::{AesGcm, Nonce, Tag};
use crypto_secretbox::XSalsa20Poly1305;
use hkdf::Hkdf;
use rand::Rng;
use ring::aead::{self, Aad, LessSafeKey, UnboundKey};
use sha2_v10::Sha256;
use zeroize::Zeroizing;

/// What Go says when the tag does not fit.
pub const AUTH_FAILED: &str = "cipher: message authentication failed";
const TOO_SHORT: &str = "the stored data was shorter than the required size";

const NONCE: usize = 12;
const TAG: usize = 16;
/// Bytes that AES-GCM adds to a value: nonce and tag.
pub const OVERHEAD: usize = NONCE + TAG;
/// Bytes of the HKDF info in front of a type-1 value, and of a seed at least.
pub const INFO: usize = 32;

/// The first value of the counter in the nonces of type-0 writes (KMS2-ITEST-06).
pub const FIRST_COUNTER: u64 = 1_000_000_001;

/// AES-GCM with a 12-byte nonce in front: type 0, and the provider `aesgcm`.
pub struct Gcm(Cipher);

#[expect(clippy::large_enum_variant, reason = "nearly all are the large one")]
enum Cipher {
    /// With a key of 16 or 32 bytes, by the faster library.
    Usual(LessSafeKey),
    /// With a key of 24 bytes, which that one does not know.
    Aes192(Box<AesGcm<Aes192, U12>>),
}

impl Gcm {
    /// A cipher with this key.
    ///
    /// # Errors
    /// With Go's text, if the key is not of 16, 24 or 32 bytes (KMS2-DEC-02).
    pub fn new(key: &[u8]) -> Result<Self, String> {
        let algorithm = match key.len() {
            16 => &aead::AES_128_GCM,
            24 => return Ok(Gcm(Cipher::Aes192(Box::new(AesGcm::new(key.into()))))),
            32 => &aead::AES_256_GCM,
            length => return Err(format!("crypto/aes: invalid key size {length}")),
        };
        let key = UnboundKey::new(algorithm, key).expect("a key of the algorithm's length");
        Ok(Gcm(Cipher::Usual(LessSafeKey::new(key))))
    }

    /// `nonce || ciphertext || tag`, appended to `out`.
    ///
    /// # Errors
    /// If the value is longer than GCM can take.
    pub fn seal(
        &self,
        out: &mut Vec<u8>,
        nonce: [u8; NONCE],
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<(), String> {
        out.extend_from_slice(&nonce);
        let start = out.len();
        out.extend_from_slice(plaintext);
        let body = &mut out[start..];
        let too_long = || "crypto/cipher: message too large for GCM".to_owned();
        match &self.0 {
            Cipher::Usual(key) => {
                let nonce = aead::Nonce::assume_unique_for_key(nonce);
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(aad), body);
                out.extend_from_slice(tag.map_err(|_| too_long())?.as_ref());
            }
            Cipher::Aes192(cipher) => {
                let tag = cipher.encrypt_in_place_detached(&nonce.into(), aad, body);
                out.extend_from_slice(&tag.map_err(|_| too_long())?);
            }
        }
        Ok(())
    }

    /// The value of `nonce || ciphertext || tag`.
    ///
    /// # Errors
    /// With upstream's text, if it is too short or was not sealed with this key and `aad`.
    pub fn open(&self, aad: &[u8], stored: &[u8]) -> Result<Vec<u8>, String> {
        let (nonce, sealed) = stored.split_first_chunk::<NONCE>().ok_or(TOO_SHORT)?;
        let length = sealed.len().checked_sub(TAG).ok_or(AUTH_FAILED)?;
        let mut plain = sealed.to_vec();
        match &self.0 {
            Cipher::Usual(key) => {
                let nonce = aead::Nonce::assume_unique_for_key(*nonce);
                key.open_in_place(nonce, Aad::from(aad), &mut plain)
                    .map_err(|_| AUTH_FAILED)?;
            }
            Cipher::Aes192(cipher) => {
                let (body, tag) = plain.split_at_mut(length);
                cipher
                    .decrypt_in_place_detached(
                        Nonce::from_slice(nonce),
                        aad,
                        body,
                        Tag::from_slice(tag),
                    )
                    .map_err(|_| AUTH_FAILED)?;
            }
        }
        plain.truncate(length);
        Ok(plain)
    }
}

/// The nonces of type-0 writers: 4 random bytes, drawn anew each time, and a counter in
/// little-endian order.
#[derive(Debug)]
pub struct CounterNonce {
    next: u64,
}

impl Default for CounterNonce {
    fn default() -> Self {
        CounterNonce {
            next: FIRST_COUNTER,
        }
    }
}

impl CounterNonce {
    /// The next nonce.
    pub fn draw(&mut self, rng: &mut dyn Rng) -> [u8; NONCE] {
        let mut nonce = [0; NONCE];
        rng.fill_bytes(&mut nonce[..4]);
        nonce[4..].copy_from_slice(&self.next.to_le_bytes());
        self.next += 1;
        nonce
    }
}

/// Derives the AES-256 key of one write: HKDF-Expand alone, with the seed as it is for the
/// pseudorandom key, and the info and nothing else.
///
/// # Errors
/// With upstream's text, if the seed is shorter than 32 bytes; a longer one is used whole
/// (KMS2-DEC-02).
pub fn derive(seed: &[u8], info: &[u8; INFO]) -> Result<Zeroizing<[u8; 32]>, String> {
    let mut key = Zeroizing::new([0; 32]);
    // The library refuses exactly what is shorter than one hash.
    Hkdf::<Sha256>::from_prk(seed)
        .map_err(|_| seed_too_short(seed.len()))?
        .expand(info, &mut *key)
        .expect("one hash is not too long an output");
    Ok(key)
}

/// Upstream's text for a seed of fewer than 32 bytes.
pub fn seed_too_short(length: usize) -> String {
    format!("invalid seed length {length} used for key generation")
}

/// Cuts a type-1 value into info and the rest, which has room for a nonce.
///
/// # Errors
/// With upstream's text, if it is shorter than info and nonce.
pub fn split_info(stored: &[u8]) -> Result<(&[u8; INFO], &[u8]), String> {
    stored
        .split_first_chunk::<INFO>()
        .filter(|(_, rest)| rest.len() >= NONCE)
        .ok_or_else(|| TOO_SHORT.to_owned())
}

/// AES-CBC with PKCS#7 padding, the initialisation vector in front: the provider `aescbc`.
pub struct Cbc {
    key: Zeroizing<Vec<u8>>,
}

const BLOCK: usize = 16;

impl Cbc {
    /// A cipher with this key.
    ///
    /// # Errors
    /// With Go's text, if the key is not of 16, 24 or 32 bytes.
    pub fn new(key: &[u8]) -> Result<Self, String> {
        match key.len() {
            16 | 24 | 32 => Ok(Cbc {
                key: Zeroizing::new(key.to_vec()),
            }),
            length => Err(format!("crypto/aes: invalid key size {length}")),
        }
    }

    /// `iv || ciphertext`, appended to `out`. Not bound to the value's place.
    pub fn seal(&self, out: &mut Vec<u8>, iv: [u8; BLOCK], plaintext: &[u8]) {
        out.extend_from_slice(&iv);
        let start = out.len();
        out.extend_from_slice(plaintext);
        let padding = BLOCK - plaintext.len() % BLOCK;
        // 1 to 16.
        out.resize(out.len() + padding, padding as u8);
        let body = &mut out[start..];
        let length = body.len();
        let sealed = match self.key.len() {
            16 => cbc::Encryptor::<Aes128>::new(self.key.as_slice().into(), &iv.into())
                .encrypt_padded_mut::<NoPadding>(body, length),
            24 => cbc::Encryptor::<Aes192>::new(self.key.as_slice().into(), &iv.into())
                .encrypt_padded_mut::<NoPadding>(body, length),
            _ => cbc::Encryptor::<Aes256>::new(self.key.as_slice().into(), &iv.into())
                .encrypt_padded_mut::<NoPadding>(body, length),
        };
        sealed.expect("the value was padded to whole blocks");
    }

    /// The value of `iv || ciphertext`.
    ///
    /// # Errors
    /// With upstream's text, if length or padding are wrong. Upstream panics on a value that is
    /// only an initialisation vector; here it is one without padding.
    pub fn open(&self, stored: &[u8]) -> Result<Vec<u8>, String> {
        let (iv, body) = stored.split_first_chunk::<BLOCK>().ok_or(TOO_SHORT)?;
        if body.len() % BLOCK != 0 {
            return Err("the stored data is not a multiple of the block size".to_owned());
        }
        let mut plain = body.to_vec();
        let opened = match self.key.len() {
            16 => cbc::Decryptor::<Aes128>::new(self.key.as_slice().into(), iv.into())
                .decrypt_padded_mut::<NoPadding>(&mut plain)
                .map(|_| ()),
            24 => cbc::Decryptor::<Aes192>::new(self.key.as_slice().into(), iv.into())
                .decrypt_padded_mut::<NoPadding>(&mut plain)
                .map(|_| ()),
            _ => cbc::Decryptor::<Aes256>::new(self.key.as_slice().into(), iv.into())
                .decrypt_padded_mut::<NoPadding>(&mut plain)
                .map(|_| ()),
        };
        opened.expect("whole blocks without padding cannot be refused");
        let padding = usize::from(plain.last().copied().unwrap_or(0));
        let size = plain.len().checked_sub(padding).filter(|_| padding > 0);
        let size = size.ok_or("invalid PKCS7 data (empty or not padded)")?;
        if plain[size..]
            .iter()
            .any(|&byte| usize::from(byte) != padding)
        {
            return Err("invalid padding on input".to_owned());
        }
        plain.truncate(size);
        Ok(plain)
    }
}

const SECRETBOX_NONCE: usize = 24;

/// XSalsa20 and Poly1305, the nonce in front: the provider `secretbox`.
pub struct Secretbox(XSalsa20Poly1305);

impl Secretbox {
    /// A cipher with this key.
    pub fn new(key: &[u8; 32]) -> Self {
        Secretbox(XSalsa20Poly1305::new(key.into()))
    }

    /// `nonce || tag || ciphertext`, appended to `out`. Not bound to the value's place.
    ///
    /// # Errors
    /// If the value is longer than the cipher can take.
    pub fn seal(
        &self,
        out: &mut Vec<u8>,
        nonce: [u8; SECRETBOX_NONCE],
        plaintext: &[u8],
    ) -> Result<(), String> {
        out.extend_from_slice(&nonce);
        let start = out.len();
        out.extend_from_slice(&[0; TAG]);
        out.extend_from_slice(plaintext);
        let Secretbox(cipher) = self;
        let body = &mut out[start + TAG..];
        let tag = cipher
            .encrypt_in_place_detached(&nonce.into(), &[], body)
            .map_err(|_| "secretbox: message too large".to_owned())?;
        out[start..start + TAG].copy_from_slice(&tag);
        Ok(())
    }

    /// The value of `nonce || tag || ciphertext`.
    ///
    /// # Errors
    /// With upstream's text, which for a wrong key speaks of an array's size.
    pub fn open(&self, stored: &[u8]) -> Result<Vec<u8>, String> {
        if stored.len() < SECRETBOX_NONCE + TAG {
            return Err(TOO_SHORT.to_owned());
        }
        let (nonce, sealed) = stored.split_at(SECRETBOX_NONCE);
        let (tag, body) = sealed.split_at(TAG);
        let Secretbox(cipher) = self;
        let mut plain = body.to_vec();
        cipher
            .decrypt_in_place_detached(nonce.into(), &[], &mut plain, tag.into())
            .map_err(|_| "output array was not large enough for encryption".to_owned())?;
        Ok(plain)
    }
}
