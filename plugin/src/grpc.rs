//! gRPC over HTTP/2, for three unary methods and nothing else.
//!
//! One path serves them all: read one message, answer with one message or with trailers only. A
//! decoded request shares the buffer it came in; an answer is written once.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::Service as HyperService;
use hyper_util::rt::{TokioIo, TokioTimer};
use prost::Message;
use tokio::time::{Instant, timeout};

use crate::core::Core;
use crate::event::{Event, Method};
use crate::fault::Code;
use crate::seam::BoxIo;
use crate::service::{CallError, margin};
use kms_authority::Readable;

/// Longest message, as the API server's own limit (KMS2-WIRE-10).
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// Limit of a call that names none.
const DEFAULT_LIMIT: Duration = Duration::from_secs(10);
/// No call takes longer, whatever it asks for.
const LONGEST_LIMIT: Duration = Duration::from_secs(3600);
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");

/// Runs the tasks of a connection's streams, and ends them with it.
#[derive(Clone, Default)]
pub struct Tasks(Arc<std::sync::Mutex<tokio::task::JoinSet<()>>>);

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let mut tasks = self.0.lock().expect("no panic while locked");
        while tasks.try_join_next().is_some() {}
        tasks.spawn(future);
    }
}

/// Serves one connection until it ends; after `draining` the peer is told to go away and calls in
/// flight finish.
pub async fn serve_connection(core: Arc<Core>, io: BoxIo, draining: impl Future<Output = ()>) {
    let max_streams = u32::try_from(core.max_streams()).unwrap_or(u32::MAX);
    let tasks = Tasks::default();
    let mut builder = http2::Builder::new(tasks.clone());
    builder
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .max_concurrent_streams(max_streams)
        // One caller on a local socket that may cancel a thousand calls at once.
        .max_pending_accept_reset_streams(max_streams as usize)
        .max_local_error_reset_streams(None)
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(4 * 1024 * 1024)
        .max_frame_size(64 * 1024)
        .max_header_list_size(16 * 1024);
    let mut connection =
        std::pin::pin!(builder.serve_connection(TokioIo::new(Readable::new(io)), Calls { core }));
    let mut draining = std::pin::pin!(draining);
    let mut told = false;
    loop {
        tokio::select! {
            biased;
            // The peer's loss of the connection is no event: it dials again.
            _ = connection.as_mut() => return,
            () = draining.as_mut(), if !told => {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

struct Calls {
    core: Arc<Core>,
}

type Answer = Response<AnswerBody>;

impl HyperService<Request<Incoming>> for Calls {
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let core = self.core.clone();
        Box::pin(async move { Ok(answer(core, request).await) })
    }
}

async fn answer(core: Arc<Core>, request: Request<Incoming>) -> Answer {
    let began = Instant::now();
    let method = match request.uri().path() {
        "/v2.KeyManagementService/Status" => Method::Status,
        "/v2.KeyManagementService/Encrypt" => Method::Encrypt,
        "/v2.KeyManagementService/Decrypt" => Method::Decrypt,
        _ => {
            return failed(
                Code::Unimplemented,
                "unknown method; this is v2.KeyManagementService",
            );
        }
    };
    if request.method() != http::Method::POST {
        return plain(StatusCode::METHOD_NOT_ALLOWED);
    }
    let is_grpc = |v: &HeaderValue| v.as_bytes().starts_with(b"application/grpc");
    if !request
        .headers()
        .get(http::header::CONTENT_TYPE)
        .is_some_and(is_grpc)
    {
        return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let limit = match request.headers().get("grpc-timeout").map(parse_timeout) {
        None => None,
        Some(Some(limit)) => Some(limit),
        Some(None) => return failed(Code::InvalidArgument, "grpc-timeout is malformed"),
    };
    if let Some(limit) = limit {
        core.note_caller_limit(limit);
    }
    let limit = limit.unwrap_or(DEFAULT_LIMIT).min(LONGEST_LIMIT);
    let deadline = began + (limit - margin(limit));
    let read = timeout(limit, read_message(request.into_body())).await;
    let message = match read {
        Ok(Ok(message)) => message,
        Ok(Err((code, text))) => return failed(code, text),
        Err(_) => return failed(Code::DeadlineExceeded, "the request did not arrive in time"),
    };
    dispatch(&core, method, message, began, deadline).await
}

async fn dispatch(
    core: &Core,
    method: Method,
    message: Bytes,
    began: Instant,
    deadline: Instant,
) -> Answer {
    match method {
        Method::Status => {
            // StatusRequest has no fields; unknown ones are ignored (KMS2-WIRE-02).
            if kms_v2_api::StatusRequest::decode(message).is_err() {
                return malformed(core, method, began);
            }
            finish(core, method, began, "", "", core.service().status())
        }
        Method::Encrypt => {
            let Ok(request) = kms_v2_api::EncryptRequest::decode(message) else {
                return malformed(core, method, began);
            };
            let uid = core.uid(&request.uid);
            let result = core.service().encrypt(request, deadline).await;
            finish(core, method, began, &uid, "", result)
        }
        Method::Decrypt => {
            let Ok(request) = kms_v2_api::DecryptRequest::decode(message) else {
                return malformed(core, method, began);
            };
            let uid = core.uid(&request.uid);
            // For the log: whatever is no key_id of ours may hold anything.
            let key_id = Some(&request.key_id)
                .filter(|id| crate::key::id::is_key_id(id))
                .cloned();
            let result = core.service().decrypt(request, deadline).await;
            finish(
                core,
                method,
                began,
                &uid,
                key_id.as_deref().unwrap_or_default(),
                result,
            )
        }
    }
}

fn malformed(core: &Core, method: Method, began: Instant) -> Answer {
    let error = CallError {
        code: Code::InvalidArgument,
        message: "the message cannot be parsed".to_owned(),
        http_status: 0,
        remedy: "request",
        request_id: 0,
    };
    finish::<kms_v2_api::StatusResponse>(core, method, began, "", "", Err(error))
}

fn finish<M: Message>(
    core: &Core,
    method: Method,
    began: Instant,
    uid: &str,
    key_id: &str,
    result: Result<M, CallError>,
) -> Answer {
    let (code, http_status, message, remedy, request_id) = match &result {
        Ok(_) => (Code::Ok, 0, "", "none", 0),
        Err(e) => (
            e.code,
            e.http_status,
            e.message.as_str(),
            e.remedy,
            e.request_id,
        ),
    };
    core.observe(&Event::Call {
        method,
        code: code as u32,
        uid,
        request_id,
        http_status,
        latency: began.elapsed(),
        key_id,
        message,
        remedy,
    });
    match result {
        Ok(message) => {
            let mut data = BytesMut::with_capacity(5 + message.encoded_len());
            data.put_u8(0);
            data.put_u32(message.encoded_len() as u32);
            message.encode(&mut data).expect("the buffer grows");
            let mut answer = Response::new(AnswerBody::Message(data.freeze()));
            answer
                .headers_mut()
                .insert(http::header::CONTENT_TYPE, CONTENT_TYPE);
            answer
        }
        Err(error) => failed(error.code, &error.message),
    }
}

/// Trailers only: the code and a text, percent-encoded.
fn failed(code: Code, text: &str) -> Answer {
    let mut answer = Response::new(AnswerBody::Done);
    let headers = answer.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, CONTENT_TYPE);
    headers.insert("grpc-status", HeaderValue::from(code as u32));
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            _ => write!(encoded, "%{byte:02X}").expect("a string grows"),
        }
    }
    if let Ok(value) = HeaderValue::try_from(encoded) {
        headers.insert("grpc-message", value);
    }
    answer
}

fn plain(status: StatusCode) -> Answer {
    let mut answer = Response::new(AnswerBody::Done);
    *answer.status_mut() = status;
    answer
}

/// `grpc-timeout`: at most eight digits and a unit.
fn parse_timeout(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(n * 3600),
        "M" => Duration::from_secs(n * 60),
        "S" => Duration::from_secs(n),
        "m" => Duration::from_millis(n),
        "u" => Duration::from_micros(n),
        "n" => Duration::from_nanos(n),
        _ => return None,
    })
}

