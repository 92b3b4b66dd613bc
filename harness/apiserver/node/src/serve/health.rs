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

/// How long the store has for the answer to a health check.
const STORE_WITHIN: Duration = Duration::from_secs(2);

/// What the checks look at beside the encryption and the store. Each fact stays true once it is (KMS2-HEALTH-07).
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// All caches have been filled.
    pub storage_ready: Arc<AtomicBool>,
    /// The system namespaces have been made.
    pub namespaces_made: Arc<AtomicBool>,
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

/// One check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Ping,
    Etcd,
    EtcdReadiness,
    KmsProviders,
    /// One KMS provider where each has its own check.
    InformerSync,
    Reload,
    Namespaces,
    StorageReadiness,
    Shutdown,
}

impl Check {
    fn name(self) -> &'static str {
        match self {
            Check::Ping => "ping",
            Check::Etcd => "etcd",
            Check::EtcdReadiness => "etcd-readiness",
            Check::KmsProviders => "kms-providers",
            Check::InformerSync => "informer-sync",
            Check::Reload => "poststarthook/start-encryption-provider-config-automatic-reload",
            Check::Namespaces => "poststarthook/start-system-namespaces-controller",
            Check::StorageReadiness => "poststarthook/storage-readiness",
            Check::Shutdown => "shutdown",
        }
    }
}

impl Api {
    /// A health path: all its checks, or one.
    pub(super) async fn show_health(
        &self,
        root: &str,
        check: Option<&str>,
        query: &Query,
    ) -> Reply {
        let checks = self.checks(root);
        if let Some(name) = check {
            let Some(check) = checks.into_iter().find(|check| check.name() == name) else {
                return Reply::Text {
                    code: 404,
                    body: "404 page not found\n".to_owned(),
                };
            };
            return match self.run(check).await {
                Ok(()) => Reply::Text {
                    code: 200,
                    body: "ok".to_owned(),
                },
                Err(why) => Reply::Text {
                    code: 500,
                    body: format!("internal server error: {why}\n"),
                },
            };
        }
        let excluded = query.all("exclude");
        let mut lines = String::new();
        let mut failed = false;
        for check in &checks {
            let name = check.name();
            if excluded.iter().any(|excluded| excluded == name) {
                lines.push_str(&format!("[+]{name} excluded: ok\n"));
            } else if self.run(*check).await.is_ok() {
                lines.push_str(&format!("[+]{name} ok\n"));
            } else {
                failed = true;
                lines.push_str(&format!("[-]{name} failed: reason withheld\n"));
            }
        }
        let unknown: Vec<String> = excluded
            .iter()
            .filter(|excluded| {
                !excluded.is_empty() && checks.iter().all(|check| check.name() != *excluded)
            })
            .map(|excluded| format!("{excluded:?}"))
            .collect();
        if !unknown.is_empty() {
            let unknown = unknown.join(",");
            lines.push_str(&format!(
                "warn: some health checks cannot be excluded: no matches for {unknown}\n"
            ));
        }
        if failed {
            Reply::Text {
                code: 500,
                body: format!("{lines}{root} check failed\n"),
            }
        } else if query.has("verbose") {
            Reply::Text {
                code: 200,
                body: format!("{lines}{root} check passed\n"),
            }
        } else {
            Reply::Text {
                code: 200,
                body: "ok".to_owned(),
            }
        }
    }

    /// The checks of a path, in the order in which they are shown (KMS2-HEALTH-03).
    fn checks(&self, root: &str) -> Vec<Check> {
        let (livez, readyz) = (root == "livez", root == "readyz");
        let mut checks = vec![Check::Ping, Check::Etcd];
        if readyz {
            checks.push(Check::EtcdReadiness);
        }
        if self.encryption.has_health_check() && (!livez || self.version.kms_checks_on_livez()) {
            checks.push(Check::KmsProviders);
        }
        if readyz {
            checks.push(Check::InformerSync);
        }
        if self.encryption.reloads() {
            checks.push(Check::Reload);
        }
        checks.push(Check::Namespaces);
        if self.version.storage_readiness_on_livez() {
            checks.push(Check::StorageReadiness);
        }
        if readyz {
            checks.push(Check::Shutdown);
        }
        checks
    }

    async fn run(&self, check: Check) -> Result<(), String> {
        let done = |fact: &AtomicBool| {
            if fact.load(Ordering::Relaxed) {
                Ok(())
            } else {
                Err("not finished".to_owned())
            }
        };
        match check {
            // a configuration that is taken up again is checked from the start on: the hook has run when requests are served
            Check::Ping | Check::Reload => Ok(()),
            Check::Etcd | Check::EtcdReadiness => {
                let key = format!("{}/health", self.registry.keys().prefix());
                let read = self.registry.store().get(&key);
                match timeout(STORE_WITHIN, read).await {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(error)) => Err(format!("error getting data from etcd: {error}")),
                    Err(_) => {
                        Err("error getting data from etcd: context deadline exceeded".to_owned())
                    }
                }
            }
            Check::KmsProviders => self.encryption.probe().await,
            Check::InformerSync => self.health.informers.check(),
            Check::Namespaces => Ok(()),
            Check::StorageReadiness => done(&self.health.storage_ready),
            Check::Shutdown => {
                if self.health.shutting_down.load(Ordering::Relaxed) {
                    Err("process is shutting down".to_owned())
                } else {
                    Ok(())
                }
            }
        }
    }
}
