//! The API servers of a run: simulated ones in this process on one store, or real kube-apiservers on one etcd.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow};
use kms_apiserver::seam::Log;
use kms_apiserver::version::Version;
use kms_apiserver_api::ApiServer;
use kms_apiserver_node::encryption::LogSink;
use kms_apiserver_node::node::Settings;
use kms_apiserver_node::rpc::{Dialer, UnixDialer};
use kms_apiserver_node::simulated::Simulated;
use kms_apiserver_node::store::memory::MemoryStore;
use kms_scenario::seed::Seed;
use kms_scenario::world::{Recorder, WorldSpec};
use kms_sim::Polled;

use crate::apiserver::choice::Choice;
#[cfg(feature = "kube")]
use crate::apiserver::{
    etcd::Etcd,
    flags,
    launched::{Launched, Program},
};

/// Limit for a real server to be ready, on a machine that does much else.
#[cfg(feature = "kube")]
const READY: Duration = Duration::from_secs(180);

/// One API server that serves.
#[derive(Clone)]
pub enum Server {
    /// In this process.
    Simulated(Arc<Simulated>),
    /// A process.
    #[cfg(feature = "kube")]
    Real(Arc<Launched>),
}

impl Server {
    /// What requests are sent to.
    pub fn api(&self) -> Arc<dyn ApiServer> {
        match self {
            Self::Simulated(server) => Arc::clone(server) as Arc<dyn ApiServer>,
            #[cfg(feature = "kube")]
            Self::Real(server) => Arc::clone(server) as Arc<dyn ApiServer>,
        }
    }

    /// Ends a simulated one; a process ends with its last owner.
    pub fn stop(&self) {
        match self {
            Self::Simulated(server) => server.stop(),
            #[cfg(feature = "kube")]
            Self::Real(_) => {}
        }
    }
}

/// What all API servers of a run have in common.
pub struct Servers {
    make: Make,
    seed: Seed,
    folder: PathBuf,
    recorder: Recorder,
    fresh: AtomicU64,
}

enum Make {
    Simulated {
        version: Version,
        store: Arc<MemoryStore>,
        log: LogSink,
    },
    #[cfg(feature = "kube")]
    Real { program: Program, etcd: Box<Etcd> },
}

impl Servers {
    /// A store without anything in it.
    pub async fn begin(
        choice: &Choice,
        spec: &WorldSpec,
        folder: &Path,
        recorder: Recorder,
    ) -> Result<Self> {
        let make = match choice {
            Choice::Simulated => Make::Simulated {
                version: spec.server_version.parse()?,
                store: Arc::new(MemoryStore::new()),
                log: log(&folder.join(LOG))?,
            },
            #[cfg(feature = "kube")]
            Choice::Real(parts) => Make::Real {
                program: Program::real(&parts.kube_apiserver),
                etcd: Box::new(Etcd::start(&parts.etcd, folder).await?),
            },
            #[cfg(feature = "kube")]
            Choice::Cluster(_) => anyhow::bail!("a cluster is not this arm's to break"),
        };
        Ok(Self {
            make,
            seed: Seed::root(spec.seed),
            folder: folder.to_owned(),
            recorder,
            fresh: AtomicU64::new(0),
        })
    }

    /// Starts a server with this encryption configuration; returns when it serves, and a real one when it is ready.
    pub async fn start(&self, node: u32, encryption: &str) -> Result<Server> {
        let name = format!("apiserver-{node}");
        let server = self.serving(&name, Some(node), encryption).await?;
        #[cfg(feature = "kube")]
        if let Server::Real(server) = &server {
            server.ready(READY).await?;
        }
        Ok(server)
    }

    /// Starts another one beside a server, with its configuration of now and nothing in memory; returns when it serves,
    /// ready or not.
    pub async fn another(&self, of: &Server) -> Result<Server> {
        let name = format!("fresh-{}", self.fresh.fetch_add(1, Ordering::Relaxed));
        match of {
            Server::Simulated(server) => {
                let another = server.another(self.seed.label(&name).bytes());
                simulated(another).await
            }
            #[cfg(feature = "kube")]
            Server::Real(server) => {
                let file = &server.files().encryption;
                let text = std::fs::read_to_string(file)
                    .with_context(|| format!("read {}", file.display()))?;
                self.serving(&name, None, &text).await
            }
        }
    }

    async fn serving(&self, name: &str, node: Option<u32>, encryption: &str) -> Result<Server> {
        match &self.make {
            Make::Simulated {
                version,
                store,
                log,
            } => {
                let seed = self.seed.label(name).bytes();
                let noted = node.map(|node| Polled::new(UnixDialer, self.recorder.clone(), node));
                let dialer: Arc<dyn Dialer> = match noted {
                    Some(noted) => Arc::new(noted),
                    None => Arc::new(UnixDialer),
                };
                let server = Simulated::new(
                    Settings::new(*version, seed, now()?),
                    Some(encryption),
                    true,
                    Arc::clone(store) as Arc<_>,
                    dialer,
                    Arc::clone(log),
                );
                simulated(server).await
            }
            #[cfg(feature = "kube")]
            Make::Real { program, etcd } => {
                let settings = flags::Settings {
                    etcd: etcd.address().to_owned(),
                    etcd_prefix: "/registry".into(),
                    encryption: Some(encryption.to_owned()),
                    reload: true,
                    more: Vec::new(),
                };
                let server = Launched::start(program, &settings, &self.folder.join(name)).await?;
                Ok(Server::Real(Arc::new(server)))
            }
        }
    }

    /// Everything that they printed.
    pub fn logs(&self) -> Vec<u8> {
        let below = std::fs::read_dir(&self.folder).into_iter().flatten();
        let folders = below.flatten().map(|entry| entry.path());
        let files = std::iter::once(self.folder.clone()).chain(folders);
        let read = files.filter_map(|folder| std::fs::read(folder.join(LOG)).ok());
        read.flatten().collect()
    }
}

/// The name of a log.
const LOG: &str = "apiserver.log";

async fn simulated(server: Simulated) -> Result<Server> {
    let started = server.start().await;
    started.map_err(|trouble| anyhow!("{trouble}"))?;
    Ok(Server::Simulated(Arc::new(server)))
}

fn now() -> Result<Duration> {
    #[expect(clippy::disallowed_methods, reason = "the process arm has real time")]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.context("the clock is before 1970")
}

fn log(file: &Path) -> Result<LogSink> {
    let opened = File::options().append(true).create(true).open(file);
    let file = Mutex::new(opened.with_context(|| format!("open the log {}", file.display()))?);
    Ok(Arc::new(move |line: &Log| {
        // A log that cannot be written stops no server.
        let _ = writeln!(
            file.lock().unwrap_or_else(PoisonError::into_inner),
            "{}",
            line.text
        );
    }))
}
