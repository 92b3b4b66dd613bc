//! The encryption of one server: the model, and its connections to plugins.
//!
//! Whoever reads, writes or probes steps the model under a lock and waits outside of it; `drive` carries out what the
//! model asks for. Everything that runs belongs to the [`Encryption`] and ends with [`Encryption::stop`].

mod drive;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kms_apiserver::encryption::{Encryption as Model, Pending, Read};
use kms_apiserver::grpc::{Code, Status};
use kms_apiserver::options::Options;
use kms_apiserver::seam::{
    CallId, ConnId, GroupResource, Log, Plain, ProbeId, ProviderId, TransformError,
};
use kms_apiserver_api::Resource;
use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;
use tokio::sync::{Notify, oneshot};
use tokio::task::{AbortHandle, JoinSet};

use crate::clock::Clock;
use crate::rpc::{Connection, Dialer};

/// Where the configuration file comes from.
pub trait ConfigSource: Send + Sync {
    /// The content of the file.
    ///
    /// # Errors
    /// It cannot be read.
    fn read(&self) -> io::Result<Vec<u8>>;
}

/// Takes the lines of the log.
pub type LogSink = Arc<dyn Fn(&Log) + Send + Sync>;

/// What an encryption is made of.
pub struct Parts {
    /// Flags, gates and switches.
    pub options: Options,
    /// The configuration file.
    pub source: Arc<dyn ConfigSource>,
    /// How plugins are reached.
    pub dialer: Arc<dyn Dialer>,
    /// Time.
    pub clock: Clock,
    /// The seed of uids, nonces and seeds. Secret in a real process.
    pub seed: [u8; 32],
    /// The log.
    pub log: LogSink,
}

/// The encryption of one server. Clones are the same one.
#[derive(Clone)]
pub struct Encryption {
    shared: Option<Arc<Shared>>,
}

struct Shared {
    clock: Clock,
    source: Arc<dyn ConfigSource>,
    dialer: Arc<dyn Dialer>,
    log: LogSink,
    user_agent: &'static str,
    resources: BTreeMap<Resource, GroupResource>,
    state: Mutex<State>,
    /// The time of the model's next step may have changed.
    rescheduled: Notify,
}

struct State {
    model: Model,
    /// Everything that runs.
    tasks: JoinSet<()>,
    stopped: bool,
    dials: BTreeMap<(ProviderId, ConnId), AbortHandle>,
    links: BTreeMap<(ProviderId, ConnId), Connection>,
    calls: BTreeMap<CallId, (ProviderId, AbortHandle)>,
    decrypts: BTreeMap<CallId, oneshot::Sender<Result<Vec<u8>, Status>>>,
    probes: BTreeMap<ProbeId, oneshot::Sender<Result<(), String>>>,
    /// Who waits for the first load.
    started: Option<oneshot::Sender<Result<(), String>>>,
}

impl Encryption {
    /// No encryption: values that claim to be encrypted are refused.
    pub fn none() -> Self {
        Encryption { shared: None }
    }

    /// Loads the configuration and waits for the inline checks (KMS2-START-01).
    ///
    /// # Errors
    /// With upstream's text, if the file cannot be read or is not valid (KMS2-START-02).
    pub async fn start(parts: Parts) -> Result<Self, String> {
        let Parts {
            options,
            source,
            dialer,
            clock,
            seed,
            log,
        } = parts;
        let path = options.config_path.clone();
        let content = source.read().map_err(|error| {
            format!("error while parsing file: error reading encryption provider configuration file {path:?}: {error}")
        })?;
        let user_agent = options.version.user_agent();
        let rng = Box::new(ChaCha12Rng::from_seed(seed));
        let model = Model::start(clock.now(), options, rng, &content)?;
        let (sender, started) = oneshot::channel();
        let state = State {
            model,
            tasks: JoinSet::new(),
            stopped: false,
            dials: BTreeMap::new(),
            links: BTreeMap::new(),
            calls: BTreeMap::new(),
            decrypts: BTreeMap::new(),
            probes: BTreeMap::new(),
            started: Some(sender),
        };
        let resources = Resource::ALL
            .into_iter()
            .map(|resource| (resource, GroupResource::core(resource.plural())));
        let shared = Arc::new(Shared {
            clock,
            source,
            dialer,
            log,
            user_agent,
            resources: resources.collect(),
            state: Mutex::new(state),
            rescheduled: Notify::new(),
        });
        let encryption = Encryption {
            shared: Some(Arc::clone(&shared)),
        };
        let stop_if_dropped = StopIfDropped(Some(encryption.clone()));
        let timer = drive::keep_time(Arc::clone(&shared));
        shared.lock().tasks.spawn(timer);
        drive::drive(&shared);
        started
            .await
            .unwrap_or_else(|_| Err("the server was stopped".to_owned()))?;
        stop_if_dropped.keep();
        Ok(encryption)
    }

