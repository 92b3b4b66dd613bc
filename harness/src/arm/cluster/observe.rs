//! What an API server shows of its plugin: its health check, and its metrics.
//!
//! A health check's result is up to 20 s old (KMS2-STATUS-11). Keys show as hashes of key_ids (KMS2-MET-03, KMS2-MET-04).
//! Behind an address may stand several servers; keys are told of the one that was met first alone, for a newer key of one
//! and an older of another are no going back.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kms_apiserver_api::{Call, Method};
use kms_history::chaos::RpcEnd;
use kms_scenario::world::Probe;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::NAMESPACE;
use super::api::Api;
use super::namespaced::labelled;

/// The health check of KMS providers (KMS2-HEALTH-02).
const HEALTH: &str = "/readyz/kms-providers";
/// The object that is written to see with which key.
pub const PROBE: &str = "kms-harness-probe";
/// Longest message that is kept, in characters.
const MESSAGE: usize = 200;
/// Limit for a write to show in the metrics: another server may be asked first.
const SHOWS: Duration = Duration::from_secs(20);
/// How every value begins that a KMS v2 plugin's key protects.
const KMS: &str = "k8s:enc:kms:v2:";

/// What encrypts a resource, as far as it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider(String);

/// Looks at one cluster.
#[derive(Debug)]
pub struct Observer {
    api: Api,
    provider: String,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    server: String,
    status: String,
    written: String,
    calls: u64,
}

impl Observer {
    /// Writes a Secret, and sees which provider encrypts it.
    ///
    /// # Errors
    /// No KMS v2 provider does, or the cluster does not show it.
    pub async fn start(api: Api) -> Result<Self> {
        let health = api.call(Method::Get, HEALTH, None).await?;
        ensure!(
            health.code != 404,
            "this API server has no check kms-providers: it has no KMS v2 provider"
        );
        let provider = provider(&api, "secrets").await?;
        let Some(Provider(provider)) = provider else {
            anyhow::bail!(
                "a Secret was written, and no KMS v2 provider encrypted it: is one the first for secrets in the \
                 EncryptionConfiguration of this cluster?"
            );
        };
        Ok(Self {
            api,
            provider,
            seen: Mutex::default(),
        })
    }

    /// Whether ConfigMaps are encrypted by the same provider.
    ///
    /// # Errors
    /// The cluster does not show it.
    pub async fn encrypts_config_maps(&self) -> Result<bool> {
        let provider = provider(&self.api, "configmaps").await?;
        Ok(provider.is_some_and(|Provider(name)| name == self.provider))
    }

    /// How every value begins that the provider in use writes.
    pub fn prefix(&self) -> String {
        format!("{KMS}{}:", self.provider)
    }

    /// Calls of API servers to the plugin, as last seen.
    pub fn calls(&self) -> u64 {
        self.seen().calls
    }

