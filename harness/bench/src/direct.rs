//! HTTP/1.1 calls to the server with keep-alive: the floor that a plugin is compared with, and the
//! administrator's hand of the measurements. hyper with a last-in-first-out pool, nothing else.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::header::HeaderValue;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where a server listens, and how it is trusted.
#[derive(Clone)]
pub struct Endpoint {
    /// Loopback address.
    pub at: SocketAddr,
    /// Present for HTTPS.
    pub tls: Option<Arc<ClientConfig>>,
}

/// A TLS client that trusts one CA file, with the default sessions' resumption.
pub fn trust(ca: &Path) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca)
        .with_context(|| format!("cannot read {}", ca.display()))?
    {
        roots.add(certificate?)?;
    }
    let config =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
    Ok(Arc::new(config))
}

type Connection = SendRequest<Full<Bytes>>;

/// A client with one token and a pool that never holds more connections than calls were in flight.
pub struct Direct {
    endpoint: Endpoint,
    host: HeaderValue,
    token: HeaderValue,
    idle: Mutex<Vec<Connection>>,
}

impl Direct {
    /// A client without connections yet.
    pub fn new(endpoint: Endpoint, token: &str) -> Result<Self> {
        let mut token = HeaderValue::from_str(token).context("a token that fits a header")?;
        token.set_sensitive(true);
        let host = HeaderValue::from_str(&endpoint.at.to_string())?;
        Ok(Self {
            endpoint,
            host,
            token,
            idle: Mutex::default(),
        })
    }

    /// One call; any HTTP status is an answer. A connection that failed is not used again, and
    /// nothing is repeated.
    pub async fn send(
        &self,
        method: Method,
        path: Uri,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes)> {
        let mut connection = self.connection().await?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.host)
            .header("x-vault-token", &self.token)
            .header("x-vault-request", "true")
            .body(Full::new(body))?;
        let response = connection.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        self.idle.lock().expect("no holder panics").push(connection);
        Ok((status, body))
    }

    /// An administrator's call: `path` below `/v1/`. Anything but 2xx is an error with the
    /// server's words. `Null` for an empty body.
    pub async fn admin(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let uri: Uri = format!("/v1/{path}").parse()?;
        let bytes = if body.is_null() {
            Bytes::new()
        } else {
            serde_json::to_vec(body)?.into()
        };
        let (status, answer) = self
            .send(method, uri, bytes)
            .await
            .with_context(|| path.to_owned())?;
        if !status.is_success() {
            bail!(
                "{path}: {status} {}",
                String::from_utf8_lossy(&answer).trim()
            );
        }
        if answer.is_empty() {
            Ok(Value::Null)
        } else {
            Ok(serde_json::from_slice(&answer)?)
        }
    }

    async fn connection(&self) -> Result<Connection> {
        loop {
            let Some(mut idle) = self.idle.lock().expect("no holder panics").pop() else {
                break;
            };
            if idle.ready().await.is_ok() {
                return Ok(idle);
            }
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "the measuring side talks to a real server"
        )]
        let tcp = TcpStream::connect(self.endpoint.at).await?;
        tcp.set_nodelay(true)?;
        match &self.endpoint.tls {
            None => handshake(TokioIo::new(tcp)).await,
            Some(config) => {
                let name = ServerName::from(self.endpoint.at.ip());
                let stream = TlsConnector::from(Arc::clone(config))
                    .connect(name, tcp)
                    .await?;
                handshake(TokioIo::new(stream)).await
            }
        }
    }
}

async fn handshake<IO>(io: IO) -> Result<Connection>
where
    IO: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(io).await?;
    // Ends by itself when the sender is dropped; its error is the sender's error.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}
