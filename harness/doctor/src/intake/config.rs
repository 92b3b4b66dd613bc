//! Secrets and encryption configurations, read without copying what they hold.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kms_controlplane::encryption_config::{CONFIG_KEY, NULL_KEY};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::evidence::{Config, Why};
use crate::veil::Veil;

/// Resources that operators encrypt.
pub const RESOURCES: &[&str] = &[
    "secrets",
    "configmaps",
    "routes.route.openshift.io",
    "oauthaccesstokens.oauth.openshift.io",
    "oauthauthorizetokens.oauth.openshift.io",
];

#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow, default)]
    items: Vec<Item<'a>>,
}

/// A Secret; its values are left where they are.
#[derive(Deserialize)]
pub struct Item<'a> {
    #[serde(default)]
    pub metadata: Metadata,
    #[serde(borrow, default)]
    pub data: BTreeMap<String, &'a RawValue>,
}

/// Its metadata.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    pub deletion_timestamp: Option<String>,
}

/// Secrets of a list.
pub fn secrets(bytes: &[u8]) -> Result<Vec<Item<'_>>, Why> {
    let list: List<'_> = serde_json::from_slice(bytes).map_err(|_| Why::Unreadable)?;
    Ok(list.items)
}

impl Item<'_> {
    /// Whether there is something under a data key.
    pub fn has(&self, key: &str) -> bool {
        self.data
            .get(key)
            .is_some_and(|value| value.get().len() > 2)
    }

    /// The configuration in it.
    pub fn config(&self, veil: &Veil) -> Result<Config, Why> {
        let value = self.data.get(CONFIG_KEY).ok_or(Why::Unreadable)?;
        let encoded: &str = serde_json::from_str(value.get()).map_err(|_| Why::Unreadable)?;
        let text = STANDARD.decode(encoded).map(Zeroizing::new);
        let mut config = config(&text.map_err(|_| Why::Unreadable)?, veil)?;
        config.deleting = self.metadata.deletion_timestamp.is_some();
        Ok(config)
    }
}

#[derive(Deserialize)]
struct Text<'a> {
    #[serde(borrow, default)]
    resources: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(default)]
    resources: Vec<String>,
    #[serde(borrow, default)]
    providers: Vec<Provider<'a>>,
}

#[derive(Deserialize)]
struct Provider<'a> {
    #[serde(borrow)]
    aescbc: Option<Keys<'a>>,
    #[serde(borrow)]
    aesgcm: Option<Keys<'a>>,
    #[serde(borrow)]
    secretbox: Option<Keys<'a>>,
    identity: Option<IgnoredAny>,
    kms: Option<Kms>,
}

#[derive(Deserialize)]
struct Keys<'a> {
    #[serde(borrow, default)]
    keys: Vec<Key<'a>>,
}

#[derive(Deserialize)]
struct Key<'a> {
    #[serde(default)]
    name: String,
    #[serde(borrow)]
    secret: &'a RawValue,
}

#[derive(Deserialize)]
struct Kms {
    #[serde(default)]
    name: String,
}

/// A configuration text without its keys.
pub fn config(text: &[u8], veil: &Veil) -> Result<Config, Why> {
    let text: Text<'_> = serde_json::from_slice(text).map_err(|_| Why::Unreadable)?;
    let mut config = Config::default();
    for entry in &text.resources {
        let labels: Vec<String> = entry.providers.iter().map(|it| label(it, veil)).collect();
        for resource in &entry.resources {
            let resource = veil.one_of(RESOURCES, resource);
            config.resources.insert(resource, labels.clone());
        }
    }
    Ok(config)
}

fn label(provider: &Provider<'_>, veil: &Veil) -> String {
    let local = |kind: &str, keys: &Keys<'_>| {
        let Some(key) = keys.keys.first() else {
            return kind.to_owned();
        };
        let null = key.secret.get().trim_matches('"') == NULL_KEY;
        let kind = if null {
            format!("{kind}-null")
        } else {
            kind.to_owned()
        };
        format!("{kind}:{}", number(&key.name, veil))
    };
    match provider {
        Provider {
            aescbc: Some(keys), ..
        } => local("aescbc", keys),
        Provider {
            aesgcm: Some(keys), ..
        } => local("aesgcm", keys),
        Provider {
            secretbox: Some(keys),
            ..
        } => local("secretbox", keys),
        Provider { kms: Some(kms), .. } => {
            let name = kms.name.split('_').next().unwrap_or_default();
            format!("kms:{}", number(name, veil))
        }
        Provider {
            identity: Some(_), ..
        } => "identity".to_owned(),
        _ => "other".to_owned(),
    }
}

/// A key's number; any other name hashed.
pub fn number(name: &str, veil: &Veil) -> String {
    match name.parse::<u64>() {
        Ok(number) => number.to_string(),
        Err(_) => veil.hash(name),
    }
}
