//! How the run's own Secrets lie in etcd. Nothing else is read there, and nothing is written.

use anyhow::{Result, anyhow, bail};
use kms_apiserver_api::{StoredValue, Trouble};

use super::NAMESPACE;
use super::api::Api;
use super::observe::PROBE;
use crate::apiserver::etcd::{At, Store};

/// What keys begin with: the server's default, and OpenShift's.
const PREFIXES: [&str; 2] = ["/registry", "/kubernetes.io"];

/// The Secrets of the run's namespace.
#[derive(Clone, Debug)]
pub struct Canaries {
    store: Store,
    prefix: &'static str,
}

impl Canaries {
    /// Finds them by the probe that was written a moment ago.
    ///
    /// # Errors
    /// It is not there, or another one: this is not the store of this cluster.
    pub async fn find(at: &At, api: &Api) -> Result<Self> {
        let store = Store::reach(at)?;
        let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets/{PROBE}");
        let probe = api.get(&path).await?;
        for prefix in PREFIXES {
            let canaries = Self {
                store: store.clone(),
                prefix,
            };
            let found = canaries.secret(PROBE).await;
            let found = found.map_err(|trouble| anyhow!("--etcd {}: {trouble}", at.address))?;
            // equal names are in other clusters, too
            if found.is_some_and(|found| found.mod_revision.to_string() == probe.resource_version())
            {
                return Ok(canaries);
            }
        }
        bail!(
            "--etcd {}: the Secret {PROBE}, which was just written, is not there as the API server has it: this is not \
             the etcd of this cluster, or not the one of its Secrets",
            at.address
        )
    }

    /// One of them, if it is there.
    ///
    /// # Errors
    /// No answer.
    pub async fn secret(&self, name: &str) -> Result<Option<StoredValue>, Trouble> {
        let key = format!("{}/secrets/{NAMESPACE}/{name}", self.prefix);
        self.store.get(&key).await
    }
}
