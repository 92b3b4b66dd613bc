//! The relay itself: proxies, and a control address.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use kms_proxy::{SocketProxy, TcpProxy};
use serde::Serialize;
use tokio::net::{TcpListener, lookup_host};
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::Ordered;
use super::faults::Relay;
use super::process::Process;
use crate::arm::process::wire::Wire;

/// Largest order, in bytes.
const ORDER: usize = 64 << 10;
/// Limit for a caller to send its head.
const HEAD: Duration = Duration::from_secs(10);

/// Where a relay stands.
#[derive(Debug)]
pub struct Places {
    /// Between a plugin that connects here and this Vault, `http[s]://HOST:PORT`.
    pub vault: Option<(SocketAddr, String)>,
    /// Between an API server that connects here and the plugin's own socket.
    pub socket: Option<(PathBuf, PathBuf)>,
    /// Where it is told what to do: a loopback address.
    pub control: SocketAddr,
    /// What whoever tells it must show.
    pub token: Zeroizing<String>,
    /// The plugin's executable, where its process may be broken.
    pub process: Option<PathBuf>,
}

/// A relay that runs. Dropped, it is gone, its connections with it, and nothing stands still any more.
pub struct Serving {
    /// Where it is told what to do.
    pub control: SocketAddr,
    tasks: JoinSet<()>,
    relay: Arc<Relay>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.relay.clear();
    }
}

impl Serving {
    /// Waits for ever; the relay serves.
    pub async fn forever(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Starts it.
///
/// # Errors
/// A place cannot be taken; the text names it.
pub async fn start(places: Places) -> Result<Serving> {
    ensure!(
        places.control.ip().is_loopback(),
        "--control {}: it must be a loopback address; kubectl port-forward reaches it there",
        places.control
    );
    ensure!(
        places.vault.is_some() || places.socket.is_some() || places.process.is_some(),
        "nothing to stand between: name --vault and --listen, or --plugin-socket and --socket, or a process to break: \
         --plugin-executable with --allow-node-faults"
    );
    ensure!(
        places.token.len() >= 16,
        "the token of --control-token-path must have at least 16 characters"
    );
    let process = places.process.as_deref().map(Process::of).transpose()?;
    let (mut link, mut wire) = (None, None);
    if let Some((listen, vault)) = &places.vault {
        let (far, clear) = far(vault).await?;
        let seen = Wire::counting();
        let proxy = TcpProxy::listening(*listen, far, 0, seen.tap(0)).await;
        link = Some(proxy.with_context(|| format!("--listen {listen}"))?);
        wire = clear.then_some(seen);
    }
    let socket = match &places.socket {
        Some((listen, plugin)) => {
            free(listen)?;
            let proxy = SocketProxy::start(listen, plugin);
            Some(proxy.with_context(|| format!("--socket {}", listen.display()))?)
        }
        None => None,
    };
    let listener = TcpListener::bind(places.control)
        .await
        .with_context(|| format!("--control {}", places.control))?;
    let control = listener.local_addr().context("the control address")?;
    let relay = Arc::new(Relay::new(link, socket, wire, process, places.token));
    let mut tasks = JoinSet::new();
    tasks.spawn(accept(Arc::clone(&relay), listener));
    tasks.spawn(Relay::keep_away(Arc::clone(&relay)));
    Ok(Serving {
        control,
        tasks,
        relay,
    })
}

/// Takes a socket away that a relay before this one left behind; one that somebody serves stays.
fn free(listen: &Path) -> Result<()> {
    match UnixStream::connect(listen) {
        Ok(_) => bail!(
            "--socket {}: somebody serves there already",
            listen.display()
        ),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(listen)
                .with_context(|| format!("take the dead socket {} away", listen.display()))
        }
        Err(_) => Ok(()),
    }
}

async fn far(vault: &str) -> Result<(SocketAddr, bool)> {
    let about = || format!("--vault {vault}: it is http://HOST:PORT or https://HOST:PORT");
    let uri: Uri = vault.parse().with_context(about)?;
    let host = uri.host().with_context(about)?.trim_matches(['[', ']']);
    let clear = match uri.scheme_str() {
        Some("http") => true,
        Some("https") => false,
        _ => return Err(anyhow::anyhow!(about())),
    };
    let port = uri.port_u16().unwrap_or(if clear { 80 } else { 443 });
    let mut found = lookup_host((host, port)).await.with_context(about)?;
    Ok((found.next().with_context(about)?, clear))
}

async fn accept(relay: Arc<Relay>, listener: TcpListener) {
    let mut callers = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = relay.due() => {}
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else {
                    tokio::task::yield_now().await; // out of descriptors, say
                    continue;
                };
                while callers.try_join_next().is_some() {}
                let relay = Arc::clone(&relay);
                callers.spawn(async move {
                    let service = service_fn(|request| answer(&relay, request));
                    let serve = hyper::server::conn::http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(HEAD)
                        .keep_alive(false)
                        .serve_connection(TokioIo::new(stream), service);
                    let _ = serve.await; // a caller that went away
                });
            }
        }
    }
}

async fn answer(
    relay: &Relay,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let shown = request.headers().get(AUTHORIZATION);
    let wanted = Zeroizing::new(format!("Bearer {}", *relay.token));
    if !shown.is_some_and(|shown| same(shown.as_bytes(), wanted.as_bytes())) {
        return Ok(told(StatusCode::UNAUTHORIZED, &"the token is not ours"));
    }
    let path = request.uri().path().to_owned();
    let method = request.method().clone();
    let body = Limited::new(request.into_body(), ORDER).collect().await;
    let Ok(body) = body.map(http_body_util::Collected::to_bytes) else {
        return Ok(told(
            StatusCode::BAD_REQUEST,
            &"the order did not come whole",
        ));
    };
    let fault = path.strip_prefix("/v1/faults/").map(str::to_owned);
    Ok(match (method, fault) {
        (Method::GET, None) if path == "/v1/state" => told(StatusCode::OK, &relay.state()),
        (Method::DELETE, None) if path == "/v1/faults" => {
            relay.clear();
            told(StatusCode::OK, &relay.state())
        }
        (Method::PUT, Some(id)) => match serde_json::from_slice::<Ordered>(&body) {
            Err(error) => told(StatusCode::BAD_REQUEST, &error.to_string()),
            Ok(order) => match relay.make(&id, order) {
                Ok(()) => told(StatusCode::OK, &relay.state()),
                Err(error) => told(StatusCode::CONFLICT, &format!("{error:#}")),
            },
        },
        (Method::DELETE, Some(id)) => {
            relay.end(&id);
            told(StatusCode::OK, &relay.state())
        }
        _ => told(StatusCode::NOT_FOUND, &"there is no such thing here"),
    })
}

/// Compares in a time that does not tell where they differ.
fn same(shown: &[u8], wanted: &[u8]) -> bool {
    let differs = shown
        .iter()
        .zip(wanted)
        .fold(0, |sum, (a, b)| sum | (a ^ b));
    shown.len() == wanted.len() && differs == 0
}

fn told(code: StatusCode, what: &impl Serialize) -> Response<Full<Bytes>> {
    let text = serde_json::to_vec(what).expect("what a relay tells is JSON");
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = code;
    let json = http::HeaderValue::from_static("application/json");
    answer
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, json);
    answer
}
