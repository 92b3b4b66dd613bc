//! Requests into the model, answers out of it, faults in between.

use std::{future::pending, io, net::IpAddr, pin::Pin, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use jiff::fmt::rfc2822::DateTimePrinter;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    SimVault,
    fault::Verdict,
    http1::{Connection, End},
};
use crate::{ClientCert, Request, Response};

/// How an answer goes onto the wire.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    Whole,
    /// Only so many bytes of the body, then the connection closes.
    Cut(usize),
    /// More is announced than comes.
    TooLong,
}

/// What comes of a request.
pub(super) enum Exchange {
    Answer(Response, String, Shape),
    /// These bytes instead of HTTP, then the connection closes.
    Raw(Bytes),
    Close,
    Reset,
    Never,
}

/// A future that is compiled in this crate, and not in each crate that waits for it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A stream of any kind.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

impl SimVault {
    /// Serves HTTP/1.1 on a stream until the client, a fault or a time limit ends it.
    pub async fn serve_io<IO>(&self, io: IO, peer: IpAddr)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.serve_stream(io, peer, None, false).await;
    }

    /// Serves HTTP/1.1 or, if ALPN said so, HTTP/2, for a client with a certificate or without.
    pub async fn serve_stream<IO>(&self, io: IO, peer: IpAddr, cert: Option<ClientCert>, h2: bool)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.serve_until_reset(Box::new(io), peer, cert, h2, &|| {})
            .await;
    }

    /// The same; where the connection is to be reset, `reset` is told before the stream is dropped.
    pub(super) fn serve_until_reset<'a>(
        &'a self,
        io: Box<dyn Io>,
        peer: IpAddr,
        cert: Option<ClientCert>,
        h2: bool,
        reset: &'a (dyn Fn() + Sync),
    ) -> BoxFuture<'a, ()> {
        Box::pin(self.serve(io, peer, cert, h2, reset))
    }

    async fn serve(
        &self,
        io: Box<dyn Io>,
        peer: IpAddr,
        cert: Option<ClientCert>,
        h2: bool,
        reset: &(dyn Fn() + Sync),
    ) {
        let connection = self.next_connection();
        // how a connection ends is the client's business: errors have no one to go to
        if h2 {
            let _ = self.serve_h2(io, peer, cert, connection).await;
            return;
        }
        let mut served = Connection::new(io, self.clone(), peer, cert, connection);
        if matches!(served.run().await, Ok(End::Reset)) {
            reset();
        }
    }

    async fn serve_h2(
        &self,
        io: Box<dyn Io>,
        peer: IpAddr,
        cert: Option<ClientCert>,
        connection: u64,
    ) -> io::Result<()> {
        let service = service_fn(|request: hyper::Request<Incoming>| {
            let (vault, cert) = (self.clone(), cert.clone());
            async move { vault.exchange_h2(request, peer, cert, connection).await }
        });
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .auto_date_header(false)
            .serve_connection(TokioIo::new(io), service)
            .await
            .map_err(io::Error::other)
    }

    /// On HTTP/2 a closed or cut connection becomes a reset stream.
    async fn exchange_h2(
        &self,
        request: hyper::Request<Incoming>,
        peer: IpAddr,
        cert: Option<ClientCert>,
        connection: u64,
    ) -> io::Result<hyper::Response<Full<Bytes>>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let path = head
            .uri
            .path_and_query()
            .map_or_else(|| head.uri.path().to_owned(), ToString::to_string);
        let headers = head
            .headers
            .iter()
            .map(|(n, v)| {
                (
                    n.as_str().to_owned(),
                    String::from_utf8_lossy(v.as_bytes()).into_owned(),
                )
            })
            .collect();
        let request = Request {
            method: head.method.to_string(),
            path,
            headers,
            body,
            peer,
            client_cert: cert,
        };
        self.thawed(connection).await;
        let exchange = self.carry_out(&request, connection).await;
        self.thawed(connection).await;
        let gone = || io::Error::other("the stream ends here");
        match exchange {
            Exchange::Answer(response, date, Shape::Whole) if response.status != 0 => {
                let mut builder = hyper::Response::builder().status(response.status);
                for (name, value) in response.headers.iter().filter(|(n, _)| n != "Connection") {
                    builder = builder.header(name, value);
                }
                builder
                    .header("Date", date)
                    .body(Full::new(response.body))
                    .map_err(io::Error::other)
            }
            Exchange::Never => pending().await,
            _ => Err(gone()),
        }
    }

    /// Lets faults and model decide.
    pub(super) async fn carry_out(&self, request: &Request, connection: u64) -> Exchange {
        let handled = |then, shape| {
            let (response, at) = self.answer(request, connection, then);
            Exchange::Answer(response, self.http_date(at), shape)
        };
        match self.judge(request, connection) {
            Verdict::Status(status, body, mut headers) => {
                headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
                Exchange::Answer(
                    Response {
                        status,
                        headers,
                        body,
                    },
                    self.date(),
                    Shape::Whole,
                )
            }
            Verdict::Redirect(to) => {
                let headers = vec![("Location".to_owned(), to)];
                Exchange::Answer(
                    Response {
                        status: 307,
                        headers,
                        body: Bytes::new(),
                    },
                    self.date(),
                    Shape::Whole,
                )
            }
            Verdict::Hold => Exchange::Never,
            Verdict::CloseBefore => Exchange::Close,
            Verdict::Reset => Exchange::Reset,
            Verdict::HoldAfter => {
                handled(None, Shape::Whole);
                Exchange::Never
            }
            Verdict::CloseAfter => {
                handled(None, Shape::Whole);
                Exchange::Close
            }
            Verdict::Raw(bytes) => {
                handled(None, Shape::Whole);
                Exchange::Raw(bytes)
            }
            Verdict::Delay(d) => {
                tokio::time::sleep(d).await;
                handled(None, Shape::Whole)
            }
            Verdict::Then(id) => handled(Some(id), Shape::Whole),
            Verdict::CutBody(n) => handled(None, Shape::Cut(n)),
            Verdict::WrongContentLength => handled(None, Shape::TooLong),
            Verdict::Garbage(bytes) => match handled(None, Shape::Whole) {
                Exchange::Answer(response, date, shape) => Exchange::Answer(
                    Response {
                        body: bytes,
                        ..response
                    },
                    date,
                    shape,
                ),
                other => other,
            },
            Verdict::Pass => handled(None, Shape::Whole),
        }
    }

    /// The time for the header `Date`.
    pub(super) fn date(&self) -> String {
        self.http_date(self.now())
    }

    /// It comes from the model's clock: a real one would differ between two runs of a simulation.
    fn http_date(&self, at: Duration) -> String {
        let unix = self.core(|core| core.start_unix()) + at.as_secs();
        jiff::Timestamp::from_second(i64::try_from(unix).unwrap_or_default())
            .and_then(|t| DateTimePrinter::new().timestamp_to_rfc9110_string(&t))
            .unwrap_or_default()
    }
}
