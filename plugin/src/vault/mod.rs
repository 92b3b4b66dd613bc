//! The Vault client: addresses, redirects, limits and the one safe retry.
//!
//! It knows HTTP and the server's envelope, not tokens or keys.

pub mod answer;
pub mod connection;
pub mod tls;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, LOCATION, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use tokio::time::{Instant, timeout_at};

pub use answer::{Answer, Body, Meaning};
use connection::{Broken, Connection, Dialer, OutBody, Pool, Received};

use crate::config::{Secret, Vault, VaultAddress};
use crate::event::{Event, VaultOp};
use crate::fault::Fault;
use crate::seam::{Env, HostPort};

/// Longest ordinary answer.
pub const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// Longest key document: some 300,000 versions.
pub const MAX_KEY_DOCUMENT_BYTES: usize = 16 * 1024 * 1024;
/// Redirects followed in one request.
const MAX_HOPS: usize = 2;

const X_VAULT_TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const X_VAULT_NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
const X_VAULT_REQUEST: HeaderName = HeaderName::from_static("x-vault-request");
const X_VAULT_INDEX: HeaderName = HeaderName::from_static("x-vault-index");

/// One request.
pub struct Call<'a> {
    /// What it is for.
    pub op: VaultOp,
    /// Our id of it, for the log.
    pub id: u64,
    /// GET or POST.
    pub method: Method,
    /// Namespace header; empty for root.
    pub namespace: &'a str,
    /// Path below `/v1/`, built from configuration only and already escaped.
    pub path: &'a str,
    /// JSON body, empty for GET.
    pub body: Bytes,
    /// Token, where one is needed.
    pub token: Option<&'a Secret>,
    /// When the answer must be there.
    pub deadline: Instant,
    /// Items in it.
    pub items: usize,
}

impl Call<'_> {
    /// Whether a request that may have been processed can be sent again. A login uses up a
    /// secret-id, a renewal moves a lease: those are not.
    fn is_repeatable(&self) -> bool {
        matches!(
            self.op,
            VaultOp::Encrypt
                | VaultOp::Decrypt
                | VaultOp::ReadKey
                | VaultOp::Lookup
                | VaultOp::Health
        )
    }

    fn max_answer(&self) -> usize {
        if self.op == VaultOp::ReadKey {
            MAX_KEY_DOCUMENT_BYTES
        } else {
            MAX_ANSWER_BYTES
        }
    }
}

/// The client of one cluster.
pub struct Client {
    pools: Vec<Pool>,
    dialer: Dialer,
    connect_timeout: Duration,
    preferred: AtomicUsize,
    index: Mutex<Option<Index>>,
    env: Env,
}

/// The last state we depend on, so that a lagging standby says so.
struct Index {
    address: usize,
    value: HeaderValue,
}

impl Client {
    /// A client for `config`; nothing is contacted. `max_in_flight` bounds idle connections.
    pub fn new(config: &Vault, max_in_flight: usize, env: Env) -> Self {
        let tls = tls::TlsSource::new(config.tls.clone(), env.secrets.clone(), env.wall.clone());
        Self {
            pools: config
                .addresses
                .iter()
                .map(|a| Pool::new(a.clone(), max_in_flight + 2))
                .collect(),
            dialer: Dialer::new(env.connector.clone(), tls, config.proxy.clone()),
            connect_timeout: config.connect_timeout,
            preferred: AtomicUsize::new(0),
            index: Mutex::new(None),
            env,
        }
    }

    /// Keeps the state that `answer` carries for later requests (login, key read).
    pub fn remember_index(&self, answer: &Answer) {
        if let Some(value) = &answer.index {
            *self.index.lock().expect("no panic while locked") = Some(Index {
                address: answer.address,
                value: value.clone(),
            });
        }
    }

    /// Sends one request; bounded by its deadline.
    ///
    /// # Errors
    /// Only transport faults: every HTTP status is an answer.
    pub async fn call(&self, call: &Call<'_>) -> Result<Answer, Fault> {
        let started = Instant::now();
        let result = self.try_addresses(call).await;
        self.env.observer.event(&Event::VaultRequest {
            op: call.op,
            request_id: call.id,
            http_status: result.as_ref().map_or(0, |a| a.status),
            latency: started.elapsed(),
            items: call.items,
        });
        result
    }

    /// Whether some node serves requests now, by its own word; asked without a token.
    pub async fn serves(&self, deadline: Instant) -> bool {
        let call = Call {
            op: VaultOp::Health,
            id: self.env.entropy.next_u64(),
            method: Method::GET,
            namespace: "",
            path: "sys/health",
            body: Bytes::new(),
            token: None,
            deadline,
            items: 1,
        };
        // Active, standby, performance standby.
        matches!(self.call(&call).await, Ok(answer) if matches!(answer.status, 200 | 429 | 473))
    }

