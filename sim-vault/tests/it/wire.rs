//! A server on an in-memory stream and raw bytes to talk to it, in virtual time.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use sim_vault::{Options, SimVault};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    task::JoinHandle,
};

/// Where test clients come from.
pub const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A server with the engine `transit` and the key `k`.
pub fn vault() -> SimVault {
    let vault = SimVault::new(Options::default());
    assert!(vault.create_key("transit", "k", ""));
    vault
}

/// An open connection.
pub struct Client {
    stream: DuplexStream,
    _server: JoinHandle<()>,
}

impl Client {
    pub fn new(vault: &SimVault) -> Self {
        let (stream, server) = tokio::io::duplex(1 << 20);
        let vault = vault.clone();
        Self {
            stream,
            _server: tokio::spawn(async move { vault.serve_io(server, PEER).await }),
        }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream
            .write_all(bytes)
            .await
            .expect("the server reads");
    }

    /// A request with the root token.
    pub async fn request(&mut self, method: &str, path: &str, body: &str) {
        let text = format!(
            "{method} {path} HTTP/1.1\r\nHost: vault\r\nX-Vault-Token: root\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.send(text.as_bytes()).await;
    }

    /// What comes within a while, up to the end of the stream: bytes, and whether the stream ended.
    pub async fn read(&mut self, within: Duration) -> (String, bool) {
        let mut out = Vec::new();
        let end = tokio::time::Instant::now() + within;
        loop {
            match tokio::time::timeout_at(end, self.stream.read_buf(&mut out)).await {
                Err(_) => return (String::from_utf8_lossy(&out).into_owned(), false),
                Ok(Ok(0) | Err(_)) => return (String::from_utf8_lossy(&out).into_owned(), true),
                Ok(Ok(_)) => {}
            }
        }
    }

    /// The status of the next answer; 0 if the stream ended, `None` if nothing came within a second.
    pub async fn status(&mut self) -> Option<u16> {
        let (text, ended) = self.read(Duration::from_secs(1)).await;
        match text.split(' ').nth(1).and_then(|s| s.parse().ok()) {
            Some(status) => Some(status),
            None if ended => Some(0),
            None => None,
        }
    }
}
