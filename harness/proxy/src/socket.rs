//! The proxy on the unix socket, between an API server and a plugin. It understands gRPC's calls, not their content: a
//! rule that alters an answer brings its own understanding.
//!
//! Each connection of a caller gets one of its own to the plugin, made with its first call: a plugin that is not there
//! is seen as one. HTTP/2's pings and windows end at the proxy.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use kms_authority::Readable;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OnceCell, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep};

use crate::alter::altered;
use crate::cut::{Budget, Cut};
use crate::rule::{Action, Rule, RuleId, Seen, Table, removed};

/// Calls that are kept; the oldest go first.
const KEPT: usize = 1_000_000;

/// What is answered: what the plugin said, altered or not, or nothing but headers.
type Body = BoxBody<Bytes, hyper::Error>;

/// Carries calls from one socket to another. Dropped, it stops, and its socket's file goes.
#[derive(Debug)]
pub struct SocketProxy {
    path: PathBuf,
    table: watch::Sender<Table>,
    resets: watch::Sender<()>,
    seen: Arc<Mutex<VecDeque<Seen>>>,
    task: AbortHandle,
}

impl SocketProxy {
    /// Listens at one path, carries to another. The plugin need not be there yet.
    ///
    /// # Errors
    /// The path cannot be listened at.
    pub fn start(listen: &Path, plugin: &Path) -> io::Result<Self> {
        let listener = UnixListener::bind(listen)?;
        let table = watch::Sender::new(Table::default());
        let resets = watch::Sender::new(());
        let seen = Arc::default();
        let serving = Serving {
            plugin: plugin.to_owned(),
            table: table.clone(),
            resets: resets.clone(),
            seen: Arc::clone(&seen),
        };
        let task = tokio::spawn(serving.run(listener)).abort_handle();
        let path = listen.to_owned();
        Ok(Self {
            path,
            table,
            resets,
            seen,
            task,
        })
    }

    /// Puts a rule in force. Of several that fit a call, the oldest counts.
    pub fn add(&self, rule: Rule) -> RuleId {
        let mut id = None;
        self.table.send_modify(|table| id = Some(table.add(rule)));
        id.expect("it was added")
    }

    /// Takes a rule back, and lets go of what it held. The number of calls it touched.
    pub fn remove(&self, id: RuleId) -> u64 {
        let mut hits = 0;
        self.table.send_modify(|table| hits = table.remove(id));
        hits
    }

    /// The number of calls that a rule touched so far.
    #[must_use]
    pub fn hits(&self, id: RuleId) -> u64 {
        self.table.borrow().hits(id)
    }

    /// Breaks every connection, on both sides.
    pub fn reset(&self) {
        self.resets.send_replace(());
    }

    /// The calls since the last time they were taken.
    pub fn take_seen(&self) -> Vec<Seen> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.drain(..).collect()
    }
}

impl Drop for SocketProxy {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path); // it may be gone already
    }
}

#[derive(Clone)]
struct Serving {
    plugin: PathBuf,
    table: watch::Sender<Table>,
    resets: watch::Sender<()>,
    seen: Arc<Mutex<VecDeque<Seen>>>,
}

impl Serving {
    async fn run(self, listener: UnixListener) {
        let mut connections = JoinSet::new();
        loop {
            let Ok((caller, _)) = listener.accept().await else {
                tokio::task::yield_now().await; // out of descriptors, say
                continue;
            };
            while connections.try_join_next().is_some() {}
            connections.spawn(self.clone().connection(caller));
        }
    }

    async fn connection(self, caller: UnixStream) {
        let mut resets = self.resets.subscribe();
        let budget = Budget::unlimited();
        let upstream = Arc::new(OnceCell::new());
        let (broken, mut breaks) = watch::channel(false);
        let broken = Arc::new(broken);
        let service = service_fn(|request| {
            let (serving, budget) = (self.clone(), budget.clone());
            let (upstream, broken) = (Arc::clone(&upstream), Arc::clone(&broken));
            async move { serving.call(request, &budget, &upstream, broken).await }
        });
        let stream = TokioIo::new(Readable::new(Cut::new(caller, budget.clone())));
        let serve = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .serve_connection(stream, service);
        tokio::select! {
            biased;
            _ = resets.changed() => {} // or the proxy is gone
            _ = breaks.wait_for(|broken| *broken) => {} // the plugin's side ended
            _ = serve => {}
        }
    }

