//! A Vault client for administrators: just enough HTTP to set a server up and to break it.
//!
//! One connection a call, ten seconds a call unless told otherwise. Not the plugin's client and never measured.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::Bytes;
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

/// Usual limit of one call, connection included.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// Largest answer that is read, in bytes.
const ANSWER_LIMIT: usize = 4 << 20;

/// An administrator's access to one Vault address.
#[derive(Clone)]
pub struct Admin {
    address: Uri,
    tls: Arc<ClientConfig>,
    token: Zeroizing<String>,
    namespace: String,
    limit: Duration,
}

/// What Vault answered.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body, `Null` when it was empty.
    pub body: Value,
    call: String,
}

impl Answer {
    /// The body of a 2xx, else an error that tells call, status and Vault's own words.
    pub fn ok(self) -> Result<Value> {
        ensure!((200..300).contains(&self.status), "{}", self.refusal());
        Ok(self.body)
    }

    fn refusal(&self) -> String {
        let words: Vec<&str> = self.body["errors"]
            .as_array()
            .map(|errors| errors.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        format!(
            "{} answered {}: {}",
            self.call,
            self.status,
            words.join("; ").trim()
        )
    }
}

impl Admin {
    /// An administrator at `address` (`http[s]://host:port`), with the CA bundle it is verified by
    /// (the system's roots when absent).
    pub fn new(address: &str, ca: Option<&Path>, token: Zeroizing<String>) -> Result<Self> {
        let uri: Uri = address
            .parse()
            .with_context(|| format!("read the Vault address {address:?}"))?;
        ensure!(
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some(),
            "the Vault address {address:?} must be http://HOST:PORT or https://HOST:PORT"
        );
        ensure!(
            matches!(uri.path(), "" | "/") && uri.query().is_none(),
            "the Vault address {address:?} must have no path or query"
        );
        Ok(Self {
            address: uri,
            tls: Arc::new(tls_config(ca)?),
            token,
            namespace: String::new(),
            limit: CALL_LIMIT,
        })
    }

    /// The same administrator inside a namespace.
    pub fn in_namespace(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.namespace);
        self
    }

    /// The same administrator, who waits so long for an answer.
    pub fn patient(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The same administrator with another token.
    pub fn with_token(mut self, token: Zeroizing<String>) -> Self {
        self.token = token;
        self
    }

    /// The token, to search files for it.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// `GET /v1/PATH`.
    pub async fn read(&self, path: &str) -> Result<Answer> {
        self.call(Method::GET, path, Value::Null).await
    }

    /// `POST /v1/PATH`, and only a 2xx is good.
    pub async fn write(&self, path: &str, body: Value) -> Result<Value> {
        self.call(Method::POST, path, body).await?.ok()
    }

    /// `DELETE /v1/PATH`, and only a 2xx is good.
    pub async fn delete(&self, path: &str) -> Result<Value> {
        self.call(Method::DELETE, path, Value::Null).await?.ok()
    }

    /// One call; whatever Vault answers is an answer, `Err` means that there was none.
    pub async fn call(&self, method: Method, path: &str, body: Value) -> Result<Answer> {
        let call = format!("{method} {}v1/{path}", self.address);
        tokio::time::timeout(self.limit, self.exchange(method, path, body))
            .await
            .map_err(|_| anyhow!("no answer within {} s", self.limit.as_secs()))
            .flatten()
            .map(|(status, body)| Answer {
                status,
                body,
                call: call.clone(),
            })
            .context(call)
    }

    async fn exchange(&self, method: Method, path: &str, body: Value) -> Result<(u16, Value)> {
        let host = self
            .address
            .host()
            .expect("checked in new")
            .trim_matches(['[', ']']);
        let https = self.address.scheme_str() == Some("https");
        let port = self
            .address
            .port_u16()
            .unwrap_or(if https { 443 } else { 80 });
        #[expect(
            clippy::disallowed_methods,
            reason = "the process arm talks to real servers"
        )]
        let tcp = TcpStream::connect((host, port)).await.context("connect")?;
        if !https {
            return self.send(tcp, method, path, body).await;
        }
        let name = ServerName::try_from(host.to_owned()).context("read the server name")?;
        let tls = tokio_rustls::TlsConnector::from(Arc::clone(&self.tls))
            .connect(name, tcp)
            .await
            .context("TLS handshake")?;
        self.send(tls, method, path, body).await
    }

    async fn send<S>(
        &self,
        stream: S,
        method: Method,
        path: &str,
        body: Value,
    ) -> Result<(u16, Value)>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let bytes = if body.is_null() {
            Vec::new()
        } else {
            serde_json::to_vec(&body)?
        };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/v1/{path}"))
            .header(
                "Host",
                self.address.authority().expect("has a host").as_str(),
            )
            .header("X-Vault-Request", "true")
            .header("Content-Type", "application/json");
        if !self.token.is_empty() {
            request = request.header("X-Vault-Token", self.token.as_str());
        }
        if !self.namespace.is_empty() {
            request = request.header("X-Vault-Namespace", &self.namespace);
        }
        let answer = sender
            .send_request(request.body(Full::new(Bytes::from(bytes)))?)
            .await?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), ANSWER_LIMIT)
            .collect()
            .await
            .map_err(|error| anyhow!("read the answer: {error}"))?
            .to_bytes();
        driver.abort();
        if body.is_empty() {
            return Ok((status, Value::Null));
        }
        let body = serde_json::from_slice(&body)
            .with_context(|| format!("read the answer of status {status}"))?;
        Ok((status, body))
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

fn tls_config(ca: Option<&Path>) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(file) => {
            for certificate in CertificateDer::pem_file_iter(file)
                .with_context(|| format!("read the CA file {}", file.display()))?
            {
                roots.add(
                    certificate.with_context(|| format!("read the CA file {}", file.display()))?,
                )?;
            }
            if roots.is_empty() {
                bail!("the CA file {} has no certificate", file.display());
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("choose TLS versions")?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
