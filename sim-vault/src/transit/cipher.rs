//! The symmetric ciphers: nonce, ciphertext and tag as the servers lay them out. Real cryptography:
//! ciphertexts interoperate with the real servers in both directions.

use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead, KeyInit, Payload},
};
use ring::{
    aead::{
        AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
    },
    hkdf, hmac,
};

use super::KeyType;

/// What the ciphers say to a ciphertext that is not theirs.
fn failed(kind: KeyType) -> &'static str {
    match kind {
        KeyType::ChaCha | KeyType::XChaCha => "chacha20poly1305: message authentication failed",
        _ => "cipher: message authentication failed",
    }
}

fn algorithm(kind: KeyType) -> Option<&'static Algorithm> {
    Some(match kind {
        KeyType::Aes128 => &AES_128_GCM,
        KeyType::Aes256 => &AES_256_GCM,
        KeyType::ChaCha => &CHACHA20_POLY1305,
        _ => return None,
    })
}

/// Bytes of nonce in front of the ciphertext.
pub(super) fn nonce_size(kind: KeyType) -> usize {
    if kind == KeyType::XChaCha { 24 } else { 12 }
}

/// Nonce, ciphertext and tag in one.
pub(super) fn seal(
    kind: KeyType,
    key: &[u8],
    nonce: &[u8],
    aad: &[u8],
    plaintext: &[u8],
) -> Option<Vec<u8>> {
    let mut out = nonce.to_vec();
    if kind == KeyType::XChaCha {
        let cipher = XChaCha20Poly1305::new_from_slice(key).ok()?;
        out.extend(
            cipher
                .encrypt(
                    XNonce::from_slice(nonce),
                    Payload {
                        msg: plaintext,
                        aad,
                    },
                )
                .ok()?,
        );
        return Some(out);
    }
    let cipher = LessSafeKey::new(UnboundKey::new(algorithm(kind)?, key).ok()?);
    out.reserve(plaintext.len() + 16);
    out.extend_from_slice(plaintext);
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let body = out.get_mut(nonce_size(kind)..)?;
    let tag = cipher
        .seal_in_place_separate_tag(nonce, Aad::from(aad), body)
        .ok()?;
    out.extend_from_slice(tag.as_ref());
    Some(out)
}

/// The plaintext, or the server's text.
pub(super) fn open(
    kind: KeyType,
    key: &[u8],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Vec<u8>, &'static str> {
    let size = nonce_size(kind);
    let (Some(nonce), Some(body)) = (sealed.get(..size), sealed.get(size..)) else {
        return Err("invalid ciphertext length");
    };
    if kind == KeyType::XChaCha {
        let cipher = XChaCha20Poly1305::new_from_slice(key).map_err(|_| failed(kind))?;
        return cipher
            .decrypt(XNonce::from_slice(nonce), Payload { msg: body, aad })
            .map_err(|_| failed(kind));
    }
    let cipher = algorithm(kind)
        .and_then(|a| UnboundKey::new(a, key).ok())
        .map(LessSafeKey::new)
        .ok_or(failed(kind))?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| failed(kind))?;
    let mut body = body.to_vec();
    let plain = cipher
        .open_in_place(nonce, Aad::from(aad), &mut body)
        .map_err(|_| failed(kind))?
        .len();
    body.truncate(plain);
    Ok(body)
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-SHA256 without salt; the context is the info.
pub(super) fn derive(key: &[u8], context: &[u8], length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(key);
    if let Ok(okm) = prk.expand(&[context], Length(length)) {
        // a failure is impossible below 255 blocks; an all-zero key would be seen by every test
        let _ = okm.fill(&mut out);
    }
    out
}

/// NIST SP 800-108 in counter mode with HMAC-SHA256: one block of 256 bits.
pub(super) fn derive_by_counter(key: &[u8], context: &[u8]) -> Vec<u8> {
    let input = [&0u32.to_be_bytes(), context, &256u32.to_be_bytes()].concat();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &input);
    tag.as_ref().to_vec()
}

/// The nonce of convergent encryption: the same for the same plaintext.
pub(super) fn convergent_nonce(key: &[u8], plaintext: &[u8], size: usize) -> Vec<u8> {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), plaintext);
    tag.as_ref().iter().copied().take(size).collect()
}
