//! The real world behind [`crate::seam`]: TCP, the wall clock, the system's randomness, files.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::stream::{FuturesUnordered, StreamExt};
use nix::fcntl::OFlag;
use rustls::crypto::SecureRandom;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::sleep;
use zeroize::Zeroizing;

use crate::seam::{
    BoxFuture, BoxIo, Connector, Entropy, Env, HostPort, Observer, SecretSource, WallClock,
};

/// Head start of each address of a name before the next is tried beside it (RFC 8305): one that
/// swallows packets must not cost the whole time that the caller has.
const HEAD_START: Duration = Duration::from_millis(250);

/// Everything real, with the given observer.
pub fn env(observer: Arc<dyn Observer>) -> Env {
    Env {
        connector: Arc::new(TcpConnector),
        wall: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy::new()),
        secrets: Arc::new(FileSecrets),
        observer,
    }
}

/// TCP with `TCP_NODELAY`. Names are looked up at each connect, so a moved Vault is found.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpConnector;

impl Connector for TcpConnector {
    fn connect<'a>(&'a self, to: &'a HostPort) -> BoxFuture<'a, io::Result<BoxIo>> {
        Box::pin(async move {
            let found = lookup_host((to.host.as_str(), to.port)).await?;
            let stream = first_of(found).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as BoxIo)
        })
    }
}

/// The first connection that any of the addresses gives; else the last error.
async fn first_of(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = addresses;
    let mut tries = FuturesUnordered::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        match waiting.next() {
            Some(address) => tries.push(connect(address)),
            None if tries.is_empty() => return Err(last),
            None => {}
        }
        // Until this round's address fails, succeeds, or has had its head start.
        tokio::select! {
            biased;
            Some(tried) = tries.next() => match tried {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            },
            () = sleep(HEAD_START) => {}
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the connector that everything else has to use"
)]
async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect(address).await
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl WallClock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the wall clock that everything else has to use"
    )]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// The system's random numbers.
#[derive(Debug)]
pub struct SystemEntropy(&'static dyn SecureRandom);

impl SystemEntropy {
    /// Opens nothing; the numbers come by a system call.
    pub fn new() -> Self {
        Self(rustls::crypto::ring::default_provider().secure_random)
    }
}

impl Default for SystemEntropy {
    fn default() -> Self {
        Self::new()
    }
}

impl Entropy for SystemEntropy {
    fn next_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.0
            .fill(&mut bytes)
            .expect("getrandom(2) exists since Linux 3.17 and does not fail for 8 bytes");
        u64::from_le_bytes(bytes)
    }
}

/// Regular files, read whole. Memory that held them is wiped.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileSecrets;

impl SecretSource for FileSecrets {
    fn read(&self, path: &Path, limit: usize) -> io::Result<Zeroizing<Vec<u8>>> {
        // Opening a pipe would wait for its other end.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if !metadata.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file",
            ));
        }
        // As large as it is: growing would leave copies behind.
        let size = usize::try_from(metadata.len()).unwrap_or(limit).min(limit);
        let mut bytes = Zeroizing::new(Vec::with_capacity(size.saturating_add(1)));
        let most = u64::try_from(limit).map_or(u64::MAX, |limit| limit.saturating_add(1));
        file.take(most).read_to_end(&mut bytes)?;
        if bytes.len() > limit {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("longer than {limit} bytes"),
            ));
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    #[tokio::test]
    async fn an_address_that_refuses_does_not_cost_the_next_one() {
        let dead = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let refuses = dead.local_addr().unwrap();
        drop(dead);
        let good = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let serves = good.local_addr().unwrap();

        let stream = first_of([refuses, serves].into_iter()).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), serves);

        let error = first_of([refuses].into_iter()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let error = first_of(std::iter::empty()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn connections_to_vault_have_no_delay() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let stream = first_of([listener.local_addr().unwrap()].into_iter())
            .await
            .unwrap();
        stream.set_nodelay(true).unwrap();
        assert!(stream.nodelay().unwrap());
        let to = HostPort {
            host: "localhost".to_owned(),
            port: listener.local_addr().unwrap().port(),
        };
        assert!(TcpConnector.connect(&to).await.is_ok());
    }

    #[test]
    fn secret_files_are_bounded_and_regular() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, b"s.secret").unwrap();
        assert_eq!(*FileSecrets.read(&path, 8).unwrap(), b"s.secret");
        let error = FileSecrets.read(&path, 7).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);

        let error = FileSecrets.read(folder.path(), 8).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = FileSecrets.read(&pipe, 8).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn entropy_does_not_repeat() {
        let entropy = SystemEntropy::new();
        assert_ne!(entropy.next_u64(), entropy.next_u64());
    }
}
