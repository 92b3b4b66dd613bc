//! Liveness, readiness and metrics over HTTP/1.1.
//!
//! A convenience beside the KMS socket, and built so that it can never hurt it: a taken port is a
//! warning that is tried again (BUG-073), every connection carries one request and lives seconds,
//! the number of connections and their pace are bounded. Liveness asks nobody: it answers while
//! the runtime turns, so that an outage of Vault never makes a supervisor kill the plugin.
//! Not here: what readiness and the metrics are.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE as CONTENT_TYPE_HEADER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::event::Event;
use crate::metrics::{CONTENT_TYPE, Metrics};
use crate::seam::Observer;

/// Connections at once on one listener. One more ends the oldest, which is the likeliest idler.
const MOST_CONNECTIONS: usize = 32;
/// From accept to the last byte of the answer.
const WHOLE_LIFE: Duration = Duration::from_secs(5);
/// For the request's head.
const HEAD_LIMIT: Duration = Duration::from_secs(2);
/// Request line and headers together; hyper's smallest buffer.
const HEAD_BYTES: usize = 8192;
const MOST_HEADERS: usize = 64;
/// Between two accepts on average, after a burst: a flood costs a few percent of one core.
const PACE: Duration = Duration::from_millis(2);
const BURST: u32 = 64;
/// Between two tries for a taken port.
const BIND_AGAIN: Duration = Duration::from_secs(5);
/// After an accept that failed, mostly for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Status as readiness; the text of `Err` is shown.
pub type Readiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Answers the requests.
#[derive(Clone)]
pub struct Pages {
    /// Asked at each `/readyz`.
    pub readiness: Readiness,
    /// Asked at each `/metrics`.
    pub metrics: Arc<Metrics>,
}

/// The tasks that listen. Once they are dropped, the next turn of the runtime closes the ports.
#[derive(Debug)]
pub struct Listeners(JoinSet<()>);

impl Listeners {
    /// Listens wherever the configuration says; returns at once, whatever the ports' state.
    pub fn start(
        health: Option<SocketAddr>,
        metrics: Option<SocketAddr>,
        pages: &Pages,
        observer: &Arc<dyn Observer>,
    ) -> Self {
        let mut tasks = JoinSet::new();
        for plan in plan(health, metrics) {
            tasks.spawn(listen(plan, pages.clone(), observer.clone()));
        }
        Self(tasks)
    }

    /// How many listeners there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// One listener, and which addresses on it serve what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    bind: SocketAddr,
    health: Option<IpAddr>,
    metrics: Option<IpAddr>,
}

/// Equal addresses share a listener. So do one address and "all" with the same port, which cannot
/// be bound side by side: who then asks an address that was not meant for a page does not get it.
fn plan(health: Option<SocketAddr>, metrics: Option<SocketAddr>) -> Vec<Plan> {
    let one = |bind: SocketAddr, health: bool| Plan {
        bind,
        health: health.then_some(bind.ip()),
        metrics: (!health).then_some(bind.ip()),
    };
    match (health, metrics) {
        (None, None) => vec![],
        (Some(health), None) => vec![one(health, true)],
        (None, Some(metrics)) => vec![one(metrics, false)],
        (Some(health), Some(metrics)) => {
            let wide = if health.ip().is_unspecified() {
                health
            } else {
                metrics
            };
            let shared = health == metrics
                || health.port() == metrics.port()
                    && health.port() != 0
                    && wide.ip().is_unspecified();
            if shared {
                vec![Plan {
                    bind: wide,
                    health: Some(health.ip()),
                    metrics: Some(metrics.ip()),
                }]
            } else {
                vec![one(health, true), one(metrics, false)]
            }
        }
    }
}

/// Whether a page meant for `wanted` is served to a connection that arrived at `local`.
fn serves(wanted: Option<IpAddr>, local: IpAddr) -> bool {
    wanted.is_some_and(|wanted| wanted.is_unspecified() || wanted == local.to_canonical())
}

