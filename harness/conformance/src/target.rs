//! Where the subject is, and what an operator can do to it.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;

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
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("socket", &self.connect.socket())
            .field("restart", &self.restart.is_some())
            .field("rotate", &self.rotate.is_some())
            .field("logs", &self.logs)
            .finish()
    }
}

impl Target {
    /// A plugin on a unix socket, with no hooks.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self::new(Arc::new(UnixSocket(path.into())))
    }

    /// A plugin behind any transport, with no hooks.
    pub fn new(connect: Arc<dyn Connect>) -> Self {
        Target {
            connect,
            restart: None,
            rotate: None,
            logs: None,
        }
    }
}

struct UnixSocket(PathBuf);

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
