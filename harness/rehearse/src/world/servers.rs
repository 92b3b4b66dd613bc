//! The API servers of the cluster: one process for each component on each node, over one store for each component.
//!
//! The simulated server knows Secrets and ConfigMaps. Routes and OAuth tokens lie in stores of their own as one of these
//! two; what encrypts them (provider names, prefixes, keys) is what their operators wrote for the real resource.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use kms_apiserver::seam::LogLevel;
use kms_apiserver::version::Version;
use kms_apiserver_api::{ApiServer, Resource, Trouble};
use kms_apiserver_node::encryption::LogSink;
use kms_apiserver_node::node::Settings;
use kms_apiserver_node::rpc::{Dialer, Stream};
use kms_apiserver_node::simulated::Simulated;
use kms_apiserver_node::store::memory::MemoryStore;
use kms_controlplane::encryption_config::EncryptionConfiguration;
use kms_controlplane::resource::GroupResource;
use kms_scenario::seed::Seed;
use kms_sim_net::Net;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::clock::Clock;
use super::doors::Doors;
use super::plugin::{Lines, SOCKET};

/// What a component stores: its etcd prefix, and for each of its resources what it lies in the store as.
#[derive(Clone, Copy, Debug)]
pub struct Storage {
    /// `--etcd-prefix`.
    pub prefix: &'static str,
    /// Resource, what the simulated server takes it for, and its place under the prefix.
    pub resources: &'static [(&'static str, Resource, &'static str)],
}

/// In the order of [`kms_controlplane::plane::COMPONENTS`].
pub const STORAGE: [Storage; 3] = [
    Storage {
        prefix: "/kubernetes.io",
        resources: &[
            ("secrets", Resource::Secrets, "secrets"),
            ("configmaps", Resource::ConfigMaps, "configmaps"),
        ],
    },
    Storage {
        prefix: "/openshift.io",
        resources: &[("routes.route.openshift.io", Resource::Secrets, "routes")],
    },
    Storage {
        prefix: "/openshift.io/oauth",
        resources: &[
            (
                "oauthaccesstokens.oauth.openshift.io",
                Resource::Secrets,
                "accesstokens",
            ),
            (
                "oauthauthorizetokens.oauth.openshift.io",
                Resource::ConfigMaps,
                "authorizetokens",
            ),
        ],
    },
];

/// What a resource of a component lies in the store as.
pub fn stored_as(component: usize, gr: &GroupResource) -> Option<Resource> {
    let name = gr.to_string();
    let mut all = STORAGE[component].resources.iter();
    all.find(|entry| entry.0 == name).map(|entry| entry.1)
}

/// A configuration as the simulated server of a component takes it: resources by what they lie in the store as.
fn translated(component: usize, config: &EncryptionConfiguration) -> String {
    let mut config = config.clone();
    for entry in &mut config.resources {
        for name in &mut entry.resources {
            if let Some(resource) = stored_as(component, &GroupResource::from(name.as_str())) {
                resource.plural().clone_into(name);
            }
        }
    }
    String::from_utf8_lossy(&config.to_text()).into_owned()
}

/// The way from one API server to the plugin of its node.
struct Dial {
    net: Net,
    from: String,
    doors: Doors,
}

impl Dialer for Dial {
    fn dial(&self, endpoint: &str) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>> {
        let (net, from, to) = (
            self.net.clone(),
            self.from.clone(),
            self.doors.behind(endpoint),
        );
        Box::pin(async move {
            let to = to.ok_or(io::ErrorKind::NotFound)?;
            let stream = net.host(&from).connect(&to, SOCKET).await?;
            Ok(Box::new(stream) as Stream)
        })
    }
}

/// What all API servers of a cluster have in common.
pub struct Ground {
    /// The network.
    pub net: Net,
    /// Time.
    pub clock: Clock,
    /// The emulated version.
    pub version: Version,
    /// Root of their randomness.
    pub seed: Seed,
    /// A store for each component.
    pub stores: [MemoryStore; 3],
}

/// One API server.
pub struct Server {
    /// Its component, by its place.
    pub component: usize,
    /// Its node, by its place.
    pub node: usize,
    /// The revision that it was started from.
    pub revision: String,
    /// What it was started with, as its operator wrote it.
    pub config: Option<EncryptionConfiguration>,
    /// What it wrote, over all its lives.
    pub log: Lines,
    /// Whether its `/readyz` passed at the last look.
    pub passes: bool,
    /// It has not passed since it was started: the load balancer does not know it yet.
    pub fresh: bool,
    inner: Arc<Simulated>,
    starting: JoinSet<()>,
    starts: u64,
}