async fn listen(plan: Plan, pages: Pages, observer: Arc<dyn Observer>) {
    let listener = bind(plan.bind, &*observer).await;
    let mut connections = JoinSet::new();
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    let mut next = Instant::now();
    loop {
        // Due times may lie up to a burst behind, never more.
        next = next.max(Instant::now().checked_sub(PACE * BURST).unwrap_or(next)) + PACE;
        sleep_until(next).await;
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        oldest_first.retain(|connection| !connection.is_finished());
        if oldest_first.len() >= MOST_CONNECTIONS
            && let Some(oldest) = oldest_first.pop_front()
        {
            oldest.abort();
        }
        oldest_first.push_back(connections.spawn(serve(stream, plan, pages.clone())));
    }
}

/// Binds, however long it takes.
async fn bind(address: SocketAddr, observer: &dyn Observer) -> TcpListener {
    let mut waiting = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                if waiting {
                    observer.event(&Event::Notice {
                        warn: false,
                        text: &format!("health and metrics are served on {address} now"),
                    });
                }
                return listener;
            }
            Err(error) => {
                if !waiting {
                    observer.event(&Event::Notice {
                        warn: true,
                        text: &format!(
                            "cannot serve health and metrics on {address}: {error}; trying again \
                             every {} s, the KMS socket is not affected; -health-port and \
                             -metrics-port choose others, 0 is off",
                            BIND_AGAIN.as_secs()
                        ),
                    });
                }
                waiting = true;
                sleep(BIND_AGAIN).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, plan: Plan, pages: Pages) {
    let Ok(local) = stream.local_addr() else {
        return;
    };
    let answer = service_fn(|request| {
        let response = pages.answer(&request, plan, local.ip());
        async { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES)
        .max_headers(MOST_HEADERS)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), answer);
    // Whoever breaks off or dawdles has lost an answer; there is nothing to report.
    let _ = timeout(WHOLE_LIFE, connection).await;
}

impl Pages {
    fn answer(
        &self,
        request: &Request<Incoming>,
        plan: Plan,
        local: IpAddr,
    ) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served\n");
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
            "/livez" | "/live" | "/healthz" | "/health" if serves(plan.health, local) => {
                text(StatusCode::OK, "ok\n")
            }
            "/readyz" if serves(plan.health, local) => match (self.readiness)() {
                Ok(()) => text(StatusCode::OK, "ok\n"),
                Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, why + "\n"),
            },
            "/metrics" if serves(plan.metrics, local) => {
                let mut response = text(StatusCode::OK, self.metrics.encode());
                response
                    .headers_mut()
                    .insert(CONTENT_TYPE_HEADER, HeaderValue::from_static(CONTENT_TYPE));
                response
            }
            _ => text(StatusCode::NOT_FOUND, "no such page\n"),
        }
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE_HEADER,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<SocketAddr> {
        Some(text.parse().unwrap())
    }

    fn check(health: Option<SocketAddr>, metrics: Option<SocketAddr>, expected: &[&str]) {
        let binds: Vec<String> = plan(health, metrics)
            .iter()
            .map(|plan| plan.bind.to_string())
            .collect();
        assert_eq!(binds, expected, "{health:?} {metrics:?}");
    }

    #[test]
    fn equal_addresses_share_a_listener() {
        let local = address("127.0.0.1:8081");
        check(None, None, &[]);
        check(local, None, &["127.0.0.1:8081"]);
        check(None, local, &["127.0.0.1:8081"]);
        check(local, local, &["127.0.0.1:8081"]);
        let other = address("127.0.0.1:8082");
        check(local, other, &["127.0.0.1:8081", "127.0.0.1:8082"]);
    }

    /// `-health-port=8081` alone binds all interfaces beside the default metrics address.
    #[test]
    fn a_wildcard_swallows_its_port_without_publishing_the_metrics() {
        let all = address("0.0.0.0:8081");
        let local = address("127.0.0.1:8081");
        check(all, local, &["0.0.0.0:8081"]);
        check(local, all, &["0.0.0.0:8081"]);
        let plan = plan(all, local)[0];
        let node: IpAddr = "10.0.0.7".parse().unwrap();
        let loopback: IpAddr = "127.0.0.1".parse().unwrap();
        assert!(serves(plan.health, node) && serves(plan.health, loopback));
        assert!(!serves(plan.metrics, node));
        assert!(serves(plan.metrics, loopback));
        // As a dual-stack socket shows an IPv4 peer.
        assert!(serves(plan.metrics, "::ffff:127.0.0.1".parse().unwrap()));
    }
}
