//! Calls through the gRPC library (tonic), with the bytes of each message in our own hands.
//!
//! What the library cannot send, or would hide, goes through [`crate::raw`].

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use kms_history::Outcome;
use kms_v2_api::SERVICE;
use tonic::codegen::http::Uri;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::codec::RawCodec;
use crate::facts::{self, Decoded, Spellings};
use crate::target::Connect;

/// Marks an error of ours while dialling, so that it is not taken for the subject's answer.
#[derive(Debug)]
struct DialError(std::io::Error);

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Error for DialError {}

/// A connection that is made with the first call and again after a loss.
#[derive(Clone)]
pub(crate) struct Client {
    channel: Channel,
}

/// Largest answer taken, in bytes; above the API server's own 4 MiB so that a judge can see it.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

impl Client {
    /// A client for the target; nothing is dialled yet.
    pub fn new(connect: Arc<dyn Connect>) -> Self {
        let dial = move |_: Uri| {
            let connect = connect.clone();
            async move { connect.connect().await.map(TokioIo::new).map_err(DialError) }
        };
        let channel = Endpoint::from_static("http://localhost")
            .user_agent("grpc-go/1.82.1")
            .expect("a plain user agent is a header value")
            .connect_with_connector_lazy(tower::service_fn(dial));
        Client { channel }
    }

    /// One call. `path` is a method's short name, or a whole path that begins with a slash.
    pub async fn call(
        &self,
        path: &str,
        body: Bytes,
        limit: Duration,
        secret: &Spellings,
    ) -> (Outcome, Option<Decoded>) {
        let path = if path.starts_with('/') {
            path.into()
        } else {
            format!("/{SERVICE}/{path}")
        };
        let Ok(full) = PathAndQuery::try_from(path.as_str()) else {
            return (
                Outcome::NotConnected {
                    reason: format!("{path:?} is no path"),
                },
                None,
            );
        };
        let method = path.strip_prefix(&format!("/{SERVICE}/")).unwrap_or(&path);
        let mut grpc = tonic::client::Grpc::new(self.channel.clone())
            .max_decoding_message_size(MAX_ANSWER)
            .max_encoding_message_size(usize::MAX);
        let mut request = Request::new(body);
        request.set_timeout(limit);
        let call = async {
            if let Err(error) = grpc.ready().await {
                return Err(Status::from_error(Box::new(error)));
            }
            grpc.unary(request, full, RawCodec).await
        };
        match tokio::time::timeout(limit, call).await {
            Err(_) => (Outcome::TimedOut, None),
            Ok(Err(status)) => (failure(&status, secret), None),
            Ok(Ok(response)) => match facts::decode(method, response.get_ref()) {
                Ok(decoded) => (Outcome::Ok(decoded.answer.clone()), Some(decoded)),
                Err(reason) => (Outcome::Unreadable { reason }, None),
            },
        }
    }
}

/// Tells the subject's own status from what the library made of a transport fault.
fn failure(status: &Status, secret: &Spellings) -> Outcome {
    let mut reason = String::new();
    let mut cause = status.source();
    while let Some(error) = cause {
        if let Some(dial) = error.downcast_ref::<DialError>() {
            return Outcome::NotConnected {
                reason: dial.to_string(),
            };
        }
        if let Some(h2) = error.downcast_ref::<h2::Error>() {
            let code = h2.reason().map(u32::from);
            if let Some(code) = code.filter(|_| h2.is_reset()) {
                return Outcome::Reset { code };
            }
            let goaway = code.filter(|_| h2.is_go_away());
            return Outcome::Closed {
                goaway,
                reason: h2.to_string(),
            };
        }
        if error.is::<tonic::TimeoutExpired>() {
            return Outcome::TimedOut;
        }
        reason = error.to_string();
        cause = error.source();
    }
    if status.source().is_some() && status.code() != Code::Ok {
        return Outcome::Closed {
            goaway: None,
            reason,
        };
    }
    let message = secret.redact(status.message().to_string());
    Outcome::Error {
        code: status.code() as u32,
        message: facts::text(message.as_bytes()),
    }
}
