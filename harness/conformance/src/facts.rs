//! Turns bytes into what a transcript keeps of them.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use bytes::Bytes;
use kms_history::{Annotation, Answer, Blob, Body, Digest, Hex, Leak, Text};
use sha2::Digest as _;

use crate::proto::{self, Field};

/// Length and hash.
pub(crate) fn blob(bytes: &[u8]) -> Blob {
    Blob {
        len: bytes.len() as u64,
        sha256: digest(bytes),
        payload: None,
    }
}

/// Length and hash of an input of ours, with the bytes when they are to be kept.
pub(crate) fn own_blob(bytes: &[u8], keep: bool) -> Blob {
    Blob {
        payload: keep.then(|| Hex(bytes.to_vec())),
        ..blob(bytes)
    }
}

fn digest(bytes: &[u8]) -> Digest {
    Digest(sha2::Sha256::digest(bytes).into())
}

/// A text, cut when long.
pub(crate) fn text(bytes: &[u8]) -> Text {
    let cut = bytes.len() > Text::MAX_KEPT;
    let kept = if cut { &bytes[..Text::MAX_KEPT] } else { bytes };
    Text {
        text: String::from_utf8_lossy(kept).into_owned(),
        len: bytes.len() as u64,
        sha256: cut.then(|| digest(bytes)),
    }
}

/// Annotations in the order given.
pub(crate) fn annotations(entries: &[(Bytes, Bytes)]) -> Vec<Annotation> {
    entries
        .iter()
        .map(|(k, v)| Annotation {
            key: text(k),
            value: blob(v),
        })
        .collect()
}

/// The bytes of a successful Encrypt answer, needed to present them again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub ciphertext: Bytes,
    pub key_id: Bytes,
    pub annotations: Vec<(Bytes, Bytes)>,
}

/// A decoded answer: what is recorded, and what later stimuli need.
pub(crate) struct Decoded {
    pub answer: Answer,
    pub sealed: Option<Sealed>,
    pub plaintext: Option<Bytes>,
    pub key_id: Bytes,
}

/// Decodes an answer by field numbers.
pub(crate) fn decode(method: &str, message: &Bytes) -> Result<Decoded, String> {
    let fields = proto::fields(message)?;
    let mut bad_utf8 = Vec::new();
    let mut check = |name: &str, bytes: &[u8]| {
        if std::str::from_utf8(bytes).is_err() {
            bad_utf8.push(name.to_string());
        }
    };
    let (mut sealed, mut plaintext, mut key_id) = (None, None, Bytes::new());
    let body = match method {
        "Status" => {
            let (version, healthz) = (proto::last(&fields, 1), proto::last(&fields, 2));
            key_id = proto::last(&fields, 3);
            check("version", &version);
            check("healthz", &healthz);
            check("key_id", &key_id);
            Body::Status {
                version: text(&version),
                healthz: text(&healthz),
                key_id: text(&key_id),
            }
        }
        "Encrypt" => {
            let ciphertext = proto::last(&fields, 1);
            key_id = proto::last(&fields, 2);
            let entries = proto::map(&fields, 3)?;
            check("key_id", &key_id);
            entries
                .iter()
                .for_each(|(key, _)| check("annotation key", key));
            let body = Body::Encrypt {
                ciphertext: blob(&ciphertext),
                key_id: text(&key_id),
                annotations: annotations(&entries),
            };
            sealed = Some(Sealed {
                ciphertext,
                key_id: key_id.clone(),
                annotations: entries,
            });
            body
        }
        "Decrypt" => {
            let bytes = proto::last(&fields, 1);
            let body = Body::Decrypt {
                plaintext: blob(&bytes),
            };
            plaintext = Some(bytes);
            body
        }
        _ => Body::Bytes(blob(message)),
    };
    let fields = fields
        .iter()
        .map(|Field { number, wire, .. }| (*number, *wire))
        .collect();
    Ok(Decoded {
        answer: Answer {
            fields,
            bad_utf8,
            body,
        },
        sealed,
        plaintext,
        key_id,
    })
}

