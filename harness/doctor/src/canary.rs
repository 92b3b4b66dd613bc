//! The canary scan: no secret stands in a finished bundle, in no encoding.
//!
//! Redaction lets only known words through; this does not believe it. What must not be there is taken from the raw
//! documents themselves and from what the caller knows (its own tokens), and is searched in every file.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use kms_report::redact;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::bundle::Files;
use crate::intake::{config, etcd};
use crate::raw::Raw;
use crate::veil;

/// What is shorter is found everywhere by chance, in bytes.
const SHORTEST: usize = 6;

/// Something that must not be in a bundle.
pub struct Secret {
    /// What it is, for messages.
    pub what: String,
    bytes: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret")
            .field("what", &self.what)
            .finish_non_exhaustive()
    }
}

/// A secret that stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The file.
    pub file: String,
    /// What the secret is, never the secret.
    pub what: String,
    /// How it is written there.
    pub encoding: &'static str,
}

impl Secret {
    /// A secret; nothing if it is too short to be searched for.
    pub fn new(what: impl Into<String>, bytes: &[u8]) -> Option<Self> {
        (bytes.len() >= SHORTEST).then(|| Self {
            what: what.into(),
            bytes: Zeroizing::new(bytes.to_vec()),
        })
    }

    /// Every way in which it could be written.
    fn forms(&self) -> Vec<(&'static str, Zeroizing<Vec<u8>>)> {
        let bytes: &[u8] = &self.bytes;
        let mut forms: Vec<(&'static str, Vec<u8>)> = vec![("as it is", bytes.to_vec())];
        let (mut hex, mut url, mut all_url, mut unicode) =
            (String::new(), String::new(), String::new(), String::new());
        for byte in bytes {
            write!(hex, "{byte:02x}").expect("writing to a String does not fail");
            write!(all_url, "%{byte:02X}").expect("writing to a String does not fail");
            write!(unicode, "\\u{byte:04x}").expect("writing to a String does not fail");
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(byte) {
                url.push(char::from(*byte));
            } else {
                write!(url, "%{byte:02X}").expect("writing to a String does not fail");
            }
        }
        forms.push(("in hex", hex.to_uppercase().into_bytes()));
        forms.push(("in hex", hex.into_bytes()));
        forms.push(("URL-encoded", url.to_lowercase().into_bytes()));
        forms.push(("URL-encoded", url.into_bytes()));
        forms.push(("URL-encoded", all_url.to_lowercase().into_bytes()));
        forms.push(("URL-encoded", all_url.into_bytes()));
        forms.push((
            "JSON-escaped",
            unicode.to_uppercase().replace("\\U", "\\u").into_bytes(),
        ));
        forms.push(("JSON-escaped", unicode.into_bytes()));
        if let Ok(text) = std::str::from_utf8(bytes) {
            let quoted = Value::from(text).to_string();
            forms.push(("JSON-escaped", quoted.trim_matches('"').as_bytes().to_vec()));
        }
        for (name, engine) in [
            ("in base64", STANDARD_NO_PAD),
            ("in base64", URL_SAFE_NO_PAD),
        ] {
            for before in 0..3_usize {
                // wherever it begins within three bytes; what its neighbours decide is left out
                let mut padded = Zeroizing::new(vec![0; before]);
                padded.extend_from_slice(bytes);
                let text = engine.encode(&*padded);
                let (begin, rest) = ([0, 2, 3][before], padded.len() % 3);
                let end = text.len() - usize::from(rest != 0);
                forms.push((name, text.as_bytes()[begin..end].to_vec()));
            }
        }
        // a word of letters alone is the same in some of them: the first name is the right one
        let mut known: Vec<Zeroizing<Vec<u8>>> = Vec::new();
        forms.retain(|(_, form)| {
            let new = !known.iter().any(|it| **it == *form);
            known.push(Zeroizing::new(form.clone()));
            new
        });
        let forms = forms.into_iter();
        forms
            .map(|(name, form)| (name, Zeroizing::new(form)))
            .collect()
    }
}

/// Where these secrets stand in these files; names of files are looked at, too.
pub fn scan(files: &Files, secrets: &[Secret]) -> Vec<Hit> {
    let mut hits = Vec::new();
    for secret in secrets {
        let forms = secret.forms();
        let (encodings, markers): (Vec<_>, Vec<_>) = forms.into_iter().unzip();
        for (name, bytes) in files {
            let found = [name.as_bytes(), bytes];
            let found = found.iter().flat_map(|it| redact::leaks(it, &markers));
            let encodings: BTreeSet<&'static str> = found.map(|place| encodings[place]).collect();
            hits.extend(encodings.into_iter().map(|encoding| Hit {
                file: name.clone(),
                what: secret.what.clone(),
                encoding,
            }));
        }
    }
    hits
}

/// Arguments of a plugin whose value is a secret or tells where somebody is.
const TELLING: &[&str] = &[
    "password",
    "role-id",
    "secret",
    "token",
    "username",
    "address",
    "namespace",
];

/// What the raw documents themselves say must stay behind: names of nodes, key_ids, credentials on command lines,
/// content of Secrets, values in etcd.
pub fn known(raw: &Raw, nodes: impl IntoIterator<Item = String>) -> Vec<Secret> {
    let mut found: Vec<(String, Zeroizing<Vec<u8>>)> = Vec::new();
    let mut add = |what: &str, bytes: &[u8]| {
        found.push((what.to_owned(), Zeroizing::new(bytes.to_vec())));
    };
    for node in nodes {
        // a name like `master` is a word of the texts themselves
        if !veil::is_plain(&node) && !node.starts_with("node-") {
            add("the name of a node", node.as_bytes());
        }
    }
    for name in raw.names() {
        let Ok(bytes) = raw.bytes(name) else {
            continue;
        };
        if name.starts_with("cluster/secrets") {
            for item in config::secrets(bytes).unwrap_or_default() {
                for value in item.data.values() {
                    values(
                        value.get().trim_matches('"'),
                        "a value of a Secret",
                        &mut add,
                    );
                }
            }
        } else if name.starts_with("etcd/") {
            for pair in etcd::pairs(bytes).unwrap_or_default() {
                values(pair.value, "a value of etcd", &mut add);
            }
        } else if name.ends_with("plugin.status.json") {
            let document = raw.json(name).unwrap_or_default();
            let key_id = document["key_id"].as_str().unwrap_or_default();
            // a decimal, as one plugin has it, is found everywhere
            if key_id.len() > 8 {
                add("a key_id", key_id.as_bytes());
            }
        } else if name.starts_with("cluster/pods") {
            arguments(&raw.json(name).unwrap_or_default(), &mut add);
        }
    }
    found.sort_by(|one, other| (&one.0, one.1.as_slice()).cmp(&(&other.0, other.1.as_slice())));
    found.dedup();
    let all = found.into_iter();
    all.filter_map(|(what, bytes)| Secret::new(what, &bytes))
        .collect()
}

fn values(encoded: &str, what: &str, add: &mut impl FnMut(&str, &[u8])) {
    let Ok(bytes) = STANDARD.decode(encoded).map(Zeroizing::new) else {
        return;
    };
    // sixteen zero bytes are no secret, and found everywhere in hex
    if bytes.iter().any(|byte| Some(byte) != bytes.first()) {
        add(what, &bytes);
    }
}

fn arguments(document: &Value, add: &mut impl FnMut(&str, &[u8])) {
    match document {
        Value::Array(all) => all.iter().for_each(|it| arguments(it, add)),
        Value::Object(all) => all.values().for_each(|it| arguments(it, add)),
        Value::String(text) => {
            let Some((name, value)) = text.strip_prefix('-').and_then(|it| it.split_once('='))
            else {
                return;
            };
            if TELLING.iter().any(|word| name.contains(word)) && !veil::is_plain(value) {
                add("an argument of the plugin", value.as_bytes());
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_every_encoding_and_place() {
        let bytes = b"pa\"ss+w/ord 7";
        let secret = [Secret::new("a password", bytes).unwrap()];
        let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        let inner = |before: &str| STANDARD.encode([before.as_bytes(), bytes, b"after"].concat());
        let ways = [
            ("as it is", "pa\"ss+w/ord 7".to_owned()),
            ("in hex", hex),
            ("URL-encoded", "pa%22ss%2Bw%2Ford%207".to_owned()),
            ("JSON-escaped", "pa\\\"ss+w/ord 7".to_owned()),
            ("in base64", inner("")),
            ("in base64", inner("x")),
            ("in base64", inner("xy")),
        ];
        for (encoding, text) in ways {
            let files = Files::from([("a.json".to_owned(), format!("{{{text}}}").into_bytes())]);
            let hits = scan(&files, &secret);
            assert!(
                hits.iter().any(|hit| hit.encoding == encoding),
                "{text}: {hits:?}"
            );
            assert!(!format!("{hits:?} {secret:?}").contains("pa\"ss"));
        }
        let files = Files::from([("a.json".to_owned(), b"nothing of it".to_vec())]);
        assert_eq!(scan(&files, &secret), []);
        let named = Files::from([("pa\"ss+w/ord 7".to_owned(), Vec::new())]);
        assert_eq!(scan(&named, &secret).len(), 1);
        assert!(Secret::new("short", b"12345").is_none());
    }
}