    /// The preferred address first; after a fault that leaves the request repeatable the next one,
    /// each with a share of the time that is left.
    async fn try_addresses(&self, call: &Call<'_>) -> Result<Answer, Fault> {
        let first = self.preferred.load(Ordering::Relaxed);
        let n = self.pools.len();
        let mut last = None;
        for turn in 0..n {
            let at = (first + turn) % n;
            let left = call.deadline.saturating_duration_since(Instant::now());
            let share = left / (n - turn) as u32;
            match self.try_address(call, at, Instant::now() + share).await {
                Ok(answer) => {
                    // A node that cannot serve is as good as an absent one while others remain.
                    // A sealed one has done nothing, whatever was asked, nor has a standby that lags behind.
                    let cannot_serve = match answer.meaning() {
                        Meaning::Sealed | Meaning::Lagging => true,
                        Meaning::ServerState => call.is_repeatable(),
                        _ => false,
                    };
                    if cannot_serve && turn + 1 < n {
                        last = Some(Ok(answer));
                        continue;
                    }
                    self.preferred.store(at, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(fault) => {
                    let repeatable = call.is_repeatable()
                        || matches!(&fault, Fault::Transport { sent: false, .. });
                    let go_on = repeatable && !matches!(fault, Fault::Redirect { .. });
                    last = Some(Err(fault));
                    if !go_on {
                        break;
                    }
                }
            }
        }
        self.preferred.store((first + 1) % n, Ordering::Relaxed);
        last.expect("there is at least one address")
    }

    async fn try_address(
        &self,
        call: &Call<'_>,
        at: usize,
        limit: Instant,
    ) -> Result<Answer, Fault> {
        let mut at = at;
        let mut via = None;
        for _ in 0..=MAX_HOPS {
            let received = self.exchange(call, at, limit, via.as_deref()).await?;
            if !matches!(
                received.status,
                StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
            ) {
                return self.answer(call, at, received);
            }
            let (to, path) = self.redirect_target(at, &received)?;
            (at, via) = (to, Some(path));
        }
        let target = self.pools[at].address.to_string();
        Err(Fault::Redirect {
            target,
            why: "a third hop in one request",
        })
    }

    /// Where a redirect leads: a configured address, by the same or a safer scheme.
    fn redirect_target(&self, from: usize, received: &Received) -> Result<(usize, String), Fault> {
        let location = received
            .headers
            .get(LOCATION)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default();
        let uri: http::Uri = location.parse().map_err(|_| Fault::Redirect {
            target: "an unreadable Location".to_owned(),
            why: "which is no address",
        })?;
        let path = uri.path().to_owned();
        let Some(host) = uri.host() else {
            return Ok((from, path));
        };
        let https = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let at = HostPort {
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
        };
        let target = VaultAddress {
            https,
            at,
            prefix: String::new(),
        };
        let refuse = |why| Fault::Redirect {
            target: target.to_string(),
            why,
        };
        if self.pools[from].address.https && !https {
            return Err(refuse("which gives up TLS"));
        }
        let known = self
            .pools
            .iter()
            .position(|p| p.address.at == target.at && p.address.https == https);
        known
            .map(|at| (at, path))
            .ok_or_else(|| refuse("which is not a configured address"))
    }

    fn answer(&self, call: &Call<'_>, at: usize, received: Received) -> Result<Answer, Fault> {
        let header = |name: HeaderName| received.headers.get(name);
        let status = received.status.as_u16();
        let answer = Answer {
            status,
            index: header(X_VAULT_INDEX).cloned(),
            retry_after: header(RETRY_AFTER)
                .and_then(|v| v.to_str().ok()?.trim().parse().ok())
                .map(Duration::from_secs),
            address: at,
            body: Body(received.body),
        };
        let bad = |what: &str| Fault::Transport {
            address: self.pools[at].address.to_string(),
            what: format!("its answer is unusable: {what}"),
            sent: true,
        };
        let wants_body = matches!(
            call.op,
            VaultOp::Encrypt | VaultOp::Decrypt | VaultOp::ReadKey | VaultOp::Login
        );
        if (wants_body && status == 200) || (status == 400 && !answer.body.0.is_empty()) {
            if answer.body.0.is_empty() {
                return Err(bad("the body is empty"));
            }
            if answer.body.0.trim_ascii_start().first() != Some(&b'{') {
                return Err(bad("the body is not a JSON object"));
            }
        }
        if status == 204
            && matches!(
                call.op,
                VaultOp::Encrypt | VaultOp::Decrypt | VaultOp::ReadKey
            )
        {
            return Err(bad(
                "HTTP 204 without a body; is the mount a transit engine?",
            ));
        }
        // A 400 about the index: it belongs to another cluster, or to a past that was restored.
        if status == 400 && answer.error_text().to_ascii_lowercase().contains("index") {
            *self.index.lock().expect("no panic while locked") = None;
        }
        Ok(answer)
    }

    /// One exchange with one address; a repeatable request that met a dead connection is sent once
    /// more on a fresh one.
    async fn exchange(
        &self,
        call: &Call<'_>,
        at: usize,
        limit: Instant,
        path: Option<&str>,
    ) -> Result<Received, Fault> {
        let pool = &self.pools[at];
        let mut retried = false;
        if call.is_repeatable()
            && let Some(connection) = pool.idle()
        {
            match self.exchange_on(connection, call, at, limit, path).await {
                Err(Fault::Transport { .. }) => {
                    retried = true;
                    pool.clear();
                }
                other => return other,
            }
        }
        loop {
            let connection = self.open(at, limit).await?;
            match self.exchange_on(connection, call, at, limit, path).await {
                Err(Fault::Transport { sent: true, .. }) if call.is_repeatable() && !retried => {
                    retried = true
                }
                other => return other,
            }
        }
    }

    async fn open(&self, at: usize, limit: Instant) -> Result<Connection, Fault> {
        let address = &self.pools[at].address;
        let started = Instant::now();
        let until = limit.min(started + self.connect_timeout);
        let text = || address.to_string();
        match timeout_at(until, self.dialer.dial(address)).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(broken)) => Err(Fault::Transport {
                address: text(),
                what: broken.what,
                sent: false,
            }),
            Err(_) => {
                let what = format!("no connection within {} ms", (until - started).as_millis());
                Err(Fault::Transport {
                    address: text(),
                    what,
                    sent: false,
                })
            }
        }
    }

