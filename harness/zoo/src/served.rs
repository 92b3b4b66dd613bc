//! The plugin served in this process: on a real socket, with an operator, a second node and spares around it. What is
//! asked of a process is answered as an honest one would; bugs of processes need a process ([`crate::command`]).

use std::fs::{Permissions, set_permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kms_conformance::{BoxFuture, Hook, Metrics, Process, Signal, Target, UnixSocket};
use tokio::net::UnixListener;
use tokio::sync::{Mutex, Notify, watch};
use tokio::task::JoinHandle;

use crate::CREDENTIAL;
use crate::bug::Bug;
use crate::kms::{Kms, Remote};
use crate::plugin::{Log, Plugin};
use crate::service::{Service, accept};
use crate::spare::Beside;

/// What a plugin without kept memory takes, in bytes.
const RESIDENT: u64 = 20 << 20;

/// A served plugin. It ends, and its files go, when this is dropped.
pub struct Served {
    /// What the suite is pointed at.
    pub target: Target,
    node: JoinHandle<io::Result<()>>,
    _folder: tempfile::TempDir,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.node.abort();
    }
}

impl Served {
    /// Serves the plugin with a bug, or without one.
    ///
    /// # Errors
    /// No file or socket can be made.
    pub async fn start(bug: Option<Bug>) -> io::Result<Self> {
        // A short path: a socket's may have 107 bytes.
        let folder = tempfile::Builder::new().prefix("zoo-").tempdir()?;
        let log = folder.path().join("plugin.log");
        let kms = Kms::in_memory(bug, Remote::There)?;
        let plugin = Arc::new(Plugin::new(bug, kms, Log::File(log.clone()), false));
        let socket = folder.path().join("kms.sock");
        let life = Arc::new(Life::new(plugin.clone(), socket.clone()));
        life.start().await?;
        let other_node = folder.path().join("other.sock");
        let node = tokio::spawn(never_stops(
            UnixListener::bind(&other_node)?,
            plugin.clone(),
        ));
        let target = Target {
            restart: Some(Arc::new(Restart(life.clone()))),
            rotate: Some(Arc::new(Rotate(plugin.clone()))),
            logs: Some(log),
            process: Some(life),
            metrics: Some(plugin),
            secrets: Arc::from([CREDENTIAL.to_owned().into()]),
            spares: Some(Arc::new(Beside::new(bug, folder.path()))),
            other_node: Some(Arc::new(UnixSocket(other_node))),
            ..Target::unix(socket)
        };
        Ok(Served {
            target,
            node,
            _folder: folder,
        })
    }
}

/// The second node, on the same keys.
async fn never_stops(listener: UnixListener, plugin: Arc<Plugin>) -> io::Result<()> {
    let (_never, stop) = watch::channel(false);
    let service = Service {
        plugin,
        crash: Arc::default(),
        drop_all: Arc::default(),
        elsewhere: true,
        stop,
    };
    accept(listener, service).await
}

/// A plugin on a socket: started, stopped, killed.
pub(crate) struct Life {
    pub plugin: Arc<Plugin>,
    pub socket: PathBuf,
    running: Mutex<Option<JoinHandle<io::Result<()>>>>,
    /// True once it is to stop.
    stop: watch::Sender<bool>,
}

impl Drop for Life {
    fn drop(&mut self) {
        if let Some(task) = self.running.get_mut().take() {
            task.abort();
        }
    }
}

impl Life {
    pub fn new(plugin: Arc<Plugin>, socket: PathBuf) -> Self {
        Life {
            plugin,
            socket,
            running: Mutex::new(None),
            stop: watch::Sender::new(false),
        }
    }

    /// Ends it, socket and all, and starts it again.
    pub async fn restart(&self) -> io::Result<()> {
        self.kill().await;
        remove(&self.socket)?;
        self.plugin.restarted()?;
        self.start().await
    }

    pub async fn start(&self) -> io::Result<()> {
        let listener = UnixListener::bind(&self.socket)?;
        set_permissions(&self.socket, Permissions::from_mode(0o600))?;
        self.stop.send_replace(false);
        let service = Service {
            plugin: self.plugin.clone(),
            crash: Arc::new(Notify::new()),
            drop_all: Arc::default(),
            elsewhere: false,
            stop: self.stop.subscribe(),
        };
        *self.running.lock().await = Some(tokio::spawn(accept(listener, service)));
        Ok(())
    }

    /// Everything goes at once, but for the file of the socket.
    async fn kill(&self) {
        if let Some(task) = self.running.lock().await.take() {
            task.abort();
            let _ = task.await;
        }
    }
}

/// Removes a socket that may have gone already.
pub(crate) fn remove(socket: &Path) -> io::Result<()> {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn told(done: io::Result<()>) -> Result<(), String> {
    done.map_err(|error| error.to_string())
}

impl Process for Life {
    fn signal(&self, signal: Signal) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            match signal {
                Signal::Terminate => {
                    told(remove(&self.socket))?;
                    self.stop.send_replace(true);
                }
                Signal::Kill => self.kill().await,
            }
            Ok(())
        })
    }

    fn freeze(&self, time: Duration) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            tokio::time::sleep(time).await;
            Ok(())
        })
    }

    fn memory(&self) -> BoxFuture<'_, Result<u64, String>> {
        Box::pin(async { Ok(RESIDENT + self.plugin.kept()) })
    }

    fn arguments(&self) -> BoxFuture<'_, Result<Vec<u8>, String>> {
        Box::pin(async { Ok(b"plugin\0--token-file=/run/token\0".to_vec()) })
    }
}

impl Metrics for Plugin {
    fn scrape(&self) -> BoxFuture<'_, Result<String, String>> {
        Box::pin(async { Ok(self.exposition()) })
    }
}

struct Restart(Arc<Life>);

impl Hook for Restart {
    fn call(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { told(self.0.restart().await) })
    }
}

struct Rotate(Arc<Plugin>);

impl Hook for Rotate {
    fn call(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { told(self.0.rotate()) })
    }
}
