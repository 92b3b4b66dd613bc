//! A false Vault: it says that it is the right one, counts what a plugin tells it, and keeps nothing.
//!
//! With a redirect it is the right one, and the false one is where it sends its clients.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use kms_conformance::{Falsehood, Seen};
use kms_history::search::holds;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use crate::vault::certificates::Certificates;

/// Bytes of one request that are looked at.
const LOOKED_AT: usize = 64 * 1024;
/// A request has ended when nothing more comes for this long.
const IDLE: Duration = Duration::from_millis(200);
/// How long a visitor may be silent.
const SILENCE: Duration = Duration::from_secs(5);

/// A running one. Dropping it ends it.
pub struct Impostor {
    address: String,
    ca: PathBuf,
    counted: Arc<Counted>,
    serving: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Counted {
    contacts: AtomicU64,
    requests: AtomicU64,
    credentials: AtomicU64,
    /// What no false Vault may be told.
    secrets: Vec<Zeroizing<String>>,
}

/// What one address does with its visitors.
#[derive(Clone)]
enum Manner {
    /// It counts what they say, behind TLS or not.
    Listen(Option<TlsAcceptor>),
    /// It sends them to another address.
    Redirect(TlsAcceptor, String),
}

impl Impostor {
    /// Starts one that is false in this way; its files go into `folder`.
    pub async fn start(
        falsehood: Falsehood,
        folder: &Path,
        secrets: Vec<Zeroizing<String>>,
    ) -> Result<Self> {
        let told = Certificates::create(folder)?;
        let counted = Arc::new(Counted {
            secrets,
            ..Counted::default()
        });
        let mut serving = Vec::new();
        let mut listen = async |manner| -> Result<String> {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .await
                .context("listen as a false Vault")?;
            let address = listener.local_addr().context("read the port")?;
            serving.push(tokio::spawn(serve(listener, manner, Arc::clone(&counted))));
            Ok(format!("https://{address}"))
        };
        let other = folder.join("other");
        std::fs::create_dir(&other).context("make a folder for certificates")?;
        let address = match falsehood {
            Falsehood::OtherAuthority => {
                let acceptor = acceptor(&Certificates::create(&other)?)?;
                listen(Manner::Listen(Some(acceptor))).await?
            }
            Falsehood::OtherName => {
                let named = Certificates::create_for(&other, "vault.elsewhere.example")?;
                // The authority is the one that the plugin is told.
                let acceptor = acceptor(&named)?;
                let address = listen(Manner::Listen(Some(acceptor))).await?;
                return Ok(Self {
                    address,
                    ca: named.ca,
                    counted,
                    serving,
                });
            }
            Falsehood::PlainHttp => listen(Manner::Listen(None)).await?,
            Falsehood::ForeignRedirect => {
                // A certificate of its own, by the right authority: nothing but the address is foreign.
                let acceptor = acceptor(&told)?;
                let foreign = listen(Manner::Listen(Some(acceptor.clone()))).await?;
                listen(Manner::Redirect(acceptor, foreign)).await?
            }
        };
        Ok(Self {
            address,
            ca: told.ca,
            counted,
            serving,
        })
    }

    /// Where the plugin is told that Vault is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The CA bundle that the plugin is told to verify it by.
    pub fn ca(&self) -> &Path {
        &self.ca
    }

    /// What it has been told so far.
    pub fn seen(&self) -> Seen {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Seen {
            contacts: count(&self.counted.contacts),
            requests: count(&self.counted.requests),
            credentials: count(&self.counted.credentials),
        }
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.serving.iter().for_each(JoinHandle::abort);
    }
}

fn acceptor(files: &Certificates) -> Result<TlsAcceptor> {
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .context("read the certificate")?
        .collect::<Result<Vec<_>, _>>()
        .context("read the certificate")?;
    let key = PrivateKeyDer::from_pem_file(&files.key).context("read the private key")?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("choose TLS versions")?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("use the certificate")?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve(listener: TcpListener, manner: Manner, counted: Arc<Counted>) {
    let mut visitors = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = visitors.join_next() => {}
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                let (manner, counted) = (manner.clone(), Arc::clone(&counted));
                // Whatever a visitor does wrong, or breaks off, ends with its connection.
                visitors.spawn(async move { drop(receive(stream, manner, &counted).await) });
            },
        }
    }
}

