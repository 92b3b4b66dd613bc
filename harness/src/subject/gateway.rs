//! An address of our own in front of a Vault that is not there at first.
//!
//! Bytes pass unread. Not for faults of a Vault that serves: nothing that was let through is held
//! back again.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;

use anyhow::{Context, Result};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 64;

/// The address. Dropping it closes all of its connections.
pub struct Gateway {
    address: SocketAddr,
    /// Bound, so that nobody else gets the port, and not yet listening: connections are refused.
    closed: Mutex<Option<TcpSocket>>,
    open: watch::Sender<bool>,
    vault: String,
    serving: Mutex<Option<JoinHandle<()>>>,
}

impl Gateway {
    /// An address where connections are refused, for the Vault at `vault`, `HOST:PORT`.
    pub fn closed(vault: String) -> Result<Self> {
        let socket = TcpSocket::new_v4().context("make a socket")?;
        socket
            .bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .context("bind a free port")?;
        Ok(Self {
            address: socket.local_addr().context("read the port")?,
            closed: Mutex::new(Some(socket)),
            open: watch::Sender::new(false),
            vault,
            serving: Mutex::new(None),
        })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on connections are taken, and wait.
    pub fn hold(&self) -> Result<()> {
        let socket = self.closed.lock().expect("no code panics with it").take();
        if let Some(socket) = socket {
            let listener = socket.listen(BACKLOG).context("listen at the gateway")?;
            let serving = serve(listener, self.open.subscribe(), self.vault.clone());
            let serving = tokio::spawn(serving);
            *self.serving.lock().expect("no code panics with it") = Some(serving);
        }
        Ok(())
    }

    /// From now on they lead to the Vault, those that wait as well.
    pub fn open(&self) -> Result<()> {
        self.hold()?;
        self.open.send_replace(true);
        Ok(())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let serving = self.serving.get_mut().expect("no code panics with it");
        if let Some(serving) = serving.take() {
            serving.abort();
        }
    }
}

async fn serve(listener: TcpListener, open: watch::Receiver<bool>, vault: String) {
    let mut connections = JoinSet::new();
    // A connection that cannot be accepted is the client's to make again.
    loop {
        tokio::select! {
            biased;
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                connections.spawn(pass(stream, open.clone(), vault.clone()));
            },
        }
    }
}

async fn pass(mut client: TcpStream, mut open: watch::Receiver<bool>, vault: String) {
    if open.wait_for(|open| *open).await.is_err() {
        return;
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "the process arm talks to real servers"
    )]
    let connected = TcpStream::connect(vault).await;
    if let Ok(mut server) = connected {
        // Either end may close at any time; the other one is told by the end of its stream.
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "real sockets are the subject")]
    async fn dial(address: SocketAddr) -> std::io::Result<TcpStream> {
        TcpStream::connect(address).await
    }

    #[tokio::test]
    async fn refuses_then_holds_then_leads_there() {
        let vault = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gateway = Gateway::closed(vault.local_addr().unwrap().to_string()).unwrap();
        let refused = dial(gateway.address()).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);

        gateway.hold().unwrap();
        let mut held = dial(gateway.address()).await.unwrap();
        held.write_all(b"ping").await.unwrap();
        let came = tokio::time::timeout(Duration::from_millis(100), vault.accept()).await;
        assert!(came.is_err(), "it was let through");

        gateway.open().unwrap();
        let (mut inside, _) = vault.accept().await.unwrap();
        let mut bytes = [0; 4];
        inside.read_exact(&mut bytes).await.unwrap();
        inside.write_all(b"pong").await.unwrap();
        held.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"pong");
    }
}
