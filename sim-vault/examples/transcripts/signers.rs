//! Keys that only the outside world has: signers of JWTs, and keys wrapped for an import.

use std::sync::LazyLock;

use aes_kw::KekAes256;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;
use rsa::{
    Oaep, RsaPrivateKey, RsaPublicKey,
    pkcs1v15::SigningKey,
    pkcs8::{DecodePublicKey, EncodePublicKey, LineEnding},
    rand_core::{CryptoRng, Error, RngCore},
    sha2::Sha256,
    signature::{SignatureEncoding, Signer},
};
use serde_json::{Value, json};

struct Draw(ChaCha12Rng);

impl RngCore for Draw {
    fn next_u32(&mut self) -> u32 {
        rand::Rng::next_u32(&mut self.0)
    }

    fn next_u64(&mut self) -> u64 {
        rand::Rng::next_u64(&mut self.0)
    }

    fn fill_bytes(&mut self, to: &mut [u8]) {
        rand::Rng::fill_bytes(&mut self.0, to);
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(to);
        Ok(())
    }
}

impl CryptoRng for Draw {}

/// The signers called good and evil.
static SIGNERS: LazyLock<[RsaPrivateKey; 2]> = LazyLock::new(|| {
    [1, 2].map(|seed| {
        RsaPrivateKey::new(&mut Draw(ChaCha12Rng::seed_from_u64(seed)), 2048)
            .expect("2048 bits are enough")
    })
});

/// The public half of a signer, 0 for good and 1 for evil.
pub fn public_pem(signer: usize) -> String {
    RsaPublicKey::from(&SIGNERS[signer])
        .to_public_key_pem(LineEnding::LF)
        .expect("a public key has a PEM form")
}

/// A JWT of these claims; `now+5` and the like in `iat`, `nbf` and `exp` count from `now`.
pub fn jwt(claims: &Value, now: u64, signer: usize) -> String {
    let mut claims = claims.clone();
    for name in ["iat", "nbf", "exp"] {
        let offset = claims[name]
            .as_str()
            .and_then(|t| t.strip_prefix("now"))
            .and_then(|t| t.parse::<i64>().ok());
        if let Some(offset) = offset {
            claims[name] = now.saturating_add_signed(offset).into();
        }
    }
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!(
        "{}.{}",
        part(&json!({ "alg": "RS256", "typ": "JWT" })),
        part(&claims)
    );
    let signature = SigningKey::<Sha256>::new(SIGNERS[signer].clone()).sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

/// What an import takes: RSA-OAEP of an AES key, and with that key the key itself.
pub fn wrapped_key(pem: &str, key: &[u8]) -> Result<String, String> {
    let public = RsaPublicKey::from_public_key_pem(pem).map_err(|e| e.to_string())?;
    let mut rng = Draw(ChaCha12Rng::seed_from_u64(3));
    let mut kek = [0u8; 32];
    rng.fill_bytes(&mut kek);
    let mut out = public
        .encrypt(&mut rng, Oaep::new::<Sha256>(), &kek)
        .map_err(|e| e.to_string())?;
    out.extend(
        KekAes256::from(kek)
            .wrap_with_padding_vec(key)
            .map_err(|e| e.to_string())?,
    );
    Ok(STANDARD.encode(out))
}
