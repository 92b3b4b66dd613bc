//! One HTTP/1.1 connection to Vault, and the pool of idle ones.
//!
//! A connection is driven by the request that uses it, not by a task of its own: an idle one costs
//! nothing, a dropped request closes its connection, and no request can be lost between two tasks.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::poll_fn;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use tokio::task::coop::unconstrained;
use tokio::time::Instant;

use super::tls::TlsSource;
use crate::config::{Proxy, VaultAddress};
use crate::seam::{BoxIo, Connector, HostPort};

/// An idle connection older than this is not used again; servers keep theirs for minutes.
const MAX_IDLE: Duration = Duration::from_secs(60);

/// A body as it goes out.
pub type OutBody = Full<Bytes>;

/// What a connection failed with.
#[derive(Debug)]
pub struct Broken {
    /// The text.
    pub what: String,
    /// The server may have seen the request.
    pub sent: bool,
}

impl Broken {
    fn new(what: impl ToString, sent: bool) -> Self {
        Self {
            what: what.to_string(),
            sent,
        }
    }
}

/// A connected, ready HTTP/1.1 connection.
pub struct Connection {
    send: http1::SendRequest<OutBody>,
    io: http1::Connection<TokioIo<BoxIo>, OutBody>,
    idle_since: Instant,
}

/// An answer as it came in.
pub struct Received {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Whole body.
    pub body: Bytes,
}

impl Connection {
    async fn open(io: BoxIo) -> Result<Self, Broken> {
        let (send, io) = http1::Builder::new()
            .max_headers(64)
            .handshake(TokioIo::new(io))
            .await
            .map_err(|e| Broken::new(e, false))?;
        Ok(Self {
            send,
            io,
            idle_since: Instant::now(),
        })
    }

    /// Sends one request and reads the whole answer, at most `limit` body bytes. After an error
    /// the connection must be dropped.
    ///
    /// # Errors
    /// Loss of the connection, or an answer that is no HTTP, cut or too large.
    pub async fn call(
        &mut self,
        request: Request<OutBody>,
        limit: usize,
    ) -> Result<Received, Broken> {
        let Self { send, io, .. } = self;
        // Only the connection makes it ready, and that has just been asked: to be woken for it would
        // be one turn more for nothing. So it must not say "later" for the sake of other tasks.
        let mut answer = std::pin::pin!(unconstrained(send.send_request(request)));
        let mut closed = false;
        let response = poll_fn(|cx| {
            if !closed {
                closed = Pin::new(&mut *io).poll(cx).is_ready();
            }
            answer.as_mut().poll(&mut unwoken())
        })
        .await
        .map_err(|e| Broken::new(text(&e), !e.is_canceled()))?;
        let (head, mut body) = response.into_parts();
        let body = collect(io, &mut closed, &mut body, limit).await?;
        Ok(Received {
            status: head.status,
            headers: head.headers,
            body,
        })
    }

    /// Whether the connection can take another request. Notices that the server has closed it.
    fn is_reusable(&mut self) -> bool {
        if self.idle_since.elapsed() > MAX_IDLE {
            return false;
        }
        let closed = Pin::new(&mut self.io).poll(&mut unwoken()).is_ready();
        !closed && self.send.is_ready()
    }
}

/// For a look at what nobody waits for.
fn unwoken() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

async fn collect(
    io: &mut http1::Connection<TokioIo<BoxIo>, OutBody>,
    closed: &mut bool,
    body: &mut Incoming,
    limit: usize,
) -> Result<Bytes, Broken> {
    let bad = |what: String| Broken::new(what, true);
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    loop {
        let frame = poll_fn(|cx| {
            let frame = Pin::new(&mut *body).poll_frame(cx);
            if frame.is_pending() && !*closed {
                *closed = Pin::new(&mut *io).poll(cx).is_ready();
                return Pin::new(&mut *body).poll_frame(cx);
            }
            frame
        })
        .await;
        match frame {
            None => break,
            Some(Err(e)) => return Err(bad(text(&e))),
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else {
                    continue;
                };
                let len = first.as_ref().map_or(0, Bytes::len) + rest.len() + data.len();
                if len > limit {
                    return Err(bad(format!("it is larger than {limit} bytes")));
                }
                match &first {
                    None => first = Some(data),
                    Some(_) => rest.extend_from_slice(&data),
                }
            }
        }
    }
    // Lets the connection take note that the exchange is over; whoever uses it next asks it again.
    if !*closed {
        *closed = Pin::new(&mut *io).poll(&mut unwoken()).is_ready();
    }
    let first = first.unwrap_or_default();
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}

/// hyper says "error" at the top and the cause below: both are wanted.
fn text(e: &hyper::Error) -> String {
    use std::error::Error as _;
    match e.source() {
        Some(source) => format!("{e}: {source}"),
        None => e.to_string(),
    }
}

/// Idle connections to one address, and how to open more.
pub struct Pool {
    /// The address.
    pub address: VaultAddress,
    idle: Mutex<Vec<Connection>>,
    keep: usize,
}

impl Pool {
    /// An empty pool that keeps at most `keep` idle connections.
    pub fn new(address: VaultAddress, keep: usize) -> Self {
        Self {
            address,
            idle: Mutex::new(Vec::new()),
            keep,
        }
    }

    /// The idle connection used last, if it still lives.
    pub fn idle(&self) -> Option<Connection> {
        loop {
            let mut connection = self.idle.lock().expect("no panic while locked").pop()?;
            if connection.is_reusable() {
                return Some(connection);
            }
        }
    }

