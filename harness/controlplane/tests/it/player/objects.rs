//! Steps that edit objects by hand, or show them.

use jiff::Timestamp;
use kms_controlplane::cluster::target_config_name;
use kms_controlplane::encryption_config::{CONFIG_KEY, EncryptionConfiguration, Provider};
use kms_controlplane::generation::Generation;
use kms_controlplane::key_secret::{DATA_PREFIX, KEY_DATA, key_secret_name};
use kms_controlplane::object::{
    COMPONENT_LABEL, CONFIG_NAMESPACE, FINALIZER, MANAGED_NAMESPACE, PREFIX, PodPhase, Secret,
};
use kms_controlplane::vault::PluginSpec;
use serde_json::json;

use super::{Player, seconds};
use crate::view;

impl Player {
    pub(super) fn secret(
        &mut self,
        namespace: &str,
        name: &str,
        words: &[&str],
    ) -> Result<(), String> {
        let component = self.cluster.components[0].name.clone();
        let saved = &mut self.saved;
        let now = self.now;
        let change = |api: &mut kms_controlplane::api::Api| {
            let refused = |e: kms_controlplane::api::ApiError| e.to_string();
            match words[0] {
                "create" => {
                    let mut secret = Secret::new(namespace, name);
                    secret.set_note("mode", words[1]);
                    secret.labels.insert(COMPONENT_LABEL.to_owned(), component);
                    secret.data.insert(KEY_DATA.to_owned(), vec![b'k'; 32]);
                    return api.create_secret(secret).map_err(refused);
                }
                "create-config" => {
                    let mut secret = Secret::new(namespace, name);
                    secret
                        .data
                        .insert(CONFIG_KEY.to_owned(), words[1..].join(" ").into_bytes());
                    return api.create_secret(secret).map_err(refused);
                }
                "create-v1" | "create-v2" => {
                    let secret =
                        kms_key_secret(namespace, name, &component, words[0] == "create-v1", now);
                    return api.create_secret(secret).map_err(refused);
                }
                "restore" => {
                    let secret = saved.get(name).cloned().ok_or("nothing saved")?;
                    return api.create_secret(secret).map_err(refused);
                }
                "delete" => return api.delete_secret(namespace, name).map_err(refused),
                _ => {}
            }
            let mut secret = api.secret(namespace, name).map_err(refused)?;
            match words[0] {
                "save" => {
                    saved.insert(name.to_owned(), secret);
                    return Ok(());
                }
                "unset" => {
                    secret.annotations.remove(&format!("{PREFIX}{}", words[1]));
                }
                "setdata" => {
                    secret.data.insert(
                        format!("{DATA_PREFIX}{}", words[1]),
                        words[2..].join(" ").into_bytes(),
                    );
                }
                "unsetdata" => {
                    secret.data.remove(&format!("{DATA_PREFIX}{}", words[1]));
                }
                "set" => secret.set_note(words[1], &words[2..].join(" ")),
                "corrupt" => {
                    secret.data.insert(CONFIG_KEY.to_owned(), b"{".to_vec());
                }
                "strip" | "force-delete" => secret.finalizers.clear(),
                other => return Err(format!("unknown verb {other}")),
            }
            api.update_secret(secret).map_err(refused)?;
            if words[0] == "force-delete" {
                api.delete_secret(namespace, name).map_err(refused)
            } else {
                Ok(())
            }
        };
        self.cluster.api.outside(change)
    }

    pub(super) fn dump(&mut self, component: usize, what: &str) -> Result<(), String> {
        let name = &self.cluster.components[component].name;
        let secret = match what {
            "target" => self
                .cluster
                .api
                .cached_secret(MANAGED_NAMESPACE, &target_config_name(name)),
            "copy" => self.cluster.api.cached_secret(name, CONFIG_KEY),
            number => self
                .cluster
                .api
                .cached_secret(MANAGED_NAMESPACE, &key_secret_name(name, number)),
        };
        let secret = secret.ok_or("no such object")?;
        let line = json!({"what": "object", "name": secret.name, "data": view::object(secret)});
        self.line(None, line);
        Ok(())
    }

    pub(super) fn save_config(&mut self, component: usize, name: &str) -> Result<(), String> {
        let target = target_config_name(&self.cluster.components[component].name);
        let secret = self
            .cluster
            .api
            .cached_secret(MANAGED_NAMESPACE, &target)
            .ok_or("no such object")?;
        let mut config = EncryptionConfiguration::from_secret(secret)?.ok_or("no data")?;
        for provider in config
            .resources
            .iter_mut()
            .flat_map(|entry| &mut entry.providers)
        {
            if let Provider::Aescbc(keys) | Provider::Aesgcm(keys) = provider {
                let key = &mut keys.keys[0];
                if key.secret.len() > 24 {
                    key.secret = stand_in(key.name.parse().unwrap());
                }
            }
        }
        self.configs.insert(
            name.to_owned(),
            serde_json::from_slice(&config.to_text()).unwrap(),
        );
        Ok(())
    }