    async fn call(
        self,
        request: Request<Incoming>,
        budget: &Budget,
        upstream: &OnceCell<Upstream>,
        broken: Arc<watch::Sender<bool>>,
    ) -> Result<Response<Body>, hyper::Error> {
        let path = request.uri().path();
        let method = path.rsplit('/').next().unwrap_or_default().to_owned();
        let mut met = None;
        self.table.send_if_modified(|table| {
            met = table.meet(&method);
            false // nobody waits for hits
        });
        self.note(&method, met.is_some());
        let (mut cut, mut alter) = (None, None);
        match met {
            None => {}
            Some((_, Action::Delay(time))) => sleep(time).await,
            Some((id, Action::Hold)) => removed(self.table.subscribe(), id).await,
            Some((_, Action::Status { code, message })) => return Ok(status(code, &message)),
            Some((_, Action::Cut(bytes))) => cut = Some(bytes),
            Some((_, Action::Alter(with))) => alter = Some(with),
        }
        let Ok(upstream) = upstream
            .get_or_try_init(|| Upstream::dial(&self.plugin, Arc::clone(&broken)))
            .await
        else {
            return gone(&broken).await; // nobody listens
        };
        let answer = match upstream.send.clone().send_request(request).await {
            Ok(answer) => answer,
            Err(error) if is_reset(&error) => return Err(error),
            Err(_) => return gone(&broken).await,
        };
        if let Some(bytes) = cut {
            budget.limit(bytes);
        }
        match alter {
            Some(with) => altered(answer, with).await,
            None => Ok(answer.map(BodyExt::boxed)),
        }
    }

    fn note(&self, method: &str, touched: bool) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() == KEPT {
            seen.pop_front();
        }
        seen.push_back(Seen {
            at: Instant::now(),
            method: method.to_owned(),
            touched,
        });
    }
}

/// The plugin's side is lost: the caller's connection breaks, and that is what every call on it sees.
async fn gone(broken: &watch::Sender<bool>) -> Result<Response<Body>, hyper::Error> {
    broken.send_replace(true);
    std::future::pending().await
}

/// Whether one call was reset and the connection lives.
fn is_reset(error: &hyper::Error) -> bool {
    let cause =
        std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(h2::Error::is_reset)
}

/// The plugin's side of a connection; it ends with it.
struct Upstream {
    send: SendRequest<Incoming>,
    task: AbortHandle,
}

impl Upstream {
    async fn dial(plugin: &Path, broken: Arc<watch::Sender<bool>>) -> io::Result<Self> {
        let stream = UnixStream::connect(plugin).await?;
        let (send, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        let task = tokio::spawn(async move {
            let _ = connection.await; // how it ended is seen by the calls
            broken.send_replace(true);
        });
        Ok(Self {
            send,
            task: task.abort_handle(),
        })
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An answer of headers alone, as gRPC has it for a refusal.
fn status(code: u8, message: &str) -> Response<Body> {
    let mut answer = Response::new(Empty::new().map_err(|never| match never {}).boxed());
    *answer.status_mut() = StatusCode::OK;
    let headers: &mut HeaderMap = answer.headers_mut();
    headers.insert(
        "content-type",
        http::HeaderValue::from_static("application/grpc"),
    );
    headers.insert("grpc-status", http::HeaderValue::from(u16::from(code)));
    headers.insert("grpc-message", percent(message));
    answer
}

/// gRPC's percent-encoding of a message.
fn percent(message: &str) -> http::HeaderValue {
    let mut text = String::new();
    for byte in message.bytes() {
        if (0x20..0x7f).contains(&byte) && byte != b'%' {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    http::HeaderValue::try_from(text).expect("visible ASCII")
}
