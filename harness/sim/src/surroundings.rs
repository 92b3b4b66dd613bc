//! What a plugin is given in the simulation: files in memory, a wall clock that can be off, jitter from a seed,
//! connections over the simulated network, and somebody who listens.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kms_history::search::holds;
use kms_sim_net::{Host, Stream};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use vault_kubernetes_kms::event::Event;
use vault_kubernetes_kms::seam::{
    BoxFuture, BoxIo, Connector, Entropy, HostPort, Observer, SecretSource, WallClock,
};
use zeroize::Zeroizing;

use crate::between::Planting;

/// Wall time at the beginning of every run, since 1970-01-01 UTC: the simulated Vault's, too.
pub const BEGIN: Duration = Duration::from_secs(1_767_225_600);

/// The most that is kept of what a plugin sent to Vault, in bytes.
const KEPT: usize = 32 << 20;

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // a panic while locked is reported by the task that panicked
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The files of one node. Clones share them.
#[derive(Clone, Default)]
pub struct Files(Arc<Mutex<Shelf>>);

#[derive(Default)]
struct Shelf {
    files: BTreeMap<PathBuf, Zeroizing<Vec<u8>>>,
    reads: u64,
}

impl Files {
    pub fn write(&self, path: &str, content: &str) {
        let content = Zeroizing::new(content.as_bytes().to_vec());
        lock(&self.0).files.insert(path.into(), content);
    }

    pub fn remove(&self, path: &str) {
        lock(&self.0).files.remove(Path::new(path));
    }

    /// Reads so far, failed ones included.
    pub fn reads(&self) -> u64 {
        lock(&self.0).reads
    }
}

impl SecretSource for Files {
    fn read(&self, path: &Path, limit: usize) -> io::Result<Zeroizing<Vec<u8>>> {
        let mut shelf = lock(&self.0);
        shelf.reads += 1;
        match shelf.files.get(path) {
            Some(content) if content.len() <= limit => Ok(content.clone()),
            Some(_) => Err(io::ErrorKind::InvalidData.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// The wall clock of one node. Clones share it.
#[derive(Clone, Debug)]
pub struct Wall(Arc<Hand>);

#[derive(Debug)]
struct Hand {
    born: Instant,
    /// Milliseconds that it is ahead.
    ahead: AtomicI64,
    reads: AtomicU64,
}

impl Wall {
    pub fn new() -> Self {
        Self(Arc::new(Hand {
            born: Instant::now(),
            ahead: AtomicI64::new(0),
            reads: AtomicU64::new(0),
        }))
    }

    /// Moves it from now on; negative is back.
    pub fn shift(&self, millis: i64) {
        self.0.ahead.fetch_add(millis, Ordering::Relaxed);
    }

    /// How often it was looked at.
    pub fn reads(&self) -> u64 {
        self.0.reads.load(Ordering::Relaxed)
    }
}

impl WallClock for Wall {
    fn now(&self) -> SystemTime {
        self.0.reads.fetch_add(1, Ordering::Relaxed);
        let right = UNIX_EPOCH + BEGIN + self.0.born.elapsed();
        let ahead = self.0.ahead.load(Ordering::Relaxed);
        let by = Duration::from_millis(ahead.unsigned_abs());
        let shifted = if ahead < 0 {
            right.checked_sub(by)
        } else {
            right.checked_add(by)
        };
        shifted.unwrap_or(UNIX_EPOCH)
    }
}

/// Jitter from a seed.
pub struct Jitter(Mutex<ChaCha8Rng>);

impl Jitter {
    pub fn new(seed: [u8; 32]) -> Self {
        Self(Mutex::new(ChaCha8Rng::from_seed(seed)))
    }
}

impl Entropy for Jitter {
    fn next_u64(&self) -> u64 {
        lock(&self.0).next_u64()
    }
}

/// What a plugin sent to Vault: searched for what must not be there. Clones share it.
#[derive(Clone, Default)]
pub struct Wire(Arc<Mutex<Vec<u8>>>);

impl Wire {
    fn keep(&self, bytes: &[u8]) {
        let mut kept = lock(&self.0);
        let room = KEPT.saturating_sub(kept.len()).min(bytes.len());
        kept.extend_from_slice(&bytes[..room]);
    }

    pub fn holds(&self, needle: &[u8]) -> bool {
        holds(&lock(&self.0), needle)
    }
}

/// Connections of one life of a plugin.
pub struct Dial {
    pub host: Host,
    pub wire: Wire,
    pub between: Option<Planting>,
}

impl Connector for Dial {
    fn connect<'a>(&'a self, to: &'a HostPort) -> BoxFuture<'a, io::Result<BoxIo>> {
        Box::pin(async move {
            let stream = self.host.connect(&to.host, to.port).await?;
            let wire = self.wire.clone();
            let stream: BoxIo = Box::new(Watched { stream, wire });
            Ok(match &self.between {
                Some(planting) => planting.on_the_way_to_vault(stream),
                None => stream,
            })
        })
    }
}

/// A stream whose written bytes are kept.
struct Watched {
    stream: Stream,
    wire: Wire,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(length)) = &written {
            self.wire.keep(&bytes[..*length]);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Everything that a program told, line by line. Clones share it.
#[derive(Clone, Default)]
pub struct Told(Arc<Mutex<String>>);

impl Told {
    pub fn line(&self, line: std::fmt::Arguments<'_>) {
        let mut text = lock(&self.0);
        text.write_fmt(line).expect("a String takes everything");
        text.push('\n');
    }

    pub fn text(&self) -> String {
        lock(&self.0).clone()
    }

    pub fn holds(&self, needle: &[u8]) -> bool {
        holds(lock(&self.0).as_bytes(), needle)
    }
}

impl Observer for Told {
    fn event(&self, event: &Event<'_>) {
        self.line(format_args!("{event:?}"));
    }
}
