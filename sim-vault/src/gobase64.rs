//! Standard base64 as Go's decoder reads it: CR and LF anywhere, padding required, trailing bits ignored,
//! and the position of the fault in the error text.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{GeneralPurpose, GeneralPurposeConfig},
};

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Padded standard base64.
pub(crate) fn encode(bytes: &[u8]) -> String {
    LENIENT.encode(bytes)
}

/// The bytes, or the server's error text.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, String> {
    if let Ok(bytes) = LENIENT.decode(text) {
        return Ok(bytes);
    }
    let newline = |b: &u8| matches!(b, b'\r' | b'\n');
    match first_fault(text.as_bytes()) {
        Some(at) => Err(format!("illegal base64 data at input byte {at}")),
        None => {
            let joined: Vec<u8> = text.bytes().filter(|b| !newline(b)).collect();
            LENIENT
                .decode(joined)
                .map_err(|_| "illegal base64 data at input byte 0".to_owned())
        }
    }
}

/// Where Go's decoder stops: quantum by quantum, as `encoding/base64` does it.
fn first_fault(src: &[u8]) -> Option<usize> {
    let newline = |b: u8| b == b'\n' || b == b'\r';
    let mut at = 0;
    while at < src.len() {
        let mut digits = 0;
        while digits < 4 {
            let Some(&byte) = src.get(at) else {
                return (digits > 0).then(|| at - digits);
            };
            at += 1;
            if byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/' {
                digits += 1;
            } else if newline(byte) {
                continue;
            } else if byte != b'=' || digits < 2 {
                return Some(at - 1);
            } else {
                if digits == 2 {
                    while src.get(at).copied().is_some_and(newline) {
                        at += 1;
                    }
                    match src.get(at) {
                        None => return Some(src.len()),
                        Some(b'=') => at += 1,
                        Some(_) => return Some(at - 1),
                    }
                }
                while src.get(at).copied().is_some_and(newline) {
                    at += 1;
                }
                return (at < src.len()).then_some(at);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn faults_are_placed_as_in_go() {
        for (text, at) in [
            ("5", 0),
            ("aGk", 0),
            ("1.5", 1),
            ("aGVsbG8==", 8),
            (" aGVsbG8=", 0),
            ("a", 0),
            ("garbage", 4),
        ] {
            assert_eq!(
                decode(text),
                Err(format!("illegal base64 data at input byte {at}")),
                "{text}"
            );
        }
    }

    #[test]
    fn line_breaks_and_trailing_bits_are_accepted() {
        assert_eq!(decode("aGVs\r\nbG8=\n").unwrap(), b"hello");
        assert_eq!(decode("aGVsbG9=").unwrap(), b"hello");
        assert_eq!(decode("").unwrap(), b"");
    }
}
