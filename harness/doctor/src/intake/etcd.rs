//! Values in etcd: what each begins with, the hash of its key_id, and one annotation. Nothing else of them is looked at.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kms_apiserver::object::EncryptedObject;
use kms_apiserver::version::Version;
use kms_apiserver_api::StoredValue;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::key_id_hash;
use crate::evidence::{Etcd, Seen, Why};
use crate::raw::Raw;

/// Where resources lie.
const PLACES: &[(&str, &str)] = &[
    ("/kubernetes.io/secrets/", "secrets"),
    ("/kubernetes.io/configmaps/", "configmaps"),
    ("/registry/secrets/", "secrets"),
    ("/registry/configmaps/", "configmaps"),
    ("/openshift.io/routes/", "routes.route.openshift.io"),
    (
        "/openshift.io/oauth/accesstokens/",
        "oauthaccesstokens.oauth.openshift.io",
    ),
    (
        "/openshift.io/oauth/authorizetokens/",
        "oauthauthorizetokens.oauth.openshift.io",
    ),
];

/// What a value under KMS v2 begins with, whatever its provider is called.
const KMS_V2: &[u8] = b"k8s:enc:kms:v2:";
/// How vault-kubernetes-kms marks what it writes.
const FORMAT_ANNOTATION: &str = "format.vault-kubernetes-kms";

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    kvs: Vec<Pair<'a>>,
}

/// A key with its value, both in base64.
#[derive(Deserialize)]
pub struct Pair<'a> {
    pub key: &'a str,
    #[serde(default)]
    pub value: &'a str,
}

/// What `etcdctl get -w json` prints.
pub fn pairs(bytes: &[u8]) -> Result<Vec<Pair<'_>>, Why> {
    let answer: Answer<'_> = serde_json::from_slice(bytes).map_err(|_| Why::Unreadable)?;
    Ok(answer.kvs)
}

pub(super) fn etcd(raw: &Raw, component: &str) -> Seen<Etcd> {
    super::seen(raw.bytes(&format!("etcd/{component}.json")).and_then(read))
}

fn read(bytes: &[u8]) -> Result<Etcd, Why> {
    let mut found = Etcd::default();
    for pair in pairs(bytes)? {
        let key = STANDARD.decode(pair.key).map_err(|_| Why::Unreadable)?;
        let key = String::from_utf8_lossy(&key);
        let place = PLACES.iter().find(|(place, _)| key.starts_with(place));
        let value = STANDARD.decode(pair.value).map_err(|_| Why::Unreadable)?;
        let mut value = StoredValue {
            bytes: value,
            mod_revision: 0,
        };
        let begin = label(value.prefix());
        if value.prefix().starts_with(KMS_V2) {
            let rest = value.bytes.get(value.prefix().len()..).unwrap_or_default();
            if let Ok(object) = EncryptedObject::decode(rest, Version::NEWEST) {
                if place.is_some() && begin.starts_with("kms:") {
                    let hash = key_id_hash(&object.key_id);
                    *found.key_ids.entry(hash).or_default() += 1;
                }
                let format = object.annotations.get(FORMAT_ANNOTATION);
                found.written.count(format.map(|value| &value[..]));
            }
        }
        if let Some((_, resource)) = place {
            let counts = found.values.entry((*resource).to_owned()).or_default();
            *counts.entry(begin).or_default() += 1;
        }
        // it may be plain text
        drop(Zeroizing::new(std::mem::take(&mut value.bytes)));
    }
    Ok(found)
}

/// `kms:1` of `k8s:enc:kms:v2:1_secrets:`, `aescbc:2` of `k8s:enc:aescbc:v1:2:`.
fn label(prefix: &[u8]) -> String {
    let text = String::from_utf8_lossy(prefix);
    let Some(rest) = text.strip_prefix("k8s:enc:") else {
        return "plain".to_owned();
    };
    let mut parts = rest.split(':');
    let (kind, name) = (
        parts.next().unwrap_or_default(),
        parts.nth(1).unwrap_or_default(),
    );
    let number = name.split('_').next().unwrap_or_default();
    match (kind, number.parse::<u64>()) {
        ("kms" | "aescbc" | "aesgcm" | "secretbox", Ok(number)) => format!("{kind}:{number}"),
        _ => "other".to_owned(),
    }
}