    /// Reads a stored value. Dropping the future is the reader's going away (KMS2-DEC-09).
    ///
    /// # Errors
    /// With the text of the HTTP answer's cause.
    pub async fn read(
        &self,
        resource: Resource,
        key: &str,
        stored: &[u8],
    ) -> Result<Plain, TransformError> {
        let Some(shared) = &self.shared else {
            return without_encryption(stored);
        };
        let mut read =
            shared
                .lock()
                .model
                .read(shared.clock.now(), shared.resource(resource), key, stored);
        loop {
            let pending = match read {
                Read::Plain(plain) => return Ok(plain),
                Read::Failed(error) => return Err(error),
                Read::Need(pending) => pending,
            };
            let (sender, outcome) = oneshot::channel();
            let mut asking = {
                let mut state = shared.lock();
                let call = state.model.decrypt(shared.clock.now(), &pending, None);
                state.decrypts.insert(call, sender);
                Asking {
                    shared,
                    call,
                    pending: Some(pending),
                }
            };
            drive::drive(shared);
            let outcome = outcome.await.unwrap_or_else(|_| Err(closing()));
            let pending = asking.pending.take().expect("it is taken once");
            read = shared
                .lock()
                .model
                .supply(shared.clock.now(), pending, outcome);
        }
    }

    /// What goes into the store for a value.
    ///
    /// # Errors
    /// With the text of the HTTP answer's cause (KMS2-WRITE-03).
    pub fn write(
        &self,
        resource: Resource,
        key: &str,
        plain: &[u8],
    ) -> Result<Vec<u8>, TransformError> {
        match &self.shared {
            None => Ok(plain.to_vec()),
            Some(shared) => {
                shared
                    .lock()
                    .model
                    .write(shared.clock.now(), shared.resource(resource), key, plain)
            }
        }
    }

    /// Runs the check `kms-providers`. Dropping the future is the prober's hanging up (KMS2-STATUS-16).
    ///
    /// # Errors
    /// What is wrong.
    pub async fn probe(&self) -> Result<(), String> {
        let Some(shared) = &self.shared else {
            return Ok(());
        };
        let (sender, result) = oneshot::channel();
        let mut probing = {
            let mut state = shared.lock();
            let probe = state.model.probe(shared.clock.now(), None);
            state.probes.insert(probe, sender);
            Probing {
                shared,
                probe: Some(probe),
            }
        };
        drive::drive(shared);
        let result = result
            .await
            .unwrap_or_else(|_| Err("the server is stopping".to_owned()));
        probing.probe = None;
        result
    }

    /// Whether there is a check of KMS providers (KMS2-HEALTH-02).
    pub fn has_health_check(&self) -> bool {
        self.shared
            .as_ref()
            .is_some_and(|shared| !shared.lock().model.check_names().is_empty())
    }

    /// Whether a changed configuration file is taken up.
    pub fn reloads(&self) -> bool {
        self.shared
            .as_ref()
            .is_some_and(|shared| shared.lock().model.options().reload)
    }

    /// The hash of the configuration in force.
    pub fn config_hash(&self) -> Option<String> {
        self.shared
            .as_ref()?
            .lock()
            .model
            .config_hash()
            .map(str::to_owned)
    }

    /// The metrics in the text format.
    pub fn metrics(&self) -> String {
        self.shared
            .as_ref()
            .map_or_else(String::new, |shared| shared.lock().model.metrics())
    }

    /// Says goodbye to the plugins as a server that drains (KMS2-CONN-13). Reads of what is cached go on.
    pub fn drain(&self) {
        if let Some(shared) = &self.shared {
            shared.lock().model.drain(shared.clock.now());
            drive::drive(shared);
        }
    }

    /// Ends everything that runs, at once.
    pub fn stop(&self) {
        if let Some(shared) = &self.shared {
            let mut state = shared.lock();
            state.stopped = true;
            state.tasks.abort_all();
            state.links.clear();
            state.decrypts.clear();
            state.probes.clear();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn resource(&self, resource: Resource) -> &GroupResource {
        self.resources.get(&resource).expect("all are there")
    }
}

/// A start that is given up leaves nothing behind.
struct StopIfDropped(Option<Encryption>);

impl StopIfDropped {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for StopIfDropped {
    fn drop(&mut self) {
        if let Some(encryption) = &self.0 {
            encryption.stop();
        }
    }
}

/// A reader that waits for a seed.
struct Asking<'a> {
    shared: &'a Arc<Shared>,
    call: CallId,
    pending: Option<Pending>,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if let Some(pending) = self.pending.take() {
            let mut state = self.shared.lock();
            state.decrypts.remove(&self.call);
            state
                .model
                .cancel_decrypt(self.shared.clock.now(), &pending, self.call);
            drop(state);
            drive::drive(self.shared);
        }
    }
}

/// A prober that waits.
struct Probing<'a> {
    shared: &'a Arc<Shared>,
    probe: Option<ProbeId>,
}

impl Drop for Probing<'_> {
    fn drop(&mut self) {
        if let Some(probe) = self.probe.take() {
            let mut state = self.shared.lock();
            state.probes.remove(&probe);
            state.model.cancel_probe(self.shared.clock.now(), probe);
            drop(state);
            drive::drive(self.shared);
        }
    }
}

fn closing() -> Status {
    Status::new(Code::CANCELED, "grpc: the client connection is closing")
}

fn without_encryption(stored: &[u8]) -> Result<Plain, TransformError> {
    if stored.starts_with(b"k8s:enc:") {
        Err(TransformError::new(
            "identity transformer tried to read encrypted data",
        ))
    } else {
        Ok(Plain {
            bytes: stored.to_vec(),
            stale: false,
        })
    }
}
