//! The relay itself: proxies, and a control address.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use kms_history::chaos::VaultPath;
use kms_proxy::{Action, Direction, End, Rule, RuleId, Rules, SocketProxy, TcpProxy};
use kms_sim::answers;
use serde::Serialize;
use tokio::net::{TcpListener, lookup_host};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use zeroize::Zeroizing;

use super::{Calls, Deed, LONGEST, Ordered, State, Way};
use crate::arm::process::wire::Wire;

/// Largest order, in bytes.
const ORDER: usize = 64 << 10;
/// Limit for a caller to send its head.
const HEAD: Duration = Duration::from_secs(10);
/// Most faults at a time.
const FAULTS: usize = 64;

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
}

/// A relay that runs. Dropped, it is gone, and its connections with it.
pub struct Serving {
    /// Where it is told what to do.
    pub control: SocketAddr,
    tasks: JoinSet<()>,
}

impl Serving {
    /// Waits for ever; the relay serves.
    pub async fn forever(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

struct Relay {
    link: Option<TcpProxy>,
    socket: Option<SocketProxy>,
    wire: Option<Wire>,
    token: Zeroizing<String>,
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Default)]
struct Inner {
    faults: BTreeMap<String, Active>,
    requests: BTreeMap<VaultPath, u64>,
    ended_hits: u64,
}

struct Active {
    deed: Deed,
    rule: Option<RuleId>,
    until: Instant,
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
        places.vault.is_some() || places.socket.is_some(),
        "nothing to stand between: name --vault and --listen, or --plugin-socket and --socket"
    );
    ensure!(
        places.token.len() >= 16,
        "the token of --control-token-path must have at least 16 characters"
    );
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
    let relay = Arc::new(Relay {
        link,
        socket,
        wire,
        token: places.token,
        inner: Mutex::default(),
        changed: Notify::new(),
    });
    let mut tasks = JoinSet::new();
    tasks.spawn(accept(relay, listener));
    Ok(Serving { control, tasks })
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
            () = ended(&relay) => {}
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

/// Waits for the end of the fault that ends first, and ends it; or until there are other faults.
async fn ended(relay: &Relay) {
    let first = {
        let inner = relay.inner();
        let ends = inner.faults.iter().map(|(id, fault)| (fault.until, id));
        ends.min().map(|(until, id)| (until, id.clone()))
    };
    let due = async {
        match first {
            Some((until, id)) => {
                sleep_until(until).await;
                relay.end(&id);
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = relay.changed.notified() => {}
        () = due => {}
    }
}

async fn answer(
    relay: &Relay,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let shown = request.headers().get(AUTHORIZATION);
    let wanted = format!("Bearer {}", *relay.token);
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

impl Relay {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> State {
        let mut inner = self.inner();
        if let Some(wire) = &self.wire {
            for (path, count) in wire.take_calls() {
                *inner.requests.entry(path).or_default() += count;
            }
        }
        let live = inner.faults.values().filter_map(|fault| fault.rule);
        let live: u64 = live.map(|rule| self.call_hits(rule)).sum();
        State {
            vault: self.link.is_some(),
            socket: self.socket.is_some(),
            requests: self.wire.as_ref().map(|_| inner.requests.clone()),
            link_hits: self.link.as_ref().map_or(0, |link| link.touched().hits()),
            call_hits: inner.ended_hits + live,
            faults: inner.faults.len(),
        }
    }

    fn call_hits(&self, rule: RuleId) -> u64 {
        self.socket.as_ref().map_or(0, |socket| socket.hits(rule))
    }

    fn make(&self, id: &str, order: Ordered) -> Result<()> {
        ensure!(
            (1..=LONGEST).contains(&order.millis),
            "a fault lasts 1 to {LONGEST} ms, not {}",
            order.millis
        );
        let link = || {
            self.link
                .as_ref()
                .context("this relay is on no way to Vault")
        };
        let socket = || self.socket.as_ref().context("this relay is on no socket");
        let mut rule = None;
        match &order.deed {
            Deed::ResetLinks => {
                link()?.reset();
                return Ok(());
            }
            Deed::ResetCalls => {
                socket()?.reset();
                return Ok(());
            }
            Deed::HalfClose { requests } => {
                let towards = if *requests { End::Server } else { End::Client };
                link()?.half_close(towards);
                return Ok(());
            }
            Deed::Link { .. } => drop(link()?),
            Deed::Calls { .. } => drop(socket()?),
        }
        let mut inner = self.inner();
        ensure!(
            inner.faults.len() < FAULTS,
            "there are {FAULTS} faults already"
        );
        ensure!(
            !inner.faults.contains_key(id),
            "there is a fault {id} already"
        );
        if let Deed::Calls { method, action } = &order.deed {
            rule = Some(socket()?.add(Rule {
                method: method.clone(),
                action: call_action(action),
                times: None,
            }));
        }
        let until = Instant::now() + Duration::from_millis(order.millis);
        let active = Active {
            deed: order.deed,
            rule,
            until,
        };
        inner.faults.insert(id.to_owned(), active);
        self.apply(&inner);
        self.changed.notify_one();
        Ok(())
    }

    fn end(&self, id: &str) {
        let mut inner = self.inner();
        if let Some(fault) = inner.faults.remove(id) {
            if let (Some(rule), Some(socket)) = (fault.rule, &self.socket) {
                inner.ended_hits += socket.remove(rule);
            }
            self.apply(&inner);
        }
    }

    fn clear(&self) {
        let all: Vec<String> = self.inner().faults.keys().cloned().collect();
        for id in all {
            self.end(&id);
        }
    }

    /// The rules on the link that all faults make together: where two want something, the harder one counts.
    fn apply(&self, inner: &Inner) {
        let Some(link) = &self.link else { return };
        let mut rules = Rules::default();
        for fault in inner.faults.values() {
            if let Deed::Link { requests, answers } = &fault.deed {
                put_on(&mut rules.to_server, *requests);
                put_on(&mut rules.to_client, *answers);
            }
        }
        link.set(rules);
    }
}

fn put_on(direction: &mut Direction, way: Way) {
    direction.held |= way.held;
    let latency = way
        .latency
        .map(|(least, most)| (Duration::from_millis(least), Duration::from_millis(most)));
    direction.latency = direction.latency.max(latency);
    let bandwidth = way.bandwidth.and_then(NonZeroU64::new);
    direction.bandwidth = match (direction.bandwidth, bandwidth) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
}

fn call_action(action: &Calls) -> Action {
    match action {
        Calls::Delay(millis) => Action::Delay(Duration::from_millis(*millis)),
        Calls::Hold => Action::Hold,
        Calls::Status { code, message } => Action::Status {
            code: *code,
            message: message.clone(),
        },
        // Inside the answer's first frame.
        Calls::Cut => Action::Cut(20),
        Calls::Sick => Action::Alter(answers::sick),
        Calls::WrongKey => Action::Alter(answers::wrong_key),
    }
}
