//! What the target config carries beside the configuration text in v2: for each KMS key its plugin's settings.

use std::collections::BTreeMap;

use crate::config_state::EncryptionState;
use crate::encryption_config::{EncryptionConfiguration, Provider};
use crate::key::{KeyState, Mode};

/// Data keys of a config secret for every KMS key that its text lists.
pub(crate) fn of_config(
    config: &EncryptionConfiguration,
    state: &EncryptionState,
) -> BTreeMap<String, Vec<u8>> {
    let listed = |key: &KeyState| {
        config.resources.iter().flat_map(|entry| &entry.providers).any(
            |provider| matches!(provider, Provider::Kms(kms) if kms.name.split('_').next() == Some(key.name.as_str())),
        )
    };
    let mut data = BTreeMap::new();
    for key in state
        .values()
        .flat_map(|keys| &keys.read_keys)
        .filter(|key| key.mode == Mode::Kms && listed(key))
    {
        let Some(kms) = &key.kms else { continue };
        let Some(plugin) = &kms.plugin else { continue };
        data.insert(format!("kms-plugin-config-{}", key.name), plugin.clone());
        for (name, value) in &kms.referenced {
            data.insert(format!("kms-plugin-{name}-{}", key.name), value.clone());
        }
    }
    data
}