    async fn exchange_on(
        &self,
        mut connection: Connection,
        call: &Call<'_>,
        at: usize,
        limit: Instant,
        path: Option<&str>,
    ) -> Result<Received, Fault> {
        let address = &self.pools[at].address;
        let started = Instant::now();
        let request = self.request(call, at, path)?;
        match timeout_at(limit, connection.call(request, call.max_answer())).await {
            Ok(Ok(received)) => {
                self.pools[at].give_back(connection);
                Ok(received)
            }
            Ok(Err(Broken { what, sent })) => Err(Fault::Transport {
                address: address.to_string(),
                what,
                sent,
            }),
            // The connection is dropped with its state unknown: whatever hangs is not reused.
            Err(_) => {
                self.pools[at].clear();
                Err(Fault::Timeout {
                    address: address.to_string(),
                    limit: limit - started,
                })
            }
        }
    }

    fn request(
        &self,
        call: &Call<'_>,
        at: usize,
        path: Option<&str>,
    ) -> Result<Request<OutBody>, Fault> {
        let address = &self.pools[at].address;
        let unfit =
            |e: &dyn std::fmt::Display| Fault::Key(format!("cannot build the request: {e}"));
        let host = if address.at.host.contains(':') {
            format!("[{}]:{}", address.at.host, address.at.port)
        } else {
            format!("{}:{}", address.at.host, address.at.port)
        };
        let target = path.map_or_else(
            || format!("{}/v1/{}", address.prefix, call.path),
            str::to_owned,
        );
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(target)
            .header(HOST, host)
            .header(X_VAULT_REQUEST, HeaderValue::from_static("true"));
        if !call.body.is_empty() {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if !call.namespace.is_empty() {
            request = request.header(X_VAULT_NAMESPACE, call.namespace);
        }
        if let Some(token) = call.token {
            let mut value = HeaderValue::try_from(token.expose()).map_err(|e| unfit(&e))?;
            value.set_sensitive(true);
            request = request.header(X_VAULT_TOKEN, value);
        }
        // An index belongs to the address that gave it.
        if call.op != VaultOp::Login
            && let Some(index) = &*self.index.lock().expect("no panic while locked")
            && index.address == at
        {
            request = request.header(X_VAULT_INDEX, index.value.clone());
        }
        request
            .body(OutBody::new(call.body.clone()))
            .map_err(|e| unfit(&e))
    }
}

/// Shared by everything that talks to Vault.
pub type SharedClient = Arc<Client>;