    /// Looks at the metrics.
    ///
    /// # Errors
    /// No answer.
    pub async fn look(&self) -> Result<()> {
        let metrics = self.api.get("/metrics").await?;
        let text = metrics.text();
        let ours =
            |labels: &BTreeMap<&str, &str>| labels.get("provider_name") == Some(&&*self.provider);
        let status = newest(
            text,
            "apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds",
            ours,
        );
        let written = newest(
            text,
            "apiserver_envelope_encryption_key_id_hash_last_timestamp_seconds",
            |labels| ours(labels) && labels.get("transformation_type") == Some(&"to_storage"),
        );
        let calls = samples(
            text,
            "apiserver_envelope_encryption_kms_operations_latency_seconds_count",
        )
        .filter(|(labels, _)| ours(labels))
        .map(|(_, count)| count)
        .sum::<f64>();
        let mut seen = self.seen();
        for (server, _) in status.iter().take(1) {
            if seen.server.is_empty() {
                server.clone_into(&mut seen.server);
            }
        }
        let server = seen.server.clone();
        if let Some(key) = status.get(&server) {
            key.clone_into(&mut seen.status);
        }
        if let Some(key) = written.get(&server) {
            key.clone_into(&mut seen.written);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count"
        )]
        let calls = calls as u64;
        seen.calls = seen.calls.max(calls);
        Ok(())
    }

    /// What the API server's health check says of Status, and the key that Status named last.
    pub async fn status(&self, limit: Duration) -> Probe {
        let begun = Instant::now();
        // the check itself waits for the plugin, up to the provider's own timeout
        let call = Call::new(Method::Get, HEALTH).with_timeout(limit * 3);
        let answer = self.api.server().call(call).await;
        let took = begun.elapsed();
        let end = match answer {
            Ok(answer) if answer.ok() => self.named(|seen| seen.status.clone(), Some("ok")).await,
            Ok(answer) => failed("Unavailable", answer.text()),
            Err(trouble) => failed("DeadlineExceeded", &trouble.0),
        };
        Probe {
            took,
            end,
            clear: false,
        }
    }

    /// Writes a Secret, and tells the key that it was written under.
    pub async fn encrypt(&self, plaintext: &[u8], limit: Duration) -> Probe {
        let begun = Instant::now();
        let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets/{PROBE}");
        let call = Call::new(Method::Put, path)
            .with_body(secret("secrets", plaintext))
            .with_timeout(limit * 3);
        let answer = self.api.server().call(call).await;
        let took = begun.elapsed();
        let end = match answer {
            Ok(answer) if answer.ok() => self.named(|seen| seen.written.clone(), None).await,
            Ok(answer) => failed("Internal", answer.message()),
            Err(trouble) => failed("DeadlineExceeded", &trouble.0),
        };
        Probe {
            took,
            end,
            clear: false,
        }
    }

    async fn named(&self, key: impl Fn(&Seen) -> String, healthz: Option<&str>) -> RpcEnd {
        match self.look().await {
            Ok(()) => RpcEnd::Ok {
                key_id: key(&self.seen()),
                healthz: healthz.map(str::to_owned),
            },
            Err(error) => failed("Unknown", &format!("{error:#}")),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(code: &str, text: &str) -> RpcEnd {
    RpcEnd::Failed {
        code: code.to_owned(),
        message: text.trim().chars().take(MESSAGE).collect(),
    }
}

fn secret(resource: &str, value: &[u8]) -> serde_json::Value {
    let value = STANDARD.encode(value);
    let mut object = json!({
        "apiVersion": "v1",
        "kind": if resource == "secrets" { "Secret" } else { "ConfigMap" },
        "metadata": {"name": PROBE, "namespace": NAMESPACE},
        "data": {"value": value},
    });
    labelled(&mut object);
    object
}

/// Writes an object until the metrics show by which KMS v2 provider; nothing where none does.
async fn provider(api: &Api, resource: &str) -> Result<Option<Provider>> {
    let before = written(api, resource).await?;
    let path = format!("/api/v1/namespaces/{NAMESPACE}/{resource}");
    let start = Instant::now();
    let mut number = 0_u32;
    loop {
        let value = secret(resource, format!("probe {number}").as_bytes());
        let made = if number == 0 {
            api.call(Method::Post, &path, Some(value)).await?
        } else {
            api.call(Method::Put, &format!("{path}/{PROBE}"), Some(value))
                .await?
        };
        ensure!(made.ok(), "write one of the {resource}: {made:?}");
        let after = written(api, resource).await?;
        let rose: Vec<&String> = after
            .iter()
            .filter(|(prefix, count)| **count > before.get(*prefix).copied().unwrap_or_default())
            .map(|(prefix, _)| prefix)
            .collect();
        let kms = rose.iter().find_map(|prefix| prefix.strip_prefix(KMS));
        if let Some(name) = kms {
            return Ok(Some(Provider(name.trim_end_matches(':').to_owned())));
        }
        // Who else writes in clear shows as well; where nothing rose another server was asked.
        if !rose.is_empty() && number >= 2 || start.elapsed() >= SHOWS {
            return Ok(None);
        }
        number += 1;
        sleep(Duration::from_millis(500)).await;
    }
}

/// Successful writes of a resource, by what the values begin with (KMS2-MET-09). Before 1.32 the resource does not show.
async fn written(api: &Api, resource: &str) -> Result<BTreeMap<String, u64>> {
    let metrics = api.get("/metrics").await?;
    let mut counts = BTreeMap::new();
    for (labels, count) in samples(
        metrics.text(),
        "apiserver_storage_transformation_operations_total",
    ) {
        let ours = labels.get("resource").is_none_or(|of| *of == resource);
        let to = labels.get("transformation_type") == Some(&"to_storage");
        if ours && to && labels.get("status") == Some(&"OK") {
            let prefix = labels
                .get("transformer_prefix")
                .copied()
                .unwrap_or_default();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a count"
            )]
            let count = count as u64;
            *counts.entry(prefix.to_owned()).or_default() += count;
        }
    }
    Ok(counts)
}

/// By server, the key with the newest time.
fn newest<'a>(
    text: &'a str,
    name: &'a str,
    wanted: impl Fn(&BTreeMap<&str, &str>) -> bool,
) -> BTreeMap<String, String> {
    let mut newest: BTreeMap<&str, (f64, &str)> = BTreeMap::new();
    for (labels, at) in samples(text, name) {
        if !wanted(&labels) {
            continue;
        }
        let server = labels.get("apiserver_id_hash").copied().unwrap_or_default();
        let key = labels.get("key_id_hash").copied().unwrap_or_default();
        let kept = newest.entry(server).or_insert((at, key));
        if at > kept.0 {
            *kept = (at, key);
        }
    }
    newest
        .into_iter()
        .map(|(server, (_, key))| (server.to_owned(), key.to_owned()))
        .collect()
}

/// The samples of a metric in Prometheus' text format. Label values with quotes in them are not ours.
pub fn samples<'a>(
    text: &'a str,
    name: &'a str,
) -> impl Iterator<Item = (BTreeMap<&'a str, &'a str>, f64)> {
    text.lines().filter_map(move |line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.rsplit_once("} ")?,
            None => ("", rest.strip_prefix(' ')?),
        };
        let labels = labels
            .split("\",")
            .filter_map(|pair| pair.split_once("=\""))
            .map(|(name, value)| (name, value.trim_end_matches('"')));
        Some((labels.collect(), value.trim().parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# HELP keys x
keys{apiserver_id_hash="s1",key_id_hash="sha256:a",provider_name="kms"} 1.5e+09
keys{apiserver_id_hash="s1",key_id_hash="sha256:b",provider_name="kms"} 1.6e+09
keys{apiserver_id_hash="s2",key_id_hash="sha256:a",provider_name="kms"} 1.7e+09
keys{apiserver_id_hash="s1",key_id_hash="sha256:c",provider_name="other"} 1.8e+09
keys_more{key_id_hash="x"} 3
plain 4
"#;

    #[test]
    fn the_newest_key_of_each_server() {
        let ours = |labels: &BTreeMap<&str, &str>| labels.get("provider_name") == Some(&"kms");
        let wanted = [("s1", "sha256:b"), ("s2", "sha256:a")];
        let wanted = wanted.map(|(server, key)| (server.to_owned(), key.to_owned()));
        assert_eq!(newest(TEXT, "keys", ours), BTreeMap::from(wanted));
        let plain: Vec<_> = samples(TEXT, "plain").collect();
        assert_eq!(plain, [(BTreeMap::new(), 4.0)]);
    }
}
