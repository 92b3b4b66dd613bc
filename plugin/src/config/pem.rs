//! Certificate and key files are looked at before the first connection, so that a mistake is named
//! by file instead of showing as a handshake that fails.

use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::error::Bad;

/// Longest bundle; the whole web's authorities take a quarter of a megabyte.
pub const MAX_BUNDLE: usize = 4 * 1024 * 1024;

/// Checks a bundle of authorities; the number of certificates that can be used, and of those that cannot.
pub fn authorities(bytes: &[u8]) -> Result<(usize, usize), Bad> {
    let certificates = certificates(
        bytes,
        "the certificate of the authority that signed Vault's",
    )?;
    let mut store = RootCertStore::empty();
    let (good, bad) = store.add_parsable_certificates(certificates);
    if good == 0 {
        return Err(Bad::new(
            "holds no certificate that can be read",
            "export the authority's certificate anew as PEM",
        ));
    }
    Ok((good, bad))
}

/// Checks that a client certificate and a key can be read and belong together. Both problems name
/// which of the two files is meant: the first of the pair is `true` for the key's.
pub fn client_pair(certificate: &[u8], key: &[u8]) -> Result<(), (bool, Bad)> {
    let chain =
        certificates(certificate, "the client's certificate").map_err(|bad| (false, bad))?;
    let key = private_key(key).map_err(|bad| (true, bad))?;
    match CertifiedKey::from_der(chain, key, &ring::default_provider()) {
        Ok(_) => Ok(()),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err((
            true,
            Bad::new(
                "does not belong to the client certificate",
                "name the key that the certificate was made for (the certificate comes first in its file)",
            ),
        )),
        Err(Error::InvalidCertificate(_)) => Err((
            false,
            Bad::new(
                "holds a certificate that cannot be read",
                "export the certificate anew as PEM",
            ),
        )),
        Err(_) => Err((
            true,
            Bad::new(
                "holds a key of a kind that cannot be used",
                "use an RSA key of 2048 to 8192 bits, an ECDSA key (P-256, P-384) or an Ed25519 key",
            ),
        )),
    }
}

fn certificates(bytes: &[u8], wanted: &str) -> Result<Vec<CertificateDer<'static>>, Bad> {
    text_of(bytes)?;
    let mut found = Vec::new();
    for item in CertificateDer::pem_slice_iter(bytes) {
        found.push(item.map_err(|_| broken())?);
    }
    if found.is_empty() {
        let problem = if has_private_key(bytes) {
            "holds a private key and no certificate"
        } else {
            "holds no PEM certificate"
        };
        return Err(Bad::new(
            problem,
            format!("name the PEM file with {wanted}"),
        ));
    }
    Ok(found)
}

fn private_key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, Bad> {
    text_of(bytes)?;
    if contains(bytes, b"-----BEGIN ENCRYPTED PRIVATE KEY")
        || contains(bytes, b"Proc-Type: 4,ENCRYPTED")
    {
        return Err(Bad::new(
            "is encrypted with a passphrase",
            "decrypt it (openssl pkey -in KEY -out NEW) and guard the file by its permissions",
        ));
    }
    match PrivateKeyDer::pem_slice_iter(bytes).next() {
        Some(Ok(key)) => Ok(key),
        Some(Err(_)) => Err(broken()),
        None if contains(bytes, b"-----BEGIN CERTIFICATE") => Err(Bad::new(
            "holds a certificate and no private key",
            "name the key's file (were the two options swapped?)",
        )),
        None => Err(Bad::new(
            "holds no PEM private key",
            "name the PEM file of the client's private key",
        )),
    }
}

/// Names the usual kinds of wrong files.
fn text_of(bytes: &[u8]) -> Result<(), Bad> {
    if bytes.is_empty() {
        return Err(Bad::new("is empty", "write the PEM text into it"));
    }
    // A DER certificate or key is one ASN.1 sequence with a long length.
    if bytes.starts_with(&[0x30, 0x82]) || bytes.starts_with(&[0x30, 0x81]) {
        return Err(Bad::new(
            "is DER, not PEM",
            "convert it with openssl x509 -inform der",
        ));
    }
    Ok(())
}

fn broken() -> Bad {
    Bad::new(
        "is damaged PEM",
        "export it anew; a BEGIN line without its END or broken base64 is in it",
    )
}

fn has_private_key(bytes: &[u8]) -> bool {
    contains(bytes, b"PRIVATE KEY-----")
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Reads a file of certificates or a key.
pub fn read(
    source: &dyn crate::seam::SecretSource,
    path: &std::path::Path,
) -> Result<Zeroizing<Vec<u8>>, Bad> {
    use std::io::ErrorKind;
    source
        .read(path, MAX_BUNDLE)
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => Bad::new(
                "does not exist",
                "create the file, or mount it into the container",
            ),
            ErrorKind::PermissionDenied => {
                Bad::new("may not be read", "let the plugin's user read it")
            }
            ErrorKind::IsADirectory | ErrorKind::InvalidInput => {
                Bad::new("is not a regular file", "name the PEM file itself")
            }
            ErrorKind::InvalidData => Bad::new(
                format!("is longer than {MAX_BUNDLE} bytes"),
                "name a file with the certificates that are needed",
            ),
            _ => Bad::new(
                format!("cannot be read ({error})"),
                "name a regular file that can be read",
            ),
        })
}
