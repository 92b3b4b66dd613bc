//! Redaction by allow-list: words that are known pass, everything else becomes a hash.
//!
//! The hash is salted, so that nobody finds a host's name by trying names, and the same within one evidence, so that
//! equal values stay equal. Node names become `node-1` and so on. Who shows findings to the person that gathered them may
//! translate those back by [`Veil::nodes`], which is never written anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// Hides what is not known to be harmless.
#[derive(Clone)]
pub struct Veil {
    salt: [u8; 32],
    nodes: BTreeMap<String, String>,
    words: BTreeSet<&'static str>,
}

impl std::fmt::Debug for Veil {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Veil").finish_non_exhaustive()
    }
}

/// Words of the texts of servers, operators, plugins and Vaults. Nothing in here can name a person, a place or a secret.
const WORDS: &str = include_str!("words.txt");

/// Longest text that is kept, in bytes.
const LONGEST: usize = 400;

impl Veil {
    /// A veil with this salt over these nodes.
    pub fn new(salt: [u8; 32], nodes: impl IntoIterator<Item = String>) -> Self {
        let sorted: BTreeSet<String> = nodes.into_iter().collect();
        let nodes = sorted.into_iter().enumerate();
        Self {
            salt,
            nodes: nodes
                .map(|(place, name)| (name, format!("node-{}", place + 1)))
                .collect(),
            words: WORDS.split_whitespace().collect(),
        }
    }

    /// Real names with what stands for them.
    pub fn nodes(&self) -> &BTreeMap<String, String> {
        &self.nodes
    }

    /// What stands for a node.
    pub fn node(&self, name: &str) -> String {
        let known = self.nodes.get(name).cloned();
        known.unwrap_or_else(|| self.hash(name))
    }

    /// What stands for a word that must not be shown: `~` and twelve hex digits.
    pub fn hash(&self, word: &str) -> String {
        let mut digest = Sha256::new();
        digest.update(self.salt);
        digest.update(word.as_bytes());
        let mut text = "~".to_owned();
        for byte in &digest.finalize()[..6] {
            write!(text, "{byte:02x}").expect("writing to a String does not fail");
        }
        text
    }

    /// One of the words that may be said, or the hash of what is said instead.
    pub fn one_of(&self, allowed: &[&str], word: &str) -> String {
        if word.is_empty() || allowed.contains(&word) {
            word.to_owned()
        } else {
            self.hash(word)
        }
    }

    /// A text with its unknown words hashed, cut where it is too long.
    pub fn text(&self, text: &str) -> String {
        let mut shown = String::new();
        let mut token = String::new();
        for c in text.chars().chain(['\n']) {
            // what may stand inside of a name, an address, or a value in any encoding
            if c.is_alphanumeric() || "._-+/=%\\@~&$#!*?^".contains(c) {
                token.push(c);
                continue;
            }
            self.token(&token, &mut shown);
            token.clear();
            shown.push(if c.is_ascii_graphic() { c } else { ' ' });
            if shown.len() > LONGEST {
                shown.push('…');
                break;
            }
        }
        shown.trim_end().to_owned()
    }

    fn token(&self, token: &str, shown: &mut String) {
        if let Some(node) = self.nodes.get(token) {
            shown.push_str(node);
        } else if is_known(&self.words, token) {
            shown.push_str(token);
        } else {
            shown.push_str(&self.hash(token));
        }
    }
}

/// Whether a text is made of known words alone, so that it may stand anywhere.
pub fn is_plain(text: &str) -> bool {
    Veil::new([0; 32], []).text(text) == text
}

/// Whether each part of a token is a known word, or it has one small number among them.
fn is_known(words: &BTreeSet<&str>, token: &str) -> bool {
    let mut numbers = 0;
    let mut parts = token.split(|c: char| !c.is_ascii_alphanumeric());
    let fits = parts.all(|part| {
        if part.is_empty() {
            return true;
        }
        if part.len() <= 5 && part.bytes().all(|byte| byte.is_ascii_digit()) {
            numbers += 1;
            return numbers <= 1;
        }
        words.contains(part.to_lowercase().as_str())
    });
    fits && token.is_ascii() && !token.contains(['%', '\\', '@', '~', '&', '$', '#', '^'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_words_pass_and_others_are_hashed_alike() {
        let veil = Veil::new([7; 32], ["b.corp".to_owned(), "a.corp".to_owned()]);
        assert_eq!(
            veil.text("permission denied on transit/encrypt/kms-key (HTTP 403)"),
            "permission denied on transit/encrypt/kms-key (HTTP 403)"
        );
        assert_eq!(veil.text("b.corp is sealed"), "node-2 is sealed");
        let shown = veil.text("cannot reach vault at vault.prod.corp:8200, password=hunter2");
        assert!(
            !shown.contains("prod") && !shown.contains("hunter2"),
            "{shown}"
        );
        assert!(shown.starts_with("cannot reach vault at ~"), "{shown}");
        let twice = veil.text("hunter3 hunter3");
        let (first, second) = twice.split_once(' ').unwrap();
        assert_eq!(first, second);
        let other = Veil::new([8; 32], []);
        assert_ne!(veil.hash("hunter2"), other.hash("hunter2"));
    }

    #[test]
    fn addresses_ids_and_encodings_are_no_words() {
        let veil = Veil::new([1; 32], []);
        for secret in [
            "10.0.16.7",
            "c0ffee11-2233-4455-6677-8899aabbccdd",
            "k8s%3Aenc",
            "s.CAESIJ0",
            "\\u0061\\u0062",
            "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=",
            "1234567",
            "ключ",
        ] {
            assert!(!veil.text(secret).contains(secret), "{secret}");
        }
    }
}
