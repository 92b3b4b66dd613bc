//! The plugin configuration that v2 reads from the spec: a Vault, and what of it lives in other objects.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use serde::{Deserialize, Serialize};

use crate::api::Api;
use crate::key_secret::to_json;
use crate::object::CONFIG_NAMESPACE;

/// `.spec.encryption.kms`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginSpec {
    /// `Vault`; anything else is refused by the key controller.
    #[serde(rename = "type", default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The Vault.
    #[serde(default)]
    pub vault: VaultSpec,
}

/// `.spec.encryption.kms.vault`. Field order is that of the real type: a hash is taken over its JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VaultSpec {
    /// Image of the plugin, with digest.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kms_plugin_image: String,
    /// `https://host:port`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub vault_address: String,
    /// Namespace of the key.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub vault_namespace: String,
    /// Namespace of the login.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub vault_auth_namespace: String,
    /// TLS.
    #[serde(skip_serializing_if = "is_default")]
    pub tls: TlsSpec,
    /// Login.
    #[serde(skip_serializing_if = "is_default")]
    pub authentication: AuthenticationSpec,
    /// `<mount>/keys/<name>`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub vault_key_path: String,
}

/// TLS towards the Vault.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsSpec {
    /// Config map in `openshift-config` with `ca-bundle.crt`.
    #[serde(skip_serializing_if = "is_default")]
    pub ca_bundle: Named,
    /// Name in the certificate.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub server_name: String,
}

/// Login at the Vault.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthenticationSpec {
    /// `AppRole`.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The AppRole.
    #[serde(skip_serializing_if = "is_default")]
    pub app_role: AppRoleSpec,
}

/// An AppRole login.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AppRoleSpec {
    /// Secret in `openshift-config` with `role-id` and `secret-id`.
    pub secret: Named,
}

/// A reference by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Named {
    /// Name.
    pub name: String,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What a configuration refers to: `secret-<name>_<key>` and `configmap-<name>_<key>`, with the content.
pub(crate) struct References {
    entries: Vec<(String, String, Vec<u8>)>,
}

impl PluginSpec {
    /// The provider is one that the controllers know.
    ///
    /// # Errors
    ///
    /// As they say it.
    pub fn check_kind(&self) -> Result<(), String> {
        if self.kind == "Vault" {
            Ok(())
        } else {
            Err(format!("unsupported KMS provider type {:?}", self.kind))
        }
    }

    /// The same key in the same Vault: a change of anything else makes no new key.
    pub fn same_instance(&self, other: &Self) -> bool {
        let (a, b) = (&self.vault, &other.vault);
        self.kind == other.kind
            && a.vault_address == b.vault_address
            && a.vault_namespace == b.vault_namespace
            && a.vault_key_path == b.vault_key_path
    }

    /// Fetches what it refers to.
    ///
    /// # Errors
    ///
    /// A login that is not known, an object or a key that is not there.
    pub(crate) fn references(&self, api: &Api) -> Result<References, String> {
        let login = &self.vault.authentication;
        if login.kind != "AppRole" {
            return Err(format!(
                "unsupported Vault authentication type {:?}",
                login.kind
            ));
        }
        let mut entries = Vec::new();
        let name = &login.app_role.secret.name;
        if !name.is_empty() {
            let secret = api
                .secret(CONFIG_NAMESPACE, name)
                .map_err(|e| format!("failed to get secret {name} in {CONFIG_NAMESPACE}: {e}"))?;
            for key in ["role-id", "secret-id"] {
                let value = secret.data.get(key).ok_or_else(|| {
                    format!("secret {name} in {CONFIG_NAMESPACE} is missing required key {key:?}")
                })?;
                entries.push((
                    format!("secret-{name}_{key}"),
                    key.to_owned(),
                    value.clone(),
                ));
            }
        }
        let name = &self.vault.tls.ca_bundle.name;
        if !name.is_empty() {
            let map = api.config_map(CONFIG_NAMESPACE, name).map_err(|e| {
                format!("failed to get configmap {name} in {CONFIG_NAMESPACE}: {e}")
            })?;
            let key = "ca-bundle.crt";
            let value = map.get(key).ok_or_else(|| {
                format!("configmap {name} in {CONFIG_NAMESPACE} is missing required key {key:?}")
            })?;
            entries.push((
                format!("configmap-{name}_{key}"),
                key.to_owned(),
                value.clone().into_bytes(),
            ));
        }
        Ok(References { entries })
    }

    /// Hash over the Vault's configuration and what it refers to, which names a preflight check: FNV-1, 32 bits.
    pub(crate) fn hash(&self, references: &References) -> String {
        let mut text = to_json(&self.vault).into_bytes();
        text.push(b'\n');
        for (_, key, value) in &references.entries {
            text.extend(key.as_bytes());
            text.extend(value);
        }
        let hash = text.iter().fold(0x811c_9dc5_u32, |hash, byte| {
            hash.wrapping_mul(0x0100_0193) ^ u32::from(*byte)
        });
        URL_SAFE.encode(hash.to_be_bytes())
    }

    /// As it stands in a key secret: an APIServer object with nothing else in it.
    pub(crate) fn to_text(&self) -> Vec<u8> {
        format!(
            "{{\"kind\":\"APIServer\",\"apiVersion\":\"config.openshift.io/v1\",\"metadata\":{{}},\"spec\":{{\"servingCerts\":{{}},\"clientCA\":{{\"name\":\"\"}},\"encryption\":{{\"kms\":{}}},\"audit\":{{}}}},\"status\":{{}}}}\n",
            to_json(self)
        )
        .into_bytes()
    }

    /// Reads it back.
    pub fn from_text(text: &[u8]) -> Result<Self, String> {
        let mut object: serde_json::Value =
            serde_json::from_slice(text).map_err(|e| e.to_string())?;
        let kms = object
            .pointer_mut("/spec/encryption/kms")
            .map(serde_json::Value::take)
            .unwrap_or_default();
        if kms.is_null() {
            Ok(Self::default())
        } else {
            serde_json::from_value(kms).map_err(|e| e.to_string())
        }
    }
}

impl References {
    /// By the name that they have in a key secret.
    pub(crate) fn into_data(self) -> std::collections::BTreeMap<String, Vec<u8>> {
        self.entries
            .into_iter()
            .map(|(name, _, value)| (name, value))
            .collect()
    }
}
