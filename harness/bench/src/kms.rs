//! A lean gRPC client for one unix socket: one HTTP/2 connection, unary calls, prost messages.
//! Leaner than a general client so that what is measured is the plugin.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use kms_v2_api::{
    DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, StatusRequest, StatusResponse,
};
use prost::Message;
use tokio::net::UnixStream;

/// What a call came to when it was not an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The plugin answered with a gRPC error.
    Grpc {
        /// gRPC code, never 0.
        code: u32,
        /// The plugin's text.
        message: String,
    },
    /// No gRPC answer came: connection, protocol, or the answer does not parse.
    Transport(String),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grpc { code, message } => write!(f, "gRPC {code}: {message}"),
            Self::Transport(text) => write!(f, "transport: {text}"),
        }
    }
}

impl std::error::Error for CallError {}

fn transport(error: impl fmt::Display) -> CallError {
    CallError::Transport(error.to_string())
}

/// One channel to a plugin. Clones share its connection; it ends with the last of them.
#[derive(Clone)]
pub struct Kms {
    sender: SendRequest<Full<Bytes>>,
    timeout: HeaderValue,
}

impl Kms {
    /// Connects. Each call will tell the plugin the limit `timeout`, as an API server does;
    /// keeping to it is up to the caller.
    pub async fn connect(socket: &Path, timeout: Duration) -> Result<Self, CallError> {
        let stream = UnixStream::connect(socket).await.map_err(transport)?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .handshake(TokioIo::new(stream))
            .await
            .map_err(transport)?;
        // Ends by itself when the senders are dropped; its error is theirs.
        tokio::spawn(async move { drop(connection.await) });
        let timeout =
            HeaderValue::from_str(&format!("{}m", timeout.as_millis())).map_err(transport)?;
        Ok(Self { sender, timeout })
    }

    /// `Status`.
    pub async fn status(&self) -> Result<StatusResponse, CallError> {
        self.call("Status", &StatusRequest::default()).await
    }

    /// `Encrypt`.
    pub async fn encrypt(&self, request: &EncryptRequest) -> Result<EncryptResponse, CallError> {
        self.call("Encrypt", request).await
    }

    /// `Decrypt`.
    pub async fn decrypt(&self, request: &DecryptRequest) -> Result<DecryptResponse, CallError> {
        self.call("Decrypt", request).await
    }

    async fn call<A: Message + Default>(
        &self,
        method: &'static str,
        message: &impl Message,
    ) -> Result<A, CallError> {
        let path = match method {
            "Status" => "http://localhost/v2.KeyManagementService/Status",
            "Encrypt" => "http://localhost/v2.KeyManagementService/Encrypt",
            _ => "http://localhost/v2.KeyManagementService/Decrypt",
        };
        let request = Request::builder()
            .method(Method::POST)
            .uri(Uri::from_static(path))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/grpc"))
            .header(TE, HeaderValue::from_static("trailers"))
            .header("grpc-timeout", &self.timeout)
            .body(Full::new(frame(message)))
            .map_err(transport)?;
        let response = self
            .sender
            .clone()
            .send_request(request)
            .await
            .map_err(transport)?;
        if response.headers().contains_key("grpc-status") {
            verdict(response.headers())?;
        }
        if !response.status().is_success() {
            return Err(CallError::Transport(format!("HTTP {}", response.status())));
        }
        let body = response.into_body().collect().await.map_err(transport)?;
        verdict(body.trailers().ok_or_else(|| transport("no trailers"))?)?;
        A::decode(unframe(&body.to_bytes())?).map_err(transport)
    }
}

/// Fails unless the headers or trailers say `grpc-status: 0`.
fn verdict(headers: &HeaderMap) -> Result<(), CallError> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status").and_then(|code| code.parse().ok()) {
        Some(0) => Ok(()),
        Some(code) => Err(CallError::Grpc {
            code,
            message: text("grpc-message").unwrap_or_default().to_owned(),
        }),
        None => Err(transport("no grpc-status")),
    }
}

fn frame(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut framed = BytesMut::with_capacity(5 + length);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(length).expect("requests are small"));
    message.encode(&mut framed).expect("the buffer grows");
    framed.freeze()
}

fn unframe(body: &Bytes) -> Result<Bytes, CallError> {
    match body.first_chunk::<5>() {
        Some(&[0, a, b, c, d]) if u32::from_be_bytes([a, b, c, d]) as usize == body.len() - 5 => {
            Ok(body.slice(5..))
        }
        _ => Err(transport("the answer is not one uncompressed gRPC message")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_back_and_a_cut_or_compressed_one_refused() {
        let request = EncryptRequest {
            plaintext: vec![7; 32].into(),
            uid: "u".into(),
        };
        let framed = frame(&request);
        assert_eq!(
            EncryptRequest::decode(unframe(&framed).unwrap()).unwrap(),
            request
        );
        assert!(unframe(&framed.slice(..framed.len() - 1)).is_err());
        let mut compressed = framed.to_vec();
        compressed[0] = 1;
        assert!(unframe(&compressed.into()).is_err());
        assert!(unframe(&Bytes::new()).is_err());
    }

    #[test]
    fn an_error_in_the_trailers_is_not_an_answer() {
        let mut headers = HeaderMap::new();
        assert!(matches!(verdict(&headers), Err(CallError::Transport(_))));
        headers.insert("grpc-status", HeaderValue::from_static("14"));
        headers.insert("grpc-message", HeaderValue::from_static("sealed"));
        assert_eq!(
            verdict(&headers),
            Err(CallError::Grpc {
                code: 14,
                message: "sealed".into()
            })
        );
        headers.insert("grpc-status", HeaderValue::from_static("0"));
        assert_eq!(verdict(&headers), Ok(()));
    }
}
