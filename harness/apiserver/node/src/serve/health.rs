//! `/healthz`, `/livez`, `/readyz` (KMS2-HEALTH-02 to -04). Only checks of what this server has are shown.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kms_apiserver_api::Resource;
use tokio::time::{sleep, timeout};

use super::{Api, Reply};
use crate::cacher::Cacher;
use crate::rest::Query;
use kms_apiserver::health::{self, Check};

/// How long the store has for the answer to a health check.
const STORE_WITHIN: Duration = Duration::from_secs(2);

/// What the checks look at beside the encryption and the store. Each fact stays true once it is (KMS2-HEALTH-07).
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// All caches have been filled.
    pub storage_ready: Arc<AtomicBool>,
    /// The server is going down.
    pub shutting_down: Arc<AtomicBool>,
    /// The informers that have not seen their first list.
    pub informers: Informers,
}

/// The kinds whose informers wait for their first list.
#[derive(Clone, Debug)]
pub struct Informers(Arc<Mutex<BTreeSet<Resource>>>);

impl Default for Informers {
    fn default() -> Self {
        Informers(Arc::new(Mutex::new(Resource::ALL.into_iter().collect())))
    }
}

impl Informers {
    /// Waits for a first list as an informer does: refused, it comes again when it was told to.
    pub async fn sync(&self, resource: Resource, cacher: Arc<Cacher>) {
        while let Err(not_ready) = cacher.ready() {
            sleep(Duration::from_secs(u64::from(not_ready.retry_after))).await;
        }
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&resource);
    }

    fn check(&self) -> Result<(), String> {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.is_empty() {
            return Ok(());
        }
        let kinds: Vec<String> = waiting
            .iter()
            .map(|resource| format!("*v1.{}", resource.kind()))
            .collect();
        Err(format!(
            "{} informers not started yet: [{}]",
            kinds.len(),
            kinds.join(" ")
        ))
    }
}

/// The names of the checks. `kms-providers` comes from the encryption.
const PING: &str = "ping";
const ETCD: &str = "etcd";
const ETCD_READINESS: &str = "etcd-readiness";
const KMS_PROVIDERS: &str = "kms-providers";
const INFORMER_SYNC: &str = "informer-sync";
const STORAGE_READINESS: &str = "poststarthook/storage-readiness";
const SHUTDOWN: &str = "shutdown";

impl Api {
    /// A health path: all its checks, or one.
    pub(super) async fn show_health(
        &self,
        root: &str,
        check: Option<&str>,
        query: &Query,
    ) -> Reply {
        let names = self.checks(root);
        let answer = if let Some(name) = check {
            let Some(name) = names.into_iter().find(|known| *known == name) else {
                return Reply::Text {
                    code: 404,
                    body: "404 page not found\n".to_owned(),
                };
            };
            health::single(&self.run(name).await)
        } else {
            let excluded: Vec<&str> = query.all("exclude").iter().map(String::as_str).collect();
            let mut checks = Vec::new();
            for name in names {
                if excluded.contains(&name) {
                    // what is excluded is not run
                    checks.push(Check {
                        name: name.to_owned(),
                        result: Ok(()),
                    });
                } else {
                    checks.push(self.run(name).await);
                }
            }
            health::root(root, &checks, &excluded, query.has("verbose"))
        };
        Reply::Text {
            code: answer.status,
            body: answer.body,
        }
    }

    /// The checks of a path, in the order in which they are shown (KMS2-HEALTH-03).
    fn checks(&self, root: &str) -> Vec<&'static str> {
        let (livez, readyz) = (root == "livez", root == "readyz");
        let mut checks = vec![PING, ETCD];
        if readyz {
            checks.push(ETCD_READINESS);
        }
        if self.encryption.has_health_check() && (!livez || self.version.kms_checks_on_livez()) {
            checks.push(KMS_PROVIDERS);
        }
        if readyz {
            checks.push(INFORMER_SYNC);
        }
        if self.version.storage_readiness_on_livez() {
            checks.push(STORAGE_READINESS);
        }
        if readyz {
            checks.push(SHUTDOWN);
        }
        checks
    }

    async fn run(&self, name: &'static str) -> Check {
        let result = match name {
            ETCD | ETCD_READINESS => {
                let key = format!("{}/health", self.registry.keys().prefix());
                match timeout(STORE_WITHIN, self.registry.store().get(&key)).await {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(error)) => Err(format!("error getting data from etcd: {error}")),
                    Err(_) => {
                        Err("error getting data from etcd: context deadline exceeded".to_owned())
                    }
                }
            }
            KMS_PROVIDERS => self.encryption.probe().await,
            INFORMER_SYNC => self.health.informers.check(),
            STORAGE_READINESS if !self.health.storage_ready.load(Ordering::Relaxed) => {
                Err("not finished".to_owned())
            }
            SHUTDOWN if self.health.shutting_down.load(Ordering::Relaxed) => {
                Err("process is shutting down".to_owned())
            }
            _ => Ok(()),
        };
        Check {
            name: name.to_owned(),
            result,
        }
    }
}