/// How long a probe waits for its answer.
const PROBE: Duration = Duration::from_secs(4);

impl Server {
    /// A server that starts now.
    pub fn start(
        ground: &Ground,
        (component, node): (usize, usize),
        revision: &str,
        config: Option<&EncryptionConfiguration>,
        doors: &Doors,
    ) -> Self {
        let log = Lines::default();
        let inner = Arc::new(make(ground, (component, node), 0, config, doors, &log));
        let mut server = Self {
            component,
            node,
            revision: revision.to_owned(),
            config: config.cloned(),
            log,
            passes: false,
            fresh: true,
            inner,
            starting: JoinSet::new(),
            starts: 0,
        };
        server.run();
        server
    }

    /// Another process in its place, of this revision and with this configuration.
    pub fn replace(
        &mut self,
        ground: &Ground,
        revision: &str,
        config: Option<&EncryptionConfiguration>,
        doors: &Doors,
    ) {
        self.inner.stop();
        self.starts += 1;
        let place = (self.component, self.node);
        self.inner = Arc::new(make(ground, place, self.starts, config, doors, &self.log));
        revision.clone_into(&mut self.revision);
        self.config = config.cloned();
        (self.passes, self.fresh) = (false, true);
        self.run();
    }

    fn run(&mut self) {
        let (inner, log) = (Arc::clone(&self.inner), self.log.clone());
        self.starting = JoinSet::new();
        self.starting.spawn(async move {
            if let Err(trouble) = inner.start().await {
                log.add(&format!("F {trouble}\n"));
            }
        });
    }

    /// What it answers to.
    pub fn api(&self) -> &dyn ApiServer {
        self.inner.as_ref()
    }

    /// Looks at `/readyz` as the kubelet does.
    pub async fn probe(&self) -> bool {
        let answer = timeout(PROBE, self.inner.health("/readyz")).await;
        matches!(answer, Ok(Ok(answer)) if answer.code == 200)
    }

    /// The text of `/readyz?verbose`, or why there is none.
    pub async fn readyz(&self) -> String {
        match timeout(PROBE * 3, self.inner.health("/readyz?verbose")).await {
            Ok(Ok(answer)) => answer.text().to_owned(),
            Ok(Err(trouble)) => trouble.to_string(),
            Err(_) => "no answer".to_owned(),
        }
    }

    /// Ends it.
    pub fn stop(&self) {
        self.inner.stop();
    }
}

fn make(
    ground: &Ground,
    (component, node): (usize, usize),
    start: u64,
    config: Option<&EncryptionConfiguration>,
    doors: &Doors,
    log: &Lines,
) -> Simulated {
    let name = format!("server {component} {node} {start}");
    let clock = ground.clock;
    let mut settings = Settings::new(
        ground.version,
        ground.seed.label(&name).bytes(),
        clock.since_epoch(),
    );
    STORAGE[component]
        .prefix
        .clone_into(&mut settings.etcd_prefix);
    settings.server_id = format!("apiserver-{component}-{node}");
    let dial = Dial {
        net: ground.net.clone(),
        from: format!("apiserver-{component}-{node}"),
        doors: doors.clone(),
    };
    let log = log.clone();
    let sink: LogSink = Arc::new(move |line| {
        let level = match line.level {
            LogLevel::Error => 'E',
            LogLevel::Info(_) => 'I',
        };
        log.add(&format!("{}       1] {}\n", clock.klog(level), line.text));
    });
    let text = config.map(|config| translated(component, config));
    let store = Arc::new(ground.stores[component].clone());
    Simulated::new(
        settings,
        text.as_deref(),
        false,
        store,
        Arc::new(dial),
        sink,
    )
}

/// A store's whole content under a component's prefix, by key.
///
/// # Errors
/// The store does not answer.
pub async fn everything(store: &MemoryStore) -> Result<Vec<(String, Vec<u8>)>, Trouble> {
    use kms_apiserver_node::store::{Range, Store as _};
    let page = store.range(Range::all("")).await;
    let page = page.map_err(|error| Trouble::new(error.to_string()))?;
    let entries = page.entries.into_iter();
    Ok(entries
        .map(|entry| (entry.key, entry.value.to_vec()))
        .collect())
}
