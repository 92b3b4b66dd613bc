//! Where the subject is, and what an operator can do to it.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;

use zeroize::Zeroizing;

use crate::process::{Peer, Process};
use crate::spare::Spares;

/// A byte stream to the subject.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A boxed future that a trait object can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Opens streams to the subject.
pub trait Connect: Send + Sync {
    /// Opens one stream.
    fn connect(&self) -> BoxFuture<'_, io::Result<Box<dyn Stream>>>;

    /// The socket's path, when there is one in the file system.
    fn socket(&self) -> Option<&Path> {
        None
    }
}

/// Something that only the operator can do: restart the plugin, rotate the remote key.
pub trait Hook: Send + Sync {
    /// Does it and returns when it is done. The text of an error goes into the transcript.
    fn call(&self) -> BoxFuture<'_, Result<(), String>>;
}

/// Where the subject shows its metrics.
pub trait Metrics: Send + Sync {
    /// All of them now, in Prometheus' text format.
    fn scrape(&self) -> BoxFuture<'_, Result<String, String>>;
}

/// The plugin under test.
#[derive(Clone)]
pub struct Target {
    /// How to reach it.
    pub connect: Arc<dyn Connect>,
    /// How to restart it.
    pub restart: Option<Arc<dyn Hook>>,
    /// How to rotate its remote key.
    pub rotate: Option<Arc<dyn Hook>>,
    /// Its log file, which it appends to.
    pub logs: Option<PathBuf>,
    /// Its process. Looking at it needs nothing else; signals are sent only where `restart` brings
    /// it back.
    pub process: Option<Arc<dyn Process>>,
    /// Another node: the same plugin on the same remote key, behind a socket of its own.
    pub other_node: Option<Arc<dyn Connect>>,
    /// Its metrics.
    pub metrics: Option<Arc<dyn Metrics>>,
    /// How to start it once more beside itself.
    pub spares: Option<Arc<dyn Spares>>,
    /// Credentials that it was given, to look for them where they must not be.
    pub secrets: Arc<[Zeroizing<String>]>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("socket", &self.connect.socket())
            .field("restart", &self.restart.is_some())
            .field("rotate", &self.rotate.is_some())
            .field("logs", &self.logs)
            .field("process", &self.process.is_some())
            .field("other_node", &self.other_node.is_some())
            .field("metrics", &self.metrics.is_some())
            .field("spares", &self.spares.is_some())
            .field("secrets", &self.secrets.len())
            .finish()
    }
}

impl Target {
    /// A plugin on a unix socket, with no hooks. Its process is the one that listens there.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Target {
            process: Some(Arc::new(Peer::new(path.clone()))),
            ..Self::new(Arc::new(UnixSocket(path)))
        }
    }

    /// A plugin behind any transport, with no hooks.
    pub fn new(connect: Arc<dyn Connect>) -> Self {
        Target {
            connect,
            restart: None,
            rotate: None,
            logs: None,
            process: None,
            other_node: None,
            metrics: None,
            spares: None,
            secrets: Arc::default(),
        }
    }
}

/// A unix socket, dialled anew for each stream.
pub struct UnixSocket(pub PathBuf);

impl Connect for UnixSocket {
    fn connect(&self) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async {
            let stream = UnixStream::connect(&self.0).await?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }

    fn socket(&self) -> Option<&Path> {
        Some(&self.0)
    }
}
