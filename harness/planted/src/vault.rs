//! Bugs on the plugin's way to Vault: plain HTTP/1.1.

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kms_history::chaos::VaultPath;
use tokio::io::DuplexStream;
use tokio::sync::Mutex;

use crate::memory::{Got, Sent};
use crate::{Carrying, Io, Planted, Variant};

/// How often [`Variant::RequestStorm`] reads the key for once.
const STORM: u32 = 40;

/// Bytes in flight between the bug and a plugin in the same process.
const PIPE: usize = 64 * 1024;

type Upstream = Mutex<SendRequest<Full<Bytes>>>;

impl Planted {
    /// Carries one connection of the plugin to Vault; ends with either. A bug of the other side changes nothing here.
    pub async fn carry_vault(&self, plugin: impl Io, vault: impl Io) {
        let opened = hyper::client::conn::http1::handshake(TokioIo::new(vault)).await;
        let Ok((send, to_vault)) = opened else {
            return; // the plugin's connection ends with this
        };
        let upstream = Mutex::new(send);
        let upstream = &upstream;
        let service = service_fn(async |request| self.request(request, upstream).await);
        let from_plugin = hyper::server::conn::http1::Builder::new()
            .auto_date_header(false)
            .serve_connection(TokioIo::new(plugin), service);
        tokio::select! {
            biased;
            _ = from_plugin => {}
            _ = to_vault => {}
        }
    }

    /// For a plugin in this process: what it gets instead of its connection to Vault, and what must run for it.
    pub fn before_vault(&self, vault: impl Io) -> (DuplexStream, Carrying) {
        let (ours, plugins) = tokio::io::duplex(PIPE);
        let planted = self.clone();
        let carrying = async move { planted.carry_vault(ours, vault).await };
        (plugins, Box::pin(carrying))
    }

    async fn request(
        &self,
        request: Request<Incoming>,
        upstream: &Upstream,
    ) -> Result<Response<Full<Bytes>>, hyper::Error> {
        let (head, body) = request.into_parts();
        let sent = Sent {
            method: head.method,
            uri: head.uri,
            headers: head.headers,
            body: body.collect().await?.to_bytes(),
        };
        let path = VaultPath::of(sent.uri.path());
        let known = {
            let memory = self.memory();
            match (self.variant, path) {
                (Variant::LoginOnce, VaultPath::Login) => memory.login_answer.clone(),
                (Variant::RotationUnseen, VaultPath::KeyRead) => memory.key.clone(),
                _ => None,
            }
        };
        if let Some(known) = known {
            return Ok(known.response());
        }
        match (self.variant, path) {
            (Variant::LoginStorm, VaultPath::Login) => self.memory().login = Some(sent.clone()),
            (Variant::LoginStorm, _) => {
                let login = self.memory().login.clone();
                if let Some(login) = login {
                    forward(upstream, login).await?;
                }
            }
            (Variant::RequestStorm, VaultPath::KeyRead) => {
                for _ in 1..STORM {
                    forward(upstream, sent.clone()).await?;
                }
            }
            _ => {}
        }
        let got = forward(upstream, sent).await?;
        if got.status.is_success() {
            let mut memory = self.memory();
            match path {
                VaultPath::Login => memory.login_answer = Some(got.clone()),
                VaultPath::KeyRead => memory.key = Some(got.clone()),
                _ => {}
            }
        }
        Ok(got.response())
    }
}

async fn forward(upstream: &Upstream, sent: Sent) -> Result<Got, hyper::Error> {
    let mut request = Request::new(Full::new(sent.body));
    *request.method_mut() = sent.method;
    *request.uri_mut() = sent.uri;
    *request.headers_mut() = carried(sent.headers);
    let mut upstream = upstream.lock().await;
    let answer = upstream.send_request(request).await?;
    let (head, body) = answer.into_parts();
    Ok(Got {
        status: head.status,
        headers: carried(head.headers),
        body: body.collect().await?.to_bytes(),
    })
}

/// Headers without those that belong to one connection.
fn carried(mut headers: HeaderMap) -> HeaderMap {
    for name in ["connection", "transfer-encoding", "content-length"] {
        headers.remove(name);
    }
    headers
}

impl Got {
    fn response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}
