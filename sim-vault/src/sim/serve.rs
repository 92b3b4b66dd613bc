//! HTTP on a byte stream: requests into the model, answers out of it, faults in between.

use std::{
    future::pending,
    io,
    net::IpAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{SimVault, fault::Verdict};
use crate::{ClientCert, Request, Response};

/// Go's server writes bodies above this size in chunks.
const CHUNKED_ABOVE: usize = 2048;
/// How long the server waits for the rest of unfinished headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(300);

/// What makes hyper drop a connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection closes here")]
struct Closed;

impl SimVault {
    /// Serves HTTP/1.1 on a stream until the client, a fault or the idle limit ends it.
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
        let connection = self.next_connection();
        let activity = Arc::new(Activity::default());
        let service = service_fn({
            let (vault, activity) = (self.clone(), Arc::clone(&activity));
            move |request| {
                let (vault, activity, cert) = (vault.clone(), Arc::clone(&activity), cert.clone());
                async move {
                    activity.begin();
                    let answer = vault.exchange(request, peer, cert, connection).await;
                    activity.end();
                    answer
                }
            }
        });
        let io = TokioIo::new(io);
        // how a connection ends is the client's business: errors have no one to go to
        if h2 {
            let served = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .auto_date_header(false)
                .serve_connection(io, service);
            let _ = served.await;
            return;
        }
        let mut served = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .auto_date_header(false)
                .title_case_headers(true)
                .serve_connection(io, service)
        );
        let mut idle = pin!(self.idle(&activity));
        let mut closing = false;
        loop {
            tokio::select! {
                biased;
                _ = served.as_mut() => return,
                () = idle.as_mut(), if !closing => {
                    closing = true;
                    served.as_mut().graceful_shutdown();
                }
            }
        }
    }

    /// Ends when the connection has been idle for the limit.
    async fn idle(&self, activity: &Activity) {
        loop {
            let seen = activity.count.load(Ordering::Relaxed);
            let limit = self.state().idle_limit;
            // without a limit look again now and then: one may be set
            tokio::time::sleep(limit.unwrap_or(Duration::from_secs(1))).await;
            let quiet = activity.count.load(Ordering::Relaxed) == seen && seen.is_multiple_of(2);
            if limit.is_some() && quiet {
                return;
            }
        }
    }

    async fn exchange(
        &self,
        request: hyper::Request<Incoming>,
        peer: IpAddr,
        cert: Option<ClientCert>,
        connection: u64,
    ) -> Result<hyper::Response<Answer>, Closed> {
        let (head, body) = request.into_parts();
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => return Err(Closed),
        };
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
        let answer = self.carry_out(&request, connection).await;
        // an answer made before the freeze must not leave during it
        self.thawed(connection).await;
        answer
    }

    async fn carry_out(
        &self,
        request: &Request,
        connection: u64,
    ) -> Result<hyper::Response<Answer>, Closed> {
        let verdict = self.judge(request, connection);
        let handled = |then| {
            let (response, at) = self.answer(request, connection, then);
            (response, self.http_date(at))
        };
        match verdict {
            Verdict::Status(code, body, mut headers) => {
                headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
                let date = self.http_date(self.now());
                build(
                    Response {
                        status: code,
                        headers,
                        body,
                    },
                    &date,
                    Shape::Whole,
                    request,
                )
            }
            Verdict::Redirect(to) => {
                let response = Response {
                    status: 307,
                    headers: vec![("Location".to_owned(), to)],
                    body: super::no_bytes(),
                };
                let date = self.http_date(self.now());
                build(response, &date, Shape::Whole, request)
            }
            Verdict::Hold => pending().await,
            Verdict::CloseBefore => Err(Closed),
            Verdict::HoldAfter => {
                handled(None);
                pending().await
            }
            Verdict::CloseAfter => {
                handled(None);
                Err(Closed)
            }
            Verdict::Delay(d) => {
                tokio::time::sleep(d).await;
                let (response, date) = handled(None);
                build(response, &date, Shape::Whole, request)
            }
            Verdict::Then(id) => {
                let (response, date) = handled(Some(id));
                build(response, &date, Shape::Whole, request)
            }
            Verdict::CutBody(n) => {
                let (response, date) = handled(None);
                build(response, &date, Shape::Cut(n), request)
            }
            Verdict::WrongContentLength => {
                let (response, date) = handled(None);
                build(response, &date, Shape::TooLong, request)
            }
            Verdict::Garbage(bytes) => {
                let (mut response, date) = handled(None);
                response.body = bytes;
                build(response, &date, Shape::Whole, request)
            }
            Verdict::Pass => {
                let (response, date) = handled(None);
                build(response, &date, Shape::Whole, request)
            }
        }
    }

    /// `Date` comes from the model's clock: a real one would differ between two runs of a simulation.
    fn http_date(&self, at: Duration) -> String {
        let unix = self.core(|core| core.start_unix()) + at.as_secs();
        jiff::Timestamp::from_second(i64::try_from(unix).unwrap_or_default())
            .map(|t| t.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
            .unwrap_or_default()
    }
}

/// Counts beginnings and ends of requests: even means idle.
#[derive(Default)]
struct Activity {
    count: AtomicU64,
}

impl Activity {
    fn begin(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Clone, Copy)]
enum Shape {
    Whole,
    Cut(usize),
    TooLong,
}

fn build(
    response: Response,
    date: &str,
    shape: Shape,
    request: &Request,
) -> Result<hyper::Response<Answer>, Closed> {
    if response.status == 0 {
        return Err(Closed);
    }
    let mut builder = hyper::Response::builder().status(response.status);
    for (name, value) in &response.headers {
        builder = builder.header(name, value);
    }
    builder = builder.header("Date", date);
    let length = response.body.len();
    let fixed = match shape {
        Shape::Whole if length <= CHUNKED_ABOVE => response.status != 204,
        Shape::Whole => false,
        Shape::Cut(_) => {
            builder = builder.header("Content-Length", length);
            false
        }
        Shape::TooLong => {
            builder = builder.header("Content-Length", length + 16);
            false
        }
    };
    let rest = match shape {
        Shape::Cut(n) => response.body.slice(..n.min(length)),
        _ => response.body,
    };
    let head = request.method == "HEAD";
    let broken = !matches!(shape, Shape::Whole);
    let answer = Answer {
        rest: (!rest.is_empty() && !head).then_some(rest),
        fixed,
        broken,
        flushed: false,
    };
    builder.body(answer).map_err(|_| Closed)
}

/// A body that may end in the middle.
struct Answer {
    rest: Option<Bytes>,
    /// Its length is announced.
    fixed: bool,
    /// It ends with an error.
    broken: bool,
    flushed: bool,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(bytes) = self.rest.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if !self.broken {
            return Poll::Ready(None);
        }
        if !self.flushed {
            // one turn for hyper to write out what it has
            self.flushed = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(io::Error::other("the body ends here"))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none() && !self.broken
    }

    fn size_hint(&self) -> SizeHint {
        if self.fixed {
            return SizeHint::with_exact(self.rest.as_ref().map_or(0, |b| b.len() as u64));
        }
        SizeHint::default()
    }
}
