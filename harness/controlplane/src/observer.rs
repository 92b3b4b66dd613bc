//! Config observer: sets `--encryption-provider-config` once the operand has a configuration, and never takes it away.

use crate::cluster::Cluster;
use crate::encryption_config::CONFIG_KEY;
use crate::object::{Event, go_list};

/// Where kube-apiserver finds its configuration.
pub const KUBE_APISERVER_PATH: &str =
    "/etc/kubernetes/static-pod-resources/secrets/encryption-config/encryption-config";

/// Observes once for a component; its flag is then in [`crate::cluster::Component::observed_path`].
///
/// # Panics
///
/// If there is no component of that place.
pub fn observe(cluster: &mut Cluster, component: usize, path: &str) -> Vec<Event> {
    let operator = &mut cluster.components[component];
    let whole = format!("{}/{CONFIG_KEY}", operator.name);
    match cluster.api.cached_secret(&operator.name, CONFIG_KEY) {
        None if operator.observed_path.is_empty() => Vec::new(),
        None => {
            let text = format!(
                "encryption config secret {whole} not found after encryption has been enabled"
            );
            vec![Event::warning("ObserveEncryptionConfigNotFound", text)]
        }
        Some(secret) if secret.data.get(CONFIG_KEY).is_none_or(Vec::is_empty) => {
            let text = format!("encryption config secret {whole} missing data");
            vec![Event::warning("ObserveEncryptionConfigNoData", text)]
        }
        Some(_) if operator.observed_path == [path] => Vec::new(),
        Some(_) => {
            let before = go_list(operator.observed_path.iter().map(String::as_str));
            operator.observed_path = vec![path.to_owned()];
            let text = format!("encryption config file changed from {before} to {path}");
            vec![Event::normal("ObserveEncryptionConfigChanged", text)]
        }
    }
}
