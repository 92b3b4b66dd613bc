//! The key document: what Transit says of a key, and whether the key is fit for use.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

/// Types that the API server's seeds may be wrapped with: authenticated, with associated data.
pub const TYPES: [&str; 4] = [
    "aes128-gcm96",
    "aes256-gcm96",
    "chacha20-poly1305",
    "xchacha20-poly1305",
];

/// What matters of the document.
#[derive(Debug, PartialEq, Eq)]
pub struct KeyDocument {
    /// Newest version.
    pub latest: u64,
    /// Oldest version that may still decrypt.
    pub min_decryption: u64,
    /// Oldest version that may encrypt; 0 means the latest only in words, any in fact.
    pub min_encryption: u64,
    /// Creation time by version, as the server gives it. Versions below `min_decryption` are hidden.
    pub versions: BTreeMap<u64, Box<str>>,
    /// Why the key is not fit, if it is not; text with the remedy.
    pub unfit: Option<String>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(rename = "type")]
    kind: String,
    latest_version: u64,
    /// Keys without versions of their own, such as those for HMAC, have none.
    #[serde(borrow, default)]
    keys: BTreeMap<u64, &'a RawValue>,
    #[serde(default)]
    min_decryption_version: u64,
    #[serde(default)]
    min_encryption_version: u64,
    #[serde(default)]
    derived: bool,
    #[serde(default)]
    convergent_encryption: bool,
    #[serde(default)]
    soft_deleted: bool,
}

/// Reads a key document. `name` is for messages.
///
/// # Errors
/// What is wrong with the document as such.
pub fn parse(name: &str, body: &[u8]) -> Result<KeyDocument, String> {
    let Envelope { data } =
        serde_json::from_slice(body).map_err(|e| format!("the key document is unreadable: {e}"))?;
    let mut versions = BTreeMap::new();
    for (version, created) in &data.keys {
        let text = created.get().trim_matches('"');
        // Asymmetric keys have objects here: such a key is refused by its type below.
        let text = if text.starts_with('{') { "" } else { text };
        versions.insert(*version, text.into());
    }
    let unfit = if !TYPES.contains(&data.kind.as_str()) {
        Some(format!(
            "key {name} has type {}, which cannot be used; create one of type aes256-gcm96 under another name",
            data.kind
        ))
    } else if data.convergent_encryption {
        Some(format!(
            "key {name} is convergent; create one of type aes256-gcm96 without it under another name"
        ))
    } else if data.derived {
        Some(format!(
            "key {name} is derived; create one of type aes256-gcm96 without derived=true under another name"
        ))
    } else if data.soft_deleted {
        Some(format!(
            "key {name} is soft-deleted; restore it with keys/{name}/soft-delete-restore"
        ))
    } else {
        None
    };
    // A key that cannot be used anyway is named so, whatever its document lacks.
    let listed = data.latest_version > 0 && data.keys.contains_key(&data.latest_version);
    if unfit.is_none() && !listed {
        return Err(format!(
            "the key document does not list its latest version {}",
            data.latest_version
        ));
    }
    Ok(KeyDocument {
        latest: data.latest_version,
        min_decryption: data.min_decryption_version,
        min_encryption: data.min_encryption_version,
        versions,
        unfit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(extra: &str) -> String {
        format!(
            r#"{{"data":{{"name":"k","latest_version":2,"keys":{{"1":1764115200,"2":1764115201}},"min_decryption_version":1,"min_encryption_version":0{extra}}}}}"#
        )
    }

    #[test]
    fn bug_030_unfit_keys_are_named_with_type_and_remedy() {
        for (extra, words) in [
            (r#","type":"ed25519""#, "ed25519"),
            (r#","type":"rsa-4096""#, "rsa-4096"),
            (r#","type":"aes256-gcm96","derived":true"#, "derived"),
            (
                r#","type":"aes256-gcm96","derived":true,"convergent_encryption":true"#,
                "convergent",
            ),
            (
                r#","type":"aes256-gcm96","soft_deleted":true"#,
                "soft-delete-restore",
            ),
        ] {
            let unfit = parse("k", document(extra).as_bytes())
                .expect("readable")
                .unfit
                .expect("unfit");
            assert!(unfit.contains(words) && unfit.contains("key k"), "{unfit}");
        }
        // As both servers show a key for HMAC: without versions.
        let hmac = r#"{"data":{"type":"hmac","latest_version":1}}"#;
        let unfit = parse("k", hmac.as_bytes()).expect("readable").unfit;
        assert!(unfit.expect("unfit").contains("has type hmac"));
        for kind in TYPES {
            let read =
                parse("k", document(&format!(r#","type":"{kind}""#)).as_bytes()).expect("readable");
            assert_eq!(read.unfit, None);
            assert_eq!(&*read.versions[&2], "1764115201");
        }
    }

    #[test]
    fn damaged_documents_are_errors() {
        let fine = document(r#","type":"aes256-gcm96""#);
        for body in [
            String::new(),
            "null".to_owned(),
            "[]".to_owned(),
            "{}".to_owned(),
            r#"{"data":{}}"#.to_owned(),
            fine.replace("\"latest_version\":2", "\"latest_version\":3"),
            fine.replace("\"latest_version\":2", "\"latest_version\":0"),
            fine.replace("\"latest_version\":2", "\"latest_version\":\"2\""),
            fine.replace("\"latest_version\":2", "\"latest_version\":-1"),
            fine.replace("\"1\":", "\"one\":"),
            fine.replace("\"keys\":{", "\"keys\":[")
                .replace("\"2\":1764115201}", "1]"),
            fine[..fine.len() - 5].to_owned(),
        ] {
            assert!(parse("k", body.as_bytes()).is_err(), "{body}");
        }
    }
}
