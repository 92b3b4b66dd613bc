//! The seam between the plugin and the world it runs in.
//!
//! Everything the plugin may not do by itself goes through [`Env`]: opening connections, reading
//! files, wall time, randomness and telling what happened. Monotonic time needs no trait:
//! `tokio::time` is used everywhere, so a runtime with a paused clock runs the same code in
//! virtual time.

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::io::{AsyncRead, AsyncWrite};
use zeroize::Zeroizing;

use crate::event::Event;

/// A future that a trait object can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A byte stream to somewhere: a socket, or an in-memory pipe.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A connected byte stream of whatever kind.
pub type BoxIo = Box<dyn Io>;

/// Where a connection goes: a host name or address, without brackets, and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// DNS name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// Opens plain byte streams; TLS and proxies are laid over them by the caller.
pub trait Connector: Send + Sync {
    /// Connects, or fails with the system's error. The caller bounds the time.
    fn connect<'a>(&'a self, to: &'a HostPort) -> BoxFuture<'a, io::Result<BoxIo>>;
}

/// Wall time: certificates, stamps and ages. Never for timeouts.
pub trait WallClock: Send + Sync + Debug {
    /// The time now.
    fn now(&self) -> SystemTime;
}

/// Randomness for jitter and local request ids. Keys and nonces never come from here.
pub trait Entropy: Send + Sync {
    /// The next 64 random bits.
    fn next_u64(&self) -> u64;
}

/// Files that hold secrets or certificates, read by path each time.
pub trait SecretSource: Send + Sync {
    /// The whole file, at most `limit` bytes; a longer one is an `InvalidData` error.
    fn read(&self, path: &Path, limit: usize) -> io::Result<Zeroizing<Vec<u8>>>;
}

/// Told about everything worth a log line or a metric.
pub trait Observer: Send + Sync {
    /// One event; must not block.
    fn event(&self, event: &Event<'_>);
}

/// The world of one plugin.
#[derive(Clone)]
pub struct Env {
    /// Opens connections to Vault or to the proxy before it.
    pub connector: Arc<dyn Connector>,
    /// Wall time.
    pub wall: Arc<dyn WallClock>,
    /// Jitter.
    pub entropy: Arc<dyn Entropy>,
    /// Secret and certificate files.
    pub secrets: Arc<dyn SecretSource>,
    /// Log and metrics.
    pub observer: Arc<dyn Observer>,
}
