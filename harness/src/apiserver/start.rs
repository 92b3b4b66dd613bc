//! What `--apiserver` names, started or reached: from here on it is an [`ApiServer`], whatever it is.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow};
use kms_apiserver::seam::Log;
use kms_apiserver::version::Version;
use kms_apiserver_api::ApiServer;
use kms_apiserver_node::node::Settings as Simulation;
use kms_apiserver_node::rpc::UnixDialer;
use kms_apiserver_node::simulated::Simulated;
use kms_apiserver_node::store::memory::MemoryStore;

use super::choice::Choice;
use super::ready::ready;
#[cfg(feature = "kube")]
use super::{
    cluster::Cluster,
    etcd::Etcd,
    flags::Settings,
    launched::{Launched, Program},
};

/// Limit for the simulated server to be ready. The plugin is there by then, so its first dial succeeds.
const READY: Duration = Duration::from_secs(60);
/// The same for a real one, on a machine that does much else: it must not be the machine that fails a subject.
#[cfg(feature = "kube")]
const READY_REAL: Duration = Duration::from_secs(180);

/// A server, and what it leans on. Dropping it stops what the harness started.
pub struct Started {
    server: Box<dyn ApiServer>,
    #[cfg(feature = "kube")]
    _etcd: Option<Etcd>,
}

impl Started {
    /// The server.
    pub fn server(&self) -> &dyn ApiServer {
        self.server.as_ref()
    }
}

impl Choice {
    /// Limit for it to be ready after a start.
    pub fn ready_within(&self) -> Duration {
        match self {
            Self::Simulated => READY,
            #[cfg(feature = "kube")]
            Self::Real(_) | Self::Cluster(_) => READY_REAL,
        }
    }

    /// Starts it with the text of an encryption configuration and automatic reload; files and logs go to `folder`. A
    /// cluster has its own configuration and is only reached.
    pub async fn start(&self, encryption: &str, folder: &Path) -> Result<Started> {
        match self {
            Self::Simulated => {
                let server = simulated(encryption, folder)?;
                server
                    .start()
                    .await
                    .map_err(|trouble| anyhow!("{trouble}"))?;
                ready(&server, READY).await?;
                Ok(Started {
                    server: Box::new(server),
                    #[cfg(feature = "kube")]
                    _etcd: None,
                })
            }
            #[cfg(feature = "kube")]
            Self::Real(parts) => {
                let etcd = Etcd::start(&parts.etcd, folder).await?;
                let settings = Settings {
                    etcd: etcd.address().to_owned(),
                    etcd_prefix: "/registry".into(),
                    encryption: Some(encryption.to_owned()),
                    reload: true,
                    more: Vec::new(),
                };
                let program = Program::real(&parts.kube_apiserver);
                let server =
                    Launched::start(&program, &settings, &folder.join("apiserver")).await?;
                server.ready(READY_REAL).await?;
                Ok(Started {
                    server: Box::new(server),
                    _etcd: Some(etcd),
                })
            }
            #[cfg(feature = "kube")]
            Self::Cluster(kubeconfig) => Ok(Started {
                server: Box::new(Cluster::connect((**kubeconfig).clone()).await?),
                _etcd: None,
            }),
        }
    }
}

/// The simulated server in this process, on a store in memory.
fn simulated(encryption: &str, folder: &Path) -> Result<Simulated> {
    let mut seed = [0; 32];
    for half in seed.chunks_exact_mut(16) {
        half.copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    }
    #[expect(clippy::disallowed_methods, reason = "the process arm has real time")]
    let unix = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .context("the clock is before 1970")?;
    let file = folder.join("apiserver.log");
    let file = File::options()
        .append(true)
        .create(true)
        .open(&file)
        .with_context(|| format!("open the log {}", file.display()))?;
    let file = Mutex::new(file);
    let log = Arc::new(move |line: &Log| {
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        // A log that cannot be written stops no server.
        let _ = writeln!(file, "{}", line.text);
    });
    let settings = Simulation::new(Version::NEWEST, seed, unix);
    let store = Arc::new(MemoryStore::new());
    Ok(Simulated::new(
        settings,
        Some(encryption),
        true,
        store,
        Arc::new(UnixDialer),
        log,
    ))
}
