//! One API server, whole: started, serving, stopped. It owns everything that runs for it.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kms_apiserver::options::Options;
use kms_apiserver::version::Version;
use kms_apiserver_api::Resource;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::cacher::{Cacher, Filling};
use crate::clock::{Chance, Clock};
use crate::encryption::{ConfigSource, Encryption, LogSink, Parts};
use crate::registry::{Keys, Registry};
use crate::rpc::Dialer;
use crate::serve::{Api, Health, Reply, Request};
use crate::store::Store;

/// The namespaces that every cluster has.
const SYSTEM_NAMESPACES: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "default"];

/// How often missing system namespaces are looked for.
const NAMESPACES_EVERY: Duration = Duration::from_secs(60);

/// How long the hook of storage readiness waits for the caches.
const CACHES_WITHIN: Duration = Duration::from_secs(60);

/// How often a server that is not ready yet asks itself whether it is.
const ASK_ITSELF_EVERY: Duration = Duration::from_millis(100);

/// The encryption configuration of a server.
#[derive(Clone)]
pub struct Configuration {
    /// The file.
    pub source: Arc<dyn ConfigSource>,
    /// Its path, for texts.
    pub path: String,
    /// `--encryption-provider-config-automatic-reload`.
    pub reload: bool,
}

/// What a server is made of.
#[derive(Clone)]
pub struct Settings {
    /// The emulated version.
    pub version: Version,
    /// `--etcd-prefix`.
    pub etcd_prefix: String,
    /// `--encryption-provider-config`, if it is given.
    pub configuration: Option<Configuration>,
    /// The server's id, hashed into metrics.
    pub server_id: String,
    /// Feature gate ConcurrentWatchObjectDecode; unset, the version's default.
    pub concurrent_watch_decode: Option<bool>,
    /// Feature gate AllowUnsafeMalformedObjectDeletion; unset, the version's default.
    pub unsafe_malformed_deletion: Option<bool>,
    /// Whether the store reports how far a watch is: etcd does since 3.4.25 and 3.5.8. Without, a LIST of the newest
    /// state is read from the store.
    pub watch_progress: bool,
    /// The upstream bug of KMS2-STATUS-13.
    pub act_on_sick_status: bool,
    /// The upstream bug of KMS2-DEC-03.
    pub cache_unproven_seeds: bool,
    /// The log verbosity.
    pub verbosity: u8,
    /// The seed of all chance. Secret in a real process.
    pub seed: [u8; 32],
    /// Wall time at the start, since 1970-01-01 UTC.
    pub unix: Duration,
}

impl Settings {
    /// The defaults of a version, without encryption.
    pub fn new(version: Version, seed: [u8; 32], unix: Duration) -> Self {
        Settings {
            version,
            etcd_prefix: "/registry".to_owned(),
            configuration: None,
            server_id: "kube-apiserver-simulated".to_owned(),
            concurrent_watch_decode: None,
            unsafe_malformed_deletion: None,
            watch_progress: true,
            act_on_sick_status: true,
            cache_unproven_seeds: true,
            verbosity: 2,
            seed,
            unix,
        }
    }
}

/// A server that serves. Dropped, it is gone as after a crash.
pub struct Node {
    api: Arc<Api>,
    tasks: JoinSet<()>,
}

