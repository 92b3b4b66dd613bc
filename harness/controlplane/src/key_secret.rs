//! Key secrets: what a key looks like in `openshift-config-managed`, in each generation's form.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;

use crate::encryption_config::{EncryptionConfiguration, KmsProvider, Provider, ResourceConfig};
use crate::generation::Generation;
use crate::gojson;
use crate::key::{KeyState, KmsPart, Mode, key_number};
use crate::object::{
    COMPONENT_LABEL, DESCRIPTION, DO_NOT_EDIT, FINALIZER, MANAGED_NAMESPACE, Secret,
};
use crate::resource::{Migrated, MigratedList};

/// Data key of the material.
pub const KEY_DATA: &str = "encryption.apiserver.operator.openshift.io-key";
/// Prefix of all data keys.
pub const DATA_PREFIX: &str = "encryption.apiserver.operator.openshift.io-";
const KMS_PROVIDER_DATA: &str = "encryption.apiserver.operator.openshift.io-kms-encryption-config";
const KMS_PLUGIN_DATA: &str = "encryption.apiserver.operator.openshift.io-kms-plugin-config";
const KMS_REFERENCE_DATA: &str = "encryption.apiserver.operator.openshift.io-kms-plugin-";

/// Name of a component's key secret.
pub fn key_secret_name(component: &str, key: &str) -> String {
    format!("encryption-key-{component}-{key}")
}

/// Reads a key secret.
///
/// # Errors
///
/// Why this generation does not take it for a key.
pub fn to_key(secret: &Secret, generation: Generation) -> Result<KeyState, String> {
    let whole = format!("{}/{}", secret.namespace, secret.name);
    let number =
        key_number(&secret.name).ok_or_else(|| format!("secret {whole} has an invalid name"))?;
    let data = secret.data.get(KEY_DATA).map_or(&[][..], Vec::as_slice);
    let mode_text = secret.note("mode").unwrap_or_default();
    let mode = Mode::parse(mode_text)
        .filter(|mode| *mode != Mode::Kms || generation.has_kms())
        .ok_or_else(|| format!("secret {whole} has invalid mode: {mode_text}"))?;
    let mut key = KeyState::unbacked(&number.to_string(), &BASE64.encode(data), mode);
    key.backed = true;
    if let Some(text) = secret.note("migrated-timestamp") {
        let at = text.parse::<Timestamp>();
        key.migrated_at = Some(at.map_err(|e| {
            format!("secret {whole} has invalid migrated-timestamp annotation: {e}")
        })?);
    }
    if let Some(text) = secret
        .note("migrated-resources")
        .filter(|text| !text.is_empty())
    {
        let list = MigratedList::parse(text).map_err(|e| {
            format!("secret {whole} has invalid migrated-resources annotation: {e}")
        })?;
        key.migrated = list.resources.iter().map(Into::into).collect();
    }
    key.internal_reason = secret
        .note("internal-reason")
        .unwrap_or_default()
        .to_owned();
    key.external_reason = secret
        .note("external-reason")
        .unwrap_or_default()
        .to_owned();
    if mode == Mode::Kms {
        key.kms = Some(kms_part(secret, generation).map_err(|e| format!("secret {whole}: {e}"))?);
    }
    if mode != Mode::Identity && data.is_empty() {
        return Err(format!(
            "secret {whole} of mode {mode_text:?} must have non-empty key"
        ));
    }
    Ok(key)
}

fn kms_part(secret: &Secret, generation: Generation) -> Result<KmsPart, String> {
    if generation == Generation::V1 {
        let text = secret
            .note("kms-config")
            .filter(|text| !text.is_empty())
            .ok_or("no kms-config annotation")?;
        if let Some(complaint) = gojson::complaint(text.as_bytes()) {
            return Err(format!("kms-config annotation: {complaint}"));
        }
        let provider: KmsProvider =
            serde_json::from_str(text).map_err(|e| format!("kms-config annotation: {e}"))?;
        return Ok(KmsPart {
            provider,
            plugin: None,
            referenced: Default::default(),
        });
    }
    let part = |key: &str| {
        secret
            .data
            .get(key)
            .filter(|v| !v.is_empty())
            .ok_or_else(|| format!("{key} can not be empty, when mode is KMS"))
    };
    let config = EncryptionConfiguration::from_text(part(KMS_PROVIDER_DATA)?)?;
    let provider = match config.resources.as_slice() {
        [ResourceConfig { providers, .. }] => match providers.as_slice() {
            [Provider::Kms(kms)] => kms.clone(),
            _ => return Err(format!("{KMS_PROVIDER_DATA} must hold one KMS provider")),
        },
        _ => return Err(format!("{KMS_PROVIDER_DATA} must hold one resource entry")),
    };
    let plugin = part(KMS_PLUGIN_DATA)?.clone();
    if let Some(complaint) = gojson::complaint(&plugin) {
        return Err(format!("{KMS_PLUGIN_DATA}: {complaint}"));
    }
    let referenced = secret
        .data
        .iter()
        .filter_map(|(key, value)| {
            let name = key.strip_prefix(KMS_REFERENCE_DATA)?;
            (name.starts_with("secret-") || name.starts_with("configmap-"))
                .then(|| (name.to_owned(), value.clone()))
        })
        .collect();
    Ok(KmsPart {
        provider,
        plugin: Some(plugin),
        referenced,
    })
}

/// Writes a component's key secret.
pub fn from_key(component: &str, key: &KeyState) -> Secret {
    let mut secret = Secret::new(MANAGED_NAMESPACE, &key_secret_name(component, &key.name));
    secret
        .labels
        .insert(COMPONENT_LABEL.to_owned(), component.to_owned());
    secret.finalizers.push(FINALIZER.to_owned());
    secret
        .annotations
        .insert(DESCRIPTION.to_owned(), DO_NOT_EDIT.to_owned());
    secret.set_note("mode", key.mode.as_str());
    secret.set_note("internal-reason", &key.internal_reason);
    secret.set_note("external-reason", &key.external_reason);
    if let Some(at) = key.migrated_at {
        secret.set_note("migrated-timestamp", &at.to_string());
    }
    if !key.migrated.is_empty() {
        let list = MigratedList {
            resources: key.migrated.iter().map(Migrated::from).collect(),
        };
        secret.set_note("migrated-resources", &to_json(&list));
    }
    secret.data.insert(
        KEY_DATA.to_owned(),
        BASE64.decode(&key.secret).unwrap_or_default(),
    );
    if let Some(kms) = &key.kms {
        write_kms(&mut secret, kms);
    }
    secret
}

fn write_kms(secret: &mut Secret, kms: &KmsPart) {
    let Some(plugin) = &kms.plugin else {
        secret.set_note("kms-config", &to_json(&kms.provider));
        return;
    };
    // The real objects say `resources: null` here, and read it as an empty list.
    let text = format!(
        "{{\"kind\":\"EncryptionConfiguration\",\"apiVersion\":\"apiserver.config.k8s.io/v1\",\"resources\":[{{\"resources\":null,\"providers\":[{{\"kms\":{}}}]}}]}}\n",
        to_json(&kms.provider)
    );
    secret
        .data
        .insert(KMS_PROVIDER_DATA.to_owned(), text.into_bytes());
    secret
        .data
        .insert(KMS_PLUGIN_DATA.to_owned(), plugin.clone());
    for (name, value) in &kms.referenced {
        secret
            .data
            .insert(format!("{KMS_REFERENCE_DATA}{name}"), value.clone());
    }
}

pub(crate) fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("strings and lists always become JSON")
}