async fn receive(stream: TcpStream, manner: Manner, counted: &Counted) -> std::io::Result<()> {
    match manner {
        Manner::Listen(None) => {
            counted.contacts.fetch_add(1, Ordering::Relaxed);
            listen(stream, counted).await
        }
        Manner::Listen(Some(acceptor)) => {
            counted.contacts.fetch_add(1, Ordering::Relaxed);
            listen(acceptor.accept(stream).await?, counted).await
        }
        Manner::Redirect(acceptor, to) => {
            let mut stream = acceptor.accept(stream).await?;
            let text = request(&mut stream).await?;
            let text = String::from_utf8_lossy(&text);
            let path = text.split_whitespace().nth(1).unwrap_or("/");
            let answer = format!(
                "HTTP/1.1 307 Temporary Redirect\r\nLocation: {to}{path}\r\n\
                 Content-Length: 0\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).await?;
            // Those that came to the foreign address are counted there.
            counted.contacts.fetch_add(1, Ordering::Relaxed);
            stream.shutdown().await
        }
    }
}

/// Counts one request, and refuses it.
async fn listen<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    counted: &Counted,
) -> std::io::Result<()> {
    let text = request(&mut stream).await?;
    // Of HTTP/2, too, the first line says HTTP.
    if holds(&text, b" HTTP/") {
        counted.requests.fetch_add(1, Ordering::Relaxed);
    }
    let mut secrets = counted.secrets.iter();
    if secrets.any(|secret| holds(&text, secret.as_bytes())) {
        counted.credentials.fetch_add(1, Ordering::Relaxed);
    }
    let answer =
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// The bytes of a request, until its sender waits for the answer.
async fn request<S: AsyncRead + Unpin>(stream: &mut S) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut text = Zeroizing::new(vec![0; LOOKED_AT]);
    let mut length = 0;
    let mut patience = SILENCE;
    while length < text.len()
        && let Ok(read) = timeout(patience, stream.read(&mut text[length..])).await
    {
        let read = read?;
        if read == 0 {
            break;
        }
        length += read;
        patience = IDLE;
    }
    text.truncate(length);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::admin::Admin;

    fn secret() -> Zeroizing<String> {
        Zeroizing::new("hvs.planted".to_owned())
    }

    async fn start(falsehood: Falsehood) -> (Impostor, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let impostor = Impostor::start(falsehood, folder.path(), vec![secret()]).await;
        (impostor.unwrap(), folder)
    }

    /// Asks with the token, as a plugin would that trusts `ca`.
    async fn ask(address: &str, ca: &Path) -> Result<crate::vault::admin::Answer> {
        let client = Admin::new(address, Some(ca), secret())?;
        client.read("transit/keys/k").await
    }

    /// Whoever verifies tells nothing; whoever trusts the wrong authority tells everything, and that
    /// is counted.
    #[tokio::test]
    async fn counts_what_a_trusting_client_tells_and_a_careful_one_does_not() {
        for falsehood in [Falsehood::OtherAuthority, Falsehood::OtherName] {
            let (impostor, _folder) = start(falsehood).await;
            ask(impostor.address(), impostor.ca()).await.unwrap_err();
            let careful = Seen {
                contacts: 1,
                ..Seen::default()
            };
            assert_eq!(impostor.seen(), careful, "{falsehood:?}");
        }
        let (impostor, folder) = start(Falsehood::OtherAuthority).await;
        let wrong = folder.path().join("other/ca.pem");
        assert_eq!(ask(impostor.address(), &wrong).await.unwrap().status, 503);
        let told = Seen {
            contacts: 1,
            requests: 1,
            credentials: 1,
        };
        assert_eq!(impostor.seen(), told);
    }

    #[tokio::test]
    async fn counts_plain_requests_and_no_handshakes() {
        let (impostor, _folder) = start(Falsehood::PlainHttp).await;
        ask(impostor.address(), impostor.ca()).await.unwrap_err();
        assert_eq!((impostor.seen().contacts, impostor.seen().requests), (1, 0));
        let plain = impostor.address().replace("https", "http");
        ask(&plain, impostor.ca()).await.unwrap();
        assert_eq!(impostor.seen().credentials, 1);
    }

    #[tokio::test]
    async fn a_redirect_is_a_contact_and_what_follows_it_is_counted() {
        let (impostor, _folder) = start(Falsehood::ForeignRedirect).await;
        let answer = ask(impostor.address(), impostor.ca()).await.unwrap();
        assert_eq!(answer.status, 307);
        assert_eq!((impostor.seen().contacts, impostor.seen().requests), (1, 0));
    }
}
