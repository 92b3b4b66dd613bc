//! From a configuration and the key secrets to keys per resource, and back.

use std::collections::BTreeMap;

use crate::encryption_config::{
    EncryptionConfiguration, Key, Keys, KmsProvider, NULL_KEY, Provider, ResourceConfig,
};
use crate::generation::{Generation, Quirks};
use crate::key::{KeyState, KmsPart, Mode, sort_recent_first};
use crate::key_secret;
use crate::object::Secret;
use crate::resource::GroupResource;

/// Keys of one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceKeys {
    /// The key that writes; nothing stands for plain text.
    pub write_key: Option<KeyState>,
    /// The keys that read, the writing one among them, newest first.
    pub read_keys: Vec<KeyState>,
}

/// Keys of all resources.
pub type EncryptionState = BTreeMap<GroupResource, ResourceKeys>;

/// Where a real controller dies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panic(pub String);

/// The keys that have a readable secret, newest first.
pub fn backed_keys(secrets: &[Secret], generation: Generation) -> Vec<KeyState> {
    let mut keys: Vec<KeyState> = secrets
        .iter()
        .filter_map(|s| key_secret::to_key(s, generation).ok())
        .collect();
    sort_recent_first(&mut keys);
    keys
}

/// The keys that a configuration lists, completed from those that have a secret. Entries in another form than the
/// operators write are left out.
pub fn to_state(
    config: &EncryptionConfiguration,
    backed: &[KeyState],
    generation: Generation,
    quirks: &Quirks,
) -> EncryptionState {
    config
        .resources
        .iter()
        .filter_map(|entry| match entry.resources.as_slice() {
            [name] => Some((
                GroupResource::from(name.as_str()),
                resource_keys(&entry.providers, backed, generation, quirks),
            )),
            _ => None,
        })
        .collect()
}

fn resource_keys(
    providers: &[Provider],
    backed: &[KeyState],
    generation: Generation,
    quirks: &Quirks,
) -> ResourceKeys {
    let mut keys = ResourceKeys::default();
    for (place, provider) in providers.iter().enumerate() {
        let Some(listed) = listed_key(provider, generation, quirks) else {
            continue;
        };
        let key = backed
            .iter()
            .find(|key| key.same_as(&listed))
            .cloned()
            .unwrap_or(listed);
        if place == 0 || (key.mode == Mode::Identity && keys.write_key.is_none()) {
            keys.write_key = Some(key.clone());
        }
        keys.read_keys.push(key);
    }
    sort_recent_first(&mut keys.read_keys);
    keys
}

fn listed_key(provider: &Provider, generation: Generation, quirks: &Quirks) -> Option<KeyState> {
    let local = |keys: &Keys, mode| match keys.keys.as_slice() {
        [key] => Some(KeyState::unbacked(&key.name, &key.secret, mode)),
        _ => None,
    };
    match provider {
        Provider::Aescbc(keys) => local(keys, Mode::Aescbc),
        Provider::Secretbox(keys) => local(keys, Mode::Secretbox),
        Provider::Aesgcm(keys) => local(keys, Mode::Aesgcm).map(|mut key| {
            if key.secret == NULL_KEY {
                key.mode = Mode::Identity;
            }
            key
        }),
        Provider::Kms(kms) if generation.has_kms() => {
            let (number, _) = kms.name.split_once('_')?;
            let mut key = KeyState::unbacked(number, NULL_KEY, Mode::Kms);
            if !quirks.lost_kms_secret_drops_provider {
                key.kms = Some(KmsPart {
                    provider: kms.clone(),
                    plugin: None,
                    referenced: BTreeMap::new(),
                });
            }
            Some(key)
        }
        Provider::Kms(_) | Provider::Identity(_) | Provider::Other(_) => None,
    }
}

/// The configuration for these keys: one entry per resource, by name.
///
/// # Errors
///
/// Dies where a resource would have no provider at all, as real controllers do.
pub fn from_state(
    state: &EncryptionState,
    quirks: &Quirks,
) -> Result<EncryptionConfiguration, Panic> {
    let entries = state.iter().map(|(gr, keys)| {
        Ok(ResourceConfig {
            resources: vec![gr.to_string()],
            providers: providers(gr, keys, quirks)?,
        })
    });
    Ok(EncryptionConfiguration::new(
        entries.collect::<Result<_, Panic>>()?,
    ))
}

fn providers(
    gr: &GroupResource,
    keys: &ResourceKeys,
    quirks: &Quirks,
) -> Result<Vec<Provider>, Panic> {
    let mut list = Vec::new();
    let mut ordered: Vec<&KeyState> = keys.read_keys.iter().collect();
    if let Some(write) = &keys.write_key {
        if let Some(again) = ordered.iter().position(|key| key.same_as(write)) {
            ordered.remove(again);
        }
        ordered.insert(0, write);
    } else {
        list.push(Provider::identity());
    }
    let mut null_keys = Vec::new();
    for (place, key) in ordered.into_iter().enumerate() {
        let local = || Keys {
            keys: vec![Key {
                name: key.name.clone(),
                secret: key.secret.clone(),
            }],
        };
        match key.mode {
            Mode::Aescbc => list.push(Provider::Aescbc(local())),
            Mode::Aesgcm => list.push(Provider::Aesgcm(local())),
            Mode::Secretbox => list.push(Provider::Secretbox(local())),
            Mode::Identity => {
                if place == 0 {
                    list.push(Provider::identity());
                }
                null_keys.push(Provider::Aesgcm(local()));
            }
            Mode::Kms => {
                if let Some(kms) = &key.kms {
                    let name = format!("{}_{}", key.name, gr.resource());
                    list.push(Provider::Kms(KmsProvider {
                        name,
                        ..kms.provider.clone()
                    }));
                }
            }
        }
    }
    match list.first() {
        None if quirks.empty_config_panics => {
            return Err(Panic(
                "runtime error: index out of range [0] with length 0".to_owned(),
            ));
        }
        Some(Provider::Identity(_)) => {}
        _ => list.push(Provider::identity()),
    }
    list.append(&mut null_keys);
    Ok(list)
}
