//! Looks at what is not the run's: the API server's other checks, objects in another namespace, errors of others. When any
//! of it suffers for longer than a moment, the run must stop.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use kms_apiserver_api::Method;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::api::Api;
use super::observe::samples;
use super::{BESIDE, LABEL};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(2);
/// How long something may be bad: a busy API server is not a broken one.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at the errors of others.
const ERRORS_EVERY: u32 = 5;
/// So many new errors of others between two looks are too many.
const ERRORS: u64 = 50;
/// The API server's health without that of the plugin.
const OTHERS: &str = "/readyz?verbose&exclude=kms-providers";
/// The guard's objects.
const CANARY: &str = "kms-harness-canary";

/// Looks at one cluster.
pub struct Guard {
    api: Api,
    value: String,
}

impl Guard {
    /// Puts its objects beside the run's namespace.
    ///
    /// # Errors
    /// They cannot be made, or the cluster is not well before anything was done to it.
    pub async fn start(api: Api, run: &str) -> Result<Self> {
        let (label, value) = LABEL.split_once('=').unwrap_or_default();
        for (resource, kind) in [("secrets", "Secret"), ("configmaps", "ConfigMap")] {
            let field = if kind == "Secret" {
                "stringData"
            } else {
                "data"
            };
            let object = json!({
                "apiVersion": "v1",
                "kind": kind,
                "metadata": {"name": CANARY, "labels": {label: value}},
                field: {"run": run},
            });
            let path = format!("/api/v1/namespaces/{BESIDE}/{resource}");
            api.create(&path, object).await?;
        }
        let guard = Self {
            api,
            value: run.to_owned(),
        };
        let start = Instant::now();
        while let Err(suffers) = guard.look().await {
            ensure!(
                start.elapsed() < PATIENCE,
                "this cluster is not well before anything was done to it: {suffers:#}"
            );
            sleep(EVERY).await;
        }
        Ok(guard)
    }

    /// Looks until something suffers; says what.
    pub async fn watch(&self) -> String {
        let mut well = Instant::now();
        let mut before: Option<BTreeMap<String, u64>> = None;
        let mut number = 0_u32;
        loop {
            sleep(EVERY).await;
            number += 1;
            let mut looked = self.look().await;
            // Errors that could not be read are read at the next look, and until then nothing is known to be well.
            if looked.is_ok() && number >= ERRORS_EVERY {
                match self.errors().await {
                    Ok(now) => {
                        let more = before.as_ref().and_then(|before| more(before, &now));
                        if let Some((what, count)) = more {
                            return format!(
                                "others get errors from this cluster: {count} on {what}"
                            );
                        }
                        before = Some(now);
                        number = 0;
                    }
                    Err(error) => looked = Err(error.context("the errors that others get")),
                }
            }
            match looked {
                Ok(()) => well = Instant::now(),
                Err(suffers) if well.elapsed() >= PATIENCE => {
                    return format!(
                        "something that is not the run's suffers since {} s: {suffers:#}",
                        well.elapsed().as_secs()
                    );
                }
                Err(_) => {}
            }
        }
    }

    /// Everything that is looked at each time; an error says what is bad.
    async fn look(&self) -> Result<()> {
        let health = self.api.call(Method::Get, OTHERS, None).await?;
        let bad: Vec<&str> = health
            .text()
            .lines()
            .filter(|line| line.starts_with("[-]"))
            .collect();
        ensure!(
            health.ok(),
            "/readyz without kms-providers answers {}: {}",
            health.code,
            bad.join("; ")
        );
        for resource in ["secrets", "configmaps"] {
            let path = format!("/api/v1/namespaces/{BESIDE}/{resource}/{CANARY}");
            let read = self.api.get(&path).await?;
            let value = read.field("/data/run");
            let wanted = if resource == "secrets" {
                use base64::Engine;
                base64::engine::general_purpose::STANDARD.encode(&self.value)
            } else {
                self.value.clone()
            };
            ensure!(value == wanted, "{path} holds something else");
        }
        Ok(())
    }

    /// Answers 5xx about what no run touches, by resource.
    async fn errors(&self) -> Result<BTreeMap<String, u64>> {
        let metrics = self.api.get("/metrics").await?;
        let mut errors = BTreeMap::new();
        for (labels, count) in samples(metrics.text(), "apiserver_request_total") {
            let resource = labels.get("resource").copied().unwrap_or_default();
            let failed = labels.get("code").is_some_and(|code| code.starts_with('5'));
            let theirs = !["", "secrets", "configmaps"].contains(&resource);
            if failed && theirs {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a count"
                )]
                let count = count as u64;
                *errors.entry(resource.to_owned()).or_default() += count;
            }
        }
        Ok(errors)
    }
}

/// The first resource with too many new errors.
fn more(before: &BTreeMap<String, u64>, now: &BTreeMap<String, u64>) -> Option<(String, u64)> {
    now.iter()
        .map(|(what, count)| {
            let before = before.get(what).copied().unwrap_or_default();
            (what.clone(), count.saturating_sub(before))
        })
        .find(|(_, new)| *new >= ERRORS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_errors_of_others_are_none_of_ours() {
        let counts = |pods| BTreeMap::from([("pods".to_owned(), pods), ("nodes".to_owned(), 7)]);
        assert_eq!(more(&counts(5), &counts(54)), None);
        let many = more(&counts(5), &counts(55));
        assert_eq!(many, Some(("pods".to_owned(), 50)));
        assert_eq!(more(&counts(90), &counts(3)), None, "another server");
    }
}