/// The spellings under which a secret is looked for.
///
/// Base64 is looked for at each of the three alignments it can have inside a longer text, without
/// the characters that its neighbours share, so padding and position do not matter.
pub(crate) struct Spellings(Vec<(&'static str, Vec<u8>)>);

impl Spellings {
    /// Spellings of a secret of at least 8 bytes; a shorter one would be found by chance.
    pub fn of(secret: &[u8]) -> Self {
        if secret.len() < 8 {
            return Spellings(Vec::new());
        }
        // Of a long one its beginning is telling enough.
        let secret = &secret[..secret.len().min(64)];
        let hex: String = secret.iter().map(|b| format!("{b:02x}")).collect();
        let list = |separator: &str| {
            secret
                .iter()
                .map(u8::to_string)
                .collect::<Vec<_>>()
                .join(separator)
                .into_bytes()
        };
        let escaped: String = secret
            .iter()
            .map(|b| b.escape_ascii().to_string())
            .collect();
        let mut found = vec![
            ("raw", secret.to_vec()),
            ("hex", hex.to_uppercase().into_bytes()),
            ("hex", hex.into_bytes()),
            ("decimal list", list(" ")),
            ("decimal list", list(", ")),
            ("escaped", escaped.into_bytes()),
        ];
        for shift in 0..3 {
            let mut padded = vec![0; shift];
            padded.extend(secret);
            let from = (shift * 8).div_ceil(6);
            let to = padded.len() * 8 / 6;
            for (form, engine) in [("base64", &STANDARD), ("base64url", &URL_SAFE)] {
                found.push((form, engine.encode(&padded).as_bytes()[from..to].to_vec()));
            }
        }
        Spellings(found)
    }

    /// The forms under which the secret stands in the text, each once.
    pub fn found_in(&self, haystack: &[u8]) -> Vec<&'static str> {
        let mut forms: Vec<_> = self
            .0
            .iter()
            .filter(|(_, needle)| contains(haystack, needle))
            .map(|(form, _)| *form)
            .collect();
        forms.dedup();
        forms
    }

    /// The text with every spelling replaced.
    pub fn redact(&self, mut text: String) -> String {
        for (_, needle) in &self.0 {
            if let Ok(needle) = std::str::from_utf8(needle)
                && text.contains(needle)
            {
                text = text.replace(needle, "[plaintext]");
            }
        }
        text
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    let Some(first) = needle.first() else {
        return false;
    };
    let mut from = 0;
    while let Some(at) = haystack[from..].iter().position(|b| b == first) {
        if haystack[from + at..].starts_with(needle) {
            return true;
        }
        from += at + 1;
    }
    false
}

/// Where an Encrypt answer holds its plaintext (KMS2-ENC-12).
pub(crate) fn leaks(spellings: &Spellings, sealed: &Sealed) -> Vec<Leak> {
    let mut found = Vec::new();
    let mut search = |place: &str, bytes: &[u8]| {
        for form in spellings.found_in(bytes) {
            found.push(Leak {
                place: place.into(),
                form: form.into(),
            });
        }
    };
    search("ciphertext", &sealed.ciphertext);
    search("key_id", &sealed.key_id);
    for (key, value) in &sealed.annotations {
        search("annotations", key);
        search("annotations", value);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_found_at_every_position_and_padding() {
        let secret: Vec<u8> = (0..32u8)
            .map(|i| i.wrapping_mul(7).wrapping_add(250))
            .collect();
        for before in 0..6 {
            for after in 0..4 {
                let mut inner = vec![0x55; before];
                inner.extend(&secret);
                inner.extend(vec![0xaa; after]);
                for text in [STANDARD.encode(&inner), URL_SAFE.encode(&inner)] {
                    let forms = Spellings::of(&secret).found_in(text.as_bytes());
                    assert!(!forms.is_empty(), "{before} before, {after} after");
                    assert!(
                        Spellings::of(&secret).found_in(text.trim_end_matches('=').as_bytes())
                            == forms
                    );
                }
            }
        }
    }

    #[test]
    fn lists_that_loggers_print_are_found_and_other_bytes_are_not() {
        let secret = b"0123456789abcdef".to_vec();
        let spellings = Spellings::of(&secret);
        assert_eq!(
            spellings.found_in(format!("plaintext={secret:?}").as_bytes()),
            ["decimal list"]
        );
        assert_eq!(
            spellings.found_in(b"..30313233343536373839616263646566.."),
            ["hex"]
        );
        assert!(spellings.found_in(b"0123456789abcdeX").is_empty());
        assert_eq!(
            spellings.redact("x 0123456789abcdef y".into()),
            "x [plaintext] y"
        );
    }
}
