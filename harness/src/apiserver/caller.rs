//! Requests to an API server by the `kube` client, answers as they came.
//!
//! The client's own comforts are off: nothing is retried, no error status becomes an error here. What a server refuses is
//! an [`Answer`].

use std::error::Error as _;
use std::fmt;

use bytes::{Buf, BytesMut};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Limited};
use kms_apiserver_api::{
    Answer, Body, Call, Events, ListOptions, Pending, Resource, Trouble, WatchEvent, Watching,
};
use kube::client::Body as KubeBody;
use kube::{Client, Config};
use serde_json::Value;
use tokio::time::timeout;

/// Largest answer that is read, in bytes: 100,000 small objects.
const ANSWER_LIMIT: usize = 256 << 20;
/// Largest single event of a watch, in bytes.
const EVENT_LIMIT: usize = 8 << 20;

/// A client of one API server.
#[derive(Clone)]
pub struct Caller(Client);

impl Caller {
    /// A client for this address and these credentials. Must be called within a tokio runtime.
    pub fn new(mut config: Config) -> Result<Self, Trouble> {
        config.default_retry = false;
        config.read_timeout = None;
        config.write_timeout = None;
        config.disable_compression = true;
        Client::try_from(config)
            .map(Self)
            .map_err(|error| Trouble::new(format!("set the client up: {}", chain(&error))))
    }

    /// The `kube` client itself, for typed access.
    pub fn client(&self) -> Client {
        self.0.clone()
    }

    /// One request; the caller hangs up after [`Call::timeout`].
    pub async fn call(&self, call: Call) -> Result<Answer, Trouble> {
        let name = format!("{call:?}");
        let limit = call.timeout;
        let exchange = async {
            let response = self.send(call).await?;
            let code = response.status().as_u16();
            let headers = response.headers().clone();
            let bytes = Limited::new(response.into_body(), ANSWER_LIMIT)
                .collect()
                .await
                .map_err(|error| Trouble::new(format!("read the answer: {error}")))?
                .to_bytes();
            answer(code, &headers, &bytes)
        };
        timeout(limit, exchange)
            .await
            .map_err(|_| Trouble::new(format!("no answer within {:.1} s", limit.as_secs_f32())))
            .flatten()
            .map_err(|trouble| Trouble::new(format!("{name}: {trouble}")))
    }

    /// Opens a watch.
    pub async fn watch(
        &self,
        resource: Resource,
        options: &ListOptions,
    ) -> Result<Watching, Trouble> {
        let call = Call::new(kms_apiserver_api::Method::Get, options.path(resource, true));
        let limit = call.timeout;
        let response = timeout(limit, self.send(call))
            .await
            .map_err(|_| Trouble::new(format!("no answer within {:.1} s", limit.as_secs_f32())))
            .flatten()
            .map_err(|trouble| Trouble::new(format!("watch {}: {trouble}", resource.plural())))?;
        if response.status().is_success() {
            return Ok(Watching::Open(Box::new(Stream {
                body: response.into_body(),
                unread: BytesMut::new(),
            })));
        }
        let code = response.status().as_u16();
        let headers = response.headers().clone();
        let bytes = response
            .into_body()
            .collect_bytes()
            .await
            .map_err(|error| Trouble::new(format!("read the answer: {}", chain(&error))))?;
        answer(code, &headers, &bytes).map(Watching::Refused)
    }

    async fn send(&self, call: Call) -> Result<Response<KubeBody>, Trouble> {
        let body = match &call.body {
            Some(body) => KubeBody::from(
                serde_json::to_vec(body).map_err(|error| Trouble::new(error.to_string()))?,
            ),
            None => KubeBody::empty(),
        };
        let mut request = Request::builder()
            .method(call.method.as_str())
            .uri(&call.path)
            .header("accept", "application/json");
        if call.body.is_some() {
            request = request.header(
                CONTENT_TYPE,
                call.content_type.unwrap_or("application/json"),
            );
        }
        let request = request
            .body(body)
            .map_err(|error| Trouble::new(format!("the path {:?}: {error}", call.path)))?;
        self.0
            .send(request)
            .await
            .map_err(|error| Trouble::new(chain(&error)))
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Caller")
    }
}

fn answer(code: u16, headers: &HeaderMap, bytes: &[u8]) -> Result<Answer, Trouble> {
    let is_json = headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let body = if is_json {
        let value = serde_json::from_slice(bytes)
            .map_err(|error| Trouble::new(format!("the answer {code} is no JSON: {error}")))?;
        Body::Json(value)
    } else {
        Body::Text(String::from_utf8_lossy(bytes).into_owned())
    };
    let retry_after = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    Ok(Answer {
        code,
        retry_after,
        body,
    })
}

/// An error with its causes; the client's own texts stop at the outermost.
fn chain(error: &kube::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = inner.source();
    }
    text
}

/// An open watch: one JSON document a line.
struct Stream {
    body: KubeBody,
    unread: BytesMut,
}

impl Stream {
    async fn event(&mut self) -> Result<Option<WatchEvent>, Trouble> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line = self.unread.split_to(end);
                self.unread.advance(1);
                return parse(&line).map(Some);
            }
            if self.unread.len() > EVENT_LIMIT {
                return Err(Trouble::new("an event of a watch is over 8 MiB long"));
            }
            match self.body.frame().await {
                // A server that was killed cuts the stream in the middle: closed, too.
                None | Some(Err(_)) => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.unread.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

impl Events for Stream {
    fn next(&mut self) -> Pending<'_, Option<WatchEvent>> {
        Box::pin(self.event())
    }
}

fn parse(line: &[u8]) -> Result<WatchEvent, Trouble> {
    let mut event: Value = serde_json::from_slice(line)
        .map_err(|error| Trouble::new(format!("an event of a watch is no JSON: {error}")))?;
    let kind = event["type"]
        .as_str()
        .ok_or_else(|| Trouble::new("an event of a watch has no type"))?
        .to_owned();
    Ok(WatchEvent {
        kind,
        object: event["object"].take(),
    })
}