impl Node {
    /// Starts a server; returns when it serves, ready or not. A plugin that is down delays that by its timeouts
    /// (KMS2-START-01).
    ///
    /// # Errors
    /// The configuration file is bad: a real server exits with code 1.
    pub fn start(
        settings: &Settings,
        store: Arc<dyn Store>,
        dialer: Arc<dyn Dialer>,
        log: LogSink,
    ) -> Pin<Box<dyn Future<Output = Result<Self, String>> + Send + '_>> {
        // Boxed: it is compiled here, and not in each crate that has servers.
        Box::pin(Self::started(settings, store, dialer, log))
    }

    async fn started(
        settings: &Settings,
        store: Arc<dyn Store>,
        dialer: Arc<dyn Dialer>,
        log: LogSink,
    ) -> Result<Self, String> {
        let version = settings.version;
        let clock = Clock::starting_at(settings.unix);
        let encryption = match &settings.configuration {
            None => Encryption::none(),
            Some(configuration) => {
                let mut options = Options::new(version, configuration.path.as_str());
                options.server_id.clone_from(&settings.server_id);
                options.reload = configuration.reload;
                options.act_on_sick_status = settings.act_on_sick_status;
                options.cache_unproven_seeds = settings.cache_unproven_seeds;
                options.verbosity = settings.verbosity;
                let source = Arc::clone(&configuration.source);
                let seed = settings.seed;
                Encryption::start(Parts {
                    options,
                    source,
                    dialer,
                    clock,
                    seed,
                    log,
                })
                .await?
            }
        };
        let names_corrupt = settings
            .unsafe_malformed_deletion
            .unwrap_or(version.unsafe_malformed_deletion());
        let concurrent = settings
            .concurrent_watch_decode
            .unwrap_or(version.concurrent_watch_decode());
        let keys = Keys::new(&settings.etcd_prefix);
        let registry = Registry::new(store, encryption.clone(), keys, names_corrupt);
        let filling = Filling {
            decoders: if concurrent { 10 } else { 1 },
            through_watch: version.minor() >= 34,
            names_type: version.minor() < 37,
        };
        let cachers: BTreeMap<Resource, Arc<Cacher>> = Resource::ALL
            .into_iter()
            .map(|resource| {
                (
                    resource,
                    Arc::new(Cacher::new(resource, registry.clone(), clock, filling)),
                )
            })
            .collect();
        let health = Health::default();
        let mut chance = settings.seed;
        // another stream than the one of the seeds
        chance.iter_mut().for_each(|byte| *byte = !*byte);
        let api = Arc::new(Api {
            version,
            registry,
            cachers,
            encryption,
            clock,
            chance: Chance::new(chance),
            health,
            list_from_cache: settings.watch_progress && version.minor() >= 31,
        });
        let mut tasks = JoinSet::new();
        for (resource, cacher) in &api.cachers {
            let (filling, informing) = (Arc::clone(cacher), Arc::clone(cacher));
            tasks.spawn(async move { filling.run().await });
            let (informers, resource) = (api.health.informers.clone(), *resource);
            tasks.spawn(async move { informers.sync(resource, informing).await });
        }
        tasks.spawn(storage_readiness(Arc::clone(&api)));
        tasks.spawn(ask_itself(Arc::clone(&api)));
        tasks.spawn(system_namespaces(Arc::clone(&api)));
        Ok(Node { api, tasks })
    }

    /// What answers requests.
    pub fn api(&self) -> &Arc<Api> {
        &self.api
    }

    /// Answers a request; nothing if the server is stopped meanwhile.
    pub async fn handle(&self, request: Request) -> Reply {
        self.api.handle(request).await
    }

    /// Drains as on SIGTERM: readyz fails, the plugins are told (KMS2-CONN-13). It still serves what it can.
    pub fn drain(&self) {
        self.api.health.shutting_down.store(true, Ordering::Relaxed);
        self.api.encryption.drain();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.tasks.abort_all();
        self.api.encryption.stop();
    }
}

/// The hook `poststarthook/storage-readiness`: done when every cache has been filled once, or after a minute.
async fn storage_readiness(api: Arc<Api>) {
    let all = async {
        for cacher in api.cachers.values() {
            cacher.wait_ready().await;
        }
    };
    // the real hook is satisfied with having waited
    let _ = timeout(CACHES_WITHIN, all).await;
    api.health.storage_ready.store(true, Ordering::Relaxed);
}

/// The hook `poststarthook/bootstrap-controller` asks the server's own readyz until it is good for the first time; so a
/// plugin that is sick at the start is asked as often as bad results allow (KMS2-STATUS-11).
async fn ask_itself(api: Arc<Api>) {
    while !matches!(
        api.handle(Request::get("/readyz")).await,
        Reply::Text { code: 200, .. }
    ) {
        sleep(ASK_ITSELF_EVERY).await;
    }
}

/// Makes the system namespaces, and makes them again when they go.
async fn system_namespaces(api: Arc<Api>) {
    loop {
        for name in SYSTEM_NAMESPACES {
            let body = json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}})
                .to_string();
            let found = api
                .handle(Request::get(&format!("/api/v1/namespaces/{name}")))
                .await;
            if matches!(found, Reply::Json { code: 404, .. }) {
                // another server may be quicker
                api.handle(Request::new(
                    "POST",
                    "/api/v1/namespaces",
                    body.into_bytes(),
                ))
                .await;
            }
        }
        sleep(NAMESPACES_EVERY).await;
    }
}