    pub(super) fn kms(&mut self, words: &[&str]) -> Result<(), String> {
        if self.cluster.generation != Generation::V2 {
            return Ok(()); // v1 does not read it
        }
        if words[0] == "none" {
            self.cluster.spec.kms = None;
            return Ok(());
        }
        let value = words[1].to_owned();
        let plugin = &mut self.plugin;
        match words[0] {
            "address" => plugin.vault.vault_address = value,
            "namespace" => plugin.vault.vault_namespace = value,
            "authnamespace" => plugin.vault.vault_auth_namespace = value,
            "keypath" => plugin.vault.vault_key_path = value,
            "image" => plugin.vault.kms_plugin_image = value,
            "servername" => plugin.vault.tls.server_name = value,
            "authtype" => plugin.vault.authentication.kind = value,
            "approle" => plugin.vault.authentication.app_role.secret.name = value,
            "provider" => plugin.kind = value,
            other => return Err(format!("unknown field {other}")),
        }
        self.cluster.spec.kms = Some(plugin.clone());
        Ok(())
    }

    pub(super) fn credentials(&mut self, words: &[&str]) -> Result<(), String> {
        self.cluster.api.outside(|api| {
            if words[0] == "gone" {
                return api
                    .delete_secret(CONFIG_NAMESPACE, "vault-approle")
                    .map_err(|e| e.to_string());
            }
            let mut secret = api
                .secret(CONFIG_NAMESPACE, "vault-approle")
                .map_err(|e| e.to_string())?;
            match words[1] {
                "gone" => secret.data.remove(words[0]),
                value => secret
                    .data
                    .insert(words[0].to_owned(), value.as_bytes().to_vec()),
            };
            api.update_secret(secret).map_err(|e| e.to_string())
        })
    }

    pub(super) fn preflight(&mut self, component: usize, words: &[&str]) -> Result<(), String> {
        let now = self.now;
        let deployer = &mut self.operator(component).deployer;
        match words[1] {
            "played" => deployer.real = true,
            "deployfails" => deployer.fails = Some(words[2..].join(" ")),
            "removed" => deployer.pod = None,
            _ => {
                let pod = deployer.pod.as_mut().ok_or("no pod")?;
                match words[1] {
                    "running" => pod.phase = PodPhase::Running,
                    "hash" => {
                        pod.phase = PodPhase::Running;
                        pod.reported_hash = Some(pod.hash.clone());
                    }
                    "pass" => {
                        pod.remote_key_id = Some(words[2].to_owned());
                        pod.result = Some(Ok(()));
                    }
                    "fail" => pod.result = Some(Err(words[2..].join(" "))),
                    "done" => pod.phase = PodPhase::Succeeded,
                    "crashed" => {
                        pod.phase = PodPhase::Failed;
                        pod.exited = Some((1, words[2].to_owned()));
                    }
                    "waiting" => pod.waiting = Some(words[2].to_owned()),
                    "initwaiting" => {} // of no interest to the controller
                    "old" => pod.started = now - seconds(words[2]),
                    other => return Err(format!("unknown step preflight {other}")),
                }
            }
        }
        Ok(())
    }
}
/// The key that stands for number `n` in the recorded texts: 32 times one letter.
fn stand_in(n: u8) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode([b'A' - 1 + n; 32])
}

pub(super) fn default_plugin() -> PluginSpec {
    let image = format!("images.example/plugin@sha256:{}", "a".repeat(64));
    serde_json::from_value(json!({"type": "Vault", "vault": {"kmsPluginImage": image,
        "vaultAddress": "https://vault.example:8200", "tls": {"caBundle": {"name": "vault-ca"}},
        "authentication": {"type": "AppRole", "appRole": {"secret": {"name": "vault-approle"}}},
        "vaultKeyPath": "transit/keys/kms-key"}}))
    .unwrap()
}

/// A migrated KMS key secret as v1 or v2 would have left it.
fn kms_key_secret(
    namespace: &str,
    name: &str,
    component: &str,
    v1: bool,
    now: Timestamp,
) -> Secret {
    let number = name.rsplit('-').next().unwrap();
    let mut secret = Secret::new(namespace, name);
    secret
        .labels
        .insert(COMPONENT_LABEL.to_owned(), component.to_owned());
    secret.finalizers.push(FINALIZER.to_owned());
    secret.set_note("mode", "KMS");
    secret.set_note("internal-reason", "key-does-not-exist");
    secret.set_note("external-reason", "");
    secret.set_note("migrated-timestamp", &now.to_string());
    secret.set_note(
        "migrated-resources",
        r#"{"resources":[{"Group":"","Resource":"configmaps"},{"Group":"","Resource":"secrets"}]}"#,
    );
    secret.data.insert(KEY_DATA.to_owned(), vec![0; 16]);
    if v1 {
        let provider = json!({"apiVersion": "v2", "name": number,
            "endpoint": "unix:///var/run/kmsplugin/kms.sock", "timeout": "10s"});
        secret.set_note("kms-config", &provider.to_string());
        return secret;
    }
    let endpoint = format!("unix:///var/run/kmsplugin/kms-{number}.sock");
    let config = json!({"kind": "EncryptionConfiguration", "apiVersion": "apiserver.config.k8s.io/v1",
        "resources": [{"resources": ["secrets"], "providers": [{"kms": {"apiVersion": "v2", "name": number,
            "endpoint": endpoint, "timeout": "10s"}}]}]});
    secret.data.insert(
        format!("{DATA_PREFIX}kms-encryption-config"),
        config.to_string().into_bytes(),
    );
    let plugin = json!({"kind": "APIServer", "apiVersion": "config.openshift.io/v1",
        "spec": {"encryption": {"kms": default_plugin()}}});
    secret.data.insert(
        format!("{DATA_PREFIX}kms-plugin-config"),
        plugin.to_string().into_bytes(),
    );
    secret
}