    /// Takes a connection back after a whole exchange.
    pub fn give_back(&self, mut connection: Connection) {
        if !connection.send.is_ready() {
            return;
        }
        connection.idle_since = Instant::now();
        let mut idle = self.idle.lock().expect("no panic while locked");
        if idle.len() < self.keep {
            idle.push(connection);
        }
    }

    /// Forgets all idle connections: one of them proved dead.
    pub fn clear(&self) {
        self.idle.lock().expect("no panic while locked").clear();
    }
}

/// Opens connections: TCP, proxy, TLS.
pub struct Dialer {
    /// Opens byte streams.
    pub connector: Arc<dyn Connector>,
    /// TLS settings.
    pub tls: TlsSource,
    /// Proxy, if any.
    pub proxy: Option<(Proxy, Matcher)>,
}

impl Dialer {
    /// A dialer; the proxy's exemptions are parsed here.
    pub fn new(connector: Arc<dyn Connector>, tls: TlsSource, proxy: Option<Proxy>) -> Self {
        let proxy = proxy.map(|p| {
            let HostPort { host, port } = &p.at;
            let matcher = Matcher::builder()
                .all(format!("http://{host}:{port}"))
                .no(p.no_proxy.clone())
                .build();
            (p, matcher)
        });
        Self {
            connector,
            tls,
            proxy,
        }
    }

    /// Opens a connection to `address`.
    ///
    /// # Errors
    /// The system's, the proxy's or TLS's text; nothing has been sent.
    pub async fn dial(&self, address: &VaultAddress) -> Result<Connection, Broken> {
        let io = match self.proxy_for(address) {
            Some(proxy) => self.tunnel(proxy, &address.at).await?,
            None => self
                .connector
                .connect(&address.at)
                .await
                .map_err(|e| Broken::new(e, false))?,
        };
        if !address.https {
            return Connection::open(io).await;
        }
        let not_sent = |e: String| Broken::new(e, false);
        let config = self.tls.config().map_err(not_sent)?;
        let name = self.tls.server_name(&address.at.host).map_err(not_sent)?;
        let tls = tokio_rustls::TlsConnector::from(config)
            .connect(name, io)
            .await
            .map_err(|e| Broken::new(tls_text(&e), false))?;
        Connection::open(Box::new(tls)).await
    }

    fn proxy_for(&self, address: &VaultAddress) -> Option<&Proxy> {
        let (proxy, matcher) = self.proxy.as_ref()?;
        let uri = address.to_string().parse().ok()?;
        matcher.intercept(&uri).map(|_| proxy)
    }

    async fn tunnel(&self, proxy: &Proxy, to: &HostPort) -> Result<BoxIo, Broken> {
        let through = |e: &dyn std::fmt::Display| {
            Broken::new(
                format!("proxy {}:{}: {e}", proxy.at.host, proxy.at.port),
                false,
            )
        };
        let io = self
            .connector
            .connect(&proxy.at)
            .await
            .map_err(|e| through(&e))?;
        let (mut send, io) = http1::handshake::<_, OutBody>(TokioIo::new(io))
            .await
            .map_err(|e| through(&e))?;
        let host = if to.host.contains(':') {
            format!("[{}]", to.host)
        } else {
            to.host.clone()
        };
        let authority = format!("{host}:{}", to.port);
        let mut request = Request::connect(&authority).header(http::header::HOST, &authority);
        if let Some(credentials) = &proxy.credentials {
            use base64::Engine as _;
            let word = base64::engine::general_purpose::STANDARD.encode(credentials.expose());
            let mut value =
                http::HeaderValue::try_from(format!("Basic {word}")).map_err(|e| through(&e))?;
            value.set_sensitive(true);
            request = request.header(http::header::PROXY_AUTHORIZATION, value);
        }
        let request = request.body(OutBody::default()).map_err(|e| through(&e))?;
        let mut io = std::pin::pin!(io.with_upgrades());
        let mut upgraded = std::pin::pin!(async {
            let response = send.send_request(request).await.map_err(|e| through(&e))?;
            if !response.status().is_success() {
                return Err(through(&format!(
                    "CONNECT answered HTTP {}",
                    response.status().as_u16()
                )));
            }
            hyper::upgrade::on(response).await.map_err(|e| through(&e))
        });
        let mut closed = false;
        let upgraded = poll_fn(|cx| {
            if !closed {
                closed = io.as_mut().poll(cx).is_ready();
            }
            upgraded.as_mut().poll(cx)
        })
        .await?;
        Ok(Box::new(TokioIo::new(upgraded)))
    }
}

fn tls_text(e: &io::Error) -> String {
    format!("TLS: {e}")
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// What passes between the halves of one connection wakes nobody.
    #[tokio::test]
    async fn a_request_takes_one_turn_to_go_out_and_one_for_its_answer() {
        let (ours, mut theirs) = tokio::io::duplex(4096);
        let server = tokio::spawn(async move {
            for _ in 0..2 {
                let asked = theirs.read(&mut [0; 4096]).await.unwrap();
                assert_ne!(asked, 0);
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
                theirs.write_all(answer).await.unwrap();
            }
        });
        let mut connection = Connection::open(Box::new(ours)).await.unwrap();
        for _ in 0..2 {
            assert!(connection.is_reusable());
            let request = Request::get("/v1/x").header("host", "vault");
            let request = request.body(OutBody::default()).unwrap();
            let mut turns = 0;
            let mut call = std::pin::pin!(connection.call(request, 100));
            let received = poll_fn(|cx| {
                turns += 1;
                call.as_mut().poll(cx)
            });
            let received = received.await.unwrap();
            assert_eq!((&received.body[..], turns), (&b"{}"[..], 2));
        }
        server.await.unwrap();
    }
}
