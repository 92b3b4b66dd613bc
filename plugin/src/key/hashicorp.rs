//! The key_id of HashiCorp's vault-kube-kms, as far as it is known: base64 of a protobuf that holds, readable, a version
//! tag, the namespaces of login and key, Vault's address, the Transit mount, the key's name and the key's version.
//!
//! The numbers of its fields are not published, so a value is taken for what it says and not for where it says it. Nothing
//! binds such a value to its key_id, so what is looked at here keeps an operator's mistake from being read with another
//! key, not an attacker out.
//!
//! Known from one public log of a test run: that list of facts, and that the message is neither hashed nor encrypted.
//! **Not proven**, since the product needs a licence and was not tried: which alphabet of base64 it is and whether the
//! version is a number or a text (both are read); that no fact lies in a message within the message (it would not be found,
//! and the value refused); that its ciphertext is Vault's own text, encrypted without associated data, and that it stores
//! no annotations. A key of the same mount and name in the namespace that was logged in to cannot be told from one in
//! another namespace; Vault then refuses to decrypt.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::config::Place;

/// Fewest fields of one: a place has a mount, a key and a version.
const FEWEST: usize = 3;

/// What a key_id says, in no order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Words {
    texts: Vec<String>,
    numbers: Vec<u64>,
}

impl Words {
    /// Reads a key_id; none if it has not that form.
    pub fn of(key_id: &str) -> Option<Self> {
        const ANY: GeneralPurposeConfig =
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let alphabets = [&alphabet::STANDARD, &alphabet::URL_SAFE];
        let message = alphabets
            .into_iter()
            .find_map(|alphabet| GeneralPurpose::new(alphabet, ANY).decode(key_id).ok())?;
        let words = Self::decode(&message)?;
        (words.texts.len() + words.numbers.len() >= FEWEST).then_some(words)
    }

    fn decode(mut rest: &[u8]) -> Option<Self> {
        let mut words = Self::default();
        while !rest.is_empty() {
            let tag = varint(&mut rest)?;
            if tag >> 3 == 0 {
                return None;
            }
            match tag & 7 {
                0 => words.numbers.push(varint(&mut rest)?),
                2 => {
                    let length = usize::try_from(varint(&mut rest)?).ok()?;
                    let (text, after) = rest.split_at_checked(length)?;
                    words.texts.push(std::str::from_utf8(text).ok()?.to_owned());
                    rest = after;
                }
                _ => return None,
            }
        }
        Some(words)
    }

    /// Whether it says this version of the key at this place.
    pub fn name(&self, place: &Place, version: u64) -> bool {
        let number = version.to_string();
        let says = |text: &str| self.texts.iter().any(|one| one.trim_matches('/') == text);
        // In figures alone: "v1" is the tag of the form.
        let versioned = self.numbers.contains(&version) || says(&number);
        // Where the namespace is another one, so is the key: an empty one is left out of a protobuf.
        let namespace = place.namespace.is_empty() || says(&place.namespace);
        versioned && namespace && says(&place.mount) && says(&place.key)
    }
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(first & 0x7f).checked_shl(shift)?;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    fn place() -> Place {
        Place {
            namespace: "admin".into(),
            mount: "transit".into(),
            key: "kms-key".into(),
            epoch: String::new(),
        }
    }

    fn field(number: u8, text: &str) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2, u8::try_from(text.len()).expect("short")];
        bytes.extend(text.as_bytes());
        bytes
    }

    fn message(texts: &[&str], number: u64) -> Vec<u8> {
        let mut bytes: Vec<u8> = (1..)
            .zip(texts)
            .flat_map(|(n, text)| field(n, text))
            .collect();
        bytes.extend([0x78, u8::try_from(number).expect("small")]);
        bytes
    }

    const TEXTS: [&str; 5] = [
        "v1",
        "admin",
        "https://vault.example.com:8200",
        "transit/",
        "kms-key",
    ];

    #[test]
    fn it_names_its_own_place_and_version_in_either_alphabet() {
        let bytes = message(&TEXTS, 3);
        for key_id in [STANDARD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
            let words = Words::of(&key_id).expect("of that form");
            assert!(words.name(&place(), 3), "{words:?}");
            assert!(!words.name(&place(), 1), "the tag is no version: {words:?}");
            for change in [
                |place: &mut Place| place.key = "other".into(),
                |place: &mut Place| place.mount = "kms".into(),
                |place: &mut Place| place.namespace = "team".into(),
            ] {
                let mut other = place();
                change(&mut other);
                assert!(!words.name(&other, 3), "{other:?}");
            }
        }
        let mut texts = TEXTS.to_vec();
        texts.push("3");
        let words = Words::of(&STANDARD.encode(message(&texts, 0))).expect("of that form");
        assert!(words.name(&place(), 3), "a version in words");
    }

    /// Six facts are known to be in it, in an order that is not.
    #[test]
    fn facts_are_found_in_any_order_and_none_may_be_missing() {
        let texts = [
            "kms-key",
            "https://vault.example.com:8200",
            "transit",
            "admin",
            "login",
            "v2",
        ];
        for first in 0..texts.len() {
            let mut turned = texts.to_vec();
            turned.rotate_left(first);
            let words = Words::of(&STANDARD.encode(message(&turned, 12))).expect("of that form");
            assert!(words.name(&place(), 12), "{words:?}");
            let without: Vec<&str> = turned[1..].to_vec();
            let words = Words::of(&STANDARD.encode(message(&without, 12))).expect("of that form");
            let needed = ["kms-key", "transit", "admin"].contains(&turned[0]);
            assert_eq!(words.name(&place(), 12), !needed, "{words:?}");
        }
    }

    #[test]
    fn what_is_no_such_key_id_is_told_apart() {
        let whole = message(&TEXTS, 3);
        for bytes in [
            &b""[..],
            b"\x08\x01",
            &whole[..whole.len() - 4],
            b"\x0a\xff\xff\xff\xff\x0f",
        ] {
            assert_eq!(Words::of(&STANDARD.encode(bytes)), None, "{bytes:?}");
        }
        for text in ["1", "v1.EePaLRHttRKScuOE6cNM8euJPL0kL_WlbPuLQXnrzHA", "@@@"] {
            let words = Words::of(text);
            assert!(words.is_none_or(|words| !words.name(&place(), 1)), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let words = Words::of(&STANDARD.encode(&bytes));
            prop_assert!(words.is_none_or(|words| words.texts.len() <= bytes.len()));
        }
    }
}