/// The one message of a unary request.
async fn read_message(mut body: Incoming) -> Result<Bytes, (Code, &'static str)> {
    let mut whole: Option<Bytes> = None;
    let mut more = BytesMut::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(frame) = frame else {
            return Err((Code::Unavailable, "the request was cut"));
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if more.len() + data.len() + whole.as_ref().map_or(0, Bytes::len) > MAX_MESSAGE_BYTES + 5 {
            return Err((Code::ResourceExhausted, "the request is larger than 4 MiB"));
        }
        match whole.take() {
            None if more.is_empty() => whole = Some(data),
            None => more.extend_from_slice(&data),
            Some(first) => {
                more.reserve(first.len() + data.len());
                more.extend_from_slice(&first);
                more.extend_from_slice(&data);
            }
        }
    }
    let mut message = whole.unwrap_or_else(|| more.freeze());
    if message.len() < 5 {
        return Err((Code::InvalidArgument, "the request holds no message"));
    }
    match message.get_u8() {
        0 => {}
        1 => return Err((Code::Unimplemented, "compressed messages are not supported")),
        _ => return Err((Code::InvalidArgument, "the message frame is malformed")),
    }
    let length = message.get_u32() as usize;
    if length > MAX_MESSAGE_BYTES {
        return Err((Code::ResourceExhausted, "the request is larger than 4 MiB"));
    }
    if length != message.len() {
        return Err((
            Code::InvalidArgument,
            "the request holds not exactly one message",
        ));
    }
    Ok(message)
}

/// Body of an answer: one message and its trailers, or nothing.
pub enum AnswerBody {
    /// The framed message is still to be sent.
    Message(Bytes),
    /// The trailers are still to be sent.
    Trailers,
    /// All is sent.
    Done,
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.as_mut().get_mut();
        Poll::Ready(match std::mem::replace(this, Self::Done) {
            Self::Message(data) => {
                *this = Self::Trailers;
                Some(Ok(Frame::data(data)))
            }
            Self::Trailers => {
                let mut trailers = HeaderMap::with_capacity(1);
                trailers.insert("grpc-status", HeaderValue::from_static("0"));
                Some(Ok(Frame::trailers(trailers)))
            }
            Self::Done => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_in_every_unit() {
        for (text, limit) in [
            ("3S", Some(Duration::from_secs(3))),
            ("2999876u", Some(Duration::from_micros(2_999_876))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("1H", Some(Duration::from_secs(3600))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("", None),
            ("S", None),
            ("3", None),
            ("-3S", None),
            ("3s", None),
            ("999999999S", None),
        ] {
            assert_eq!(
                parse_timeout(&HeaderValue::from_static(text)),
                limit,
                "{text}"
            );
        }
    }
}
