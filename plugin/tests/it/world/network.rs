//! The network between plugin and Vault, in memory.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use sim_vault::{ClientCert, SimVault};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use vault_kubernetes_kms::config::VaultAddress;
use vault_kubernetes_kms::seam::{BoxFuture, BoxIo, Connector, HostPort};

/// What a host on the in-memory network does with a connection.
#[derive(Clone)]
pub enum Host {
    /// Serves a simulated Vault in plain HTTP.
    Serves(SimVault),
    /// The same behind TLS.
    Tls(SimVault, tokio_rustls::TlsAcceptor),
    /// Refuses.
    Refuses,
    /// Never completes a handshake.
    Silent,
    /// Hands the server's end to the test.
    Raw(mpsc::UnboundedSender<DuplexStream>),
}

/// The in-memory network.
#[derive(Clone, Default)]
pub struct Network {
    hosts: Arc<Mutex<BTreeMap<HostPort, Host>>>,
    pub dialled: Arc<Mutex<Vec<HostPort>>>,
}

impl Network {
    pub fn put(&self, host: &str, port: u16, what: Host) {
        self.hosts.lock().expect("no panic").insert(
            HostPort {
                host: host.into(),
                port,
            },
            what,
        );
    }
}

impl Connector for Network {
    fn connect<'a>(&'a self, to: &'a HostPort) -> BoxFuture<'a, io::Result<BoxIo>> {
        Box::pin(async move {
            self.dialled.lock().expect("no panic").push(to.clone());
            let host = self.hosts.lock().expect("no panic").get(to).cloned();
            match host {
                Some(Host::Serves(vault)) => {
                    let (ours, theirs) = tokio::io::duplex(256 * 1024);
                    tokio::spawn(async move {
                        vault
                            .serve_io(theirs, IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)))
                            .await;
                    });
                    Ok(Box::new(ours) as BoxIo)
                }
                Some(Host::Tls(vault, acceptor)) => {
                    let (ours, theirs) = tokio::io::duplex(256 * 1024);
                    tokio::spawn(async move {
                        if let Ok(io) = acceptor.accept(theirs).await {
                            let chain = io.get_ref().1.peer_certificates();
                            let cert = chain.map(|chain| ClientCert {
                                chain: chain.iter().map(|c| c.to_vec()).collect(),
                            });
                            let peer = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
                            vault.serve_stream(io, peer, cert, false).await;
                        }
                    });
                    Ok(Box::new(ours) as BoxIo)
                }
                Some(Host::Raw(sender)) => {
                    let (ours, theirs) = tokio::io::duplex(256 * 1024);
                    sender
                        .send(theirs)
                        .map_err(|_| io::ErrorKind::ConnectionRefused)?;
                    Ok(Box::new(ours) as BoxIo)
                }
                Some(Host::Silent) => std::future::pending().await,
                Some(Host::Refuses) | None => Err(io::ErrorKind::ConnectionRefused.into()),
            }
        })
    }
}

/// A plain-HTTP address on the in-memory network.
pub fn address(host: &str, port: u16) -> VaultAddress {
    VaultAddress {
        https: false,
        at: HostPort {
            host: host.into(),
            port,
        },
        prefix: String::new(),
    }
}
