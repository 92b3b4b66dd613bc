//! HTTP around [`Api`]: connections in, chunked events out. Plain HTTP; for loopback and simulated networks.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Request as HttpRequest, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::rest::Refusal;
use crate::serve::{Api, Reply, Request, WatchReply};

/// No body is taken that is longer: kube-apiserver's limit, in bytes.
const MAX_BODY: usize = 3 << 20;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Who may ask for anything but the health paths and the version.
#[derive(Clone)]
pub struct Tokens(Option<Arc<Vec<String>>>);

impl Tokens {
    /// Everybody.
    pub fn anyone() -> Self {
        Tokens(None)
    }

    /// Who has one of these bearer tokens.
    pub fn only(tokens: Vec<String>) -> Self {
        Tokens(Some(Arc::new(tokens)))
    }

    fn allow(&self, head: &http::request::Parts) -> bool {
        let Some(tokens) = &self.0 else { return true };
        let path = head.uri.path();
        let public = ["/healthz", "/livez", "/readyz", "/version"]
            .iter()
            .any(|public| {
                path.strip_prefix(public)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
        let token = head
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        public || token.is_some_and(|token| tokens.iter().any(|known| known == token))
    }
}

/// Serves one connection until it ends. Dropped, it ends at once.
pub async fn serve_connection<T>(api: Arc<Api>, tokens: Tokens, stream: T)
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request| {
        let (api, tokens) = (Arc::clone(&api), tokens.clone());
        async move { Ok::<_, Infallible>(answer(&api, &tokens, request).await) }
    });
    let mut server = auto::Builder::new(TokioExecutor::new());
    // the date would come from the system's clock
    server.http1().auto_date_header(false);
    server.http2().auto_date_header(false);
    // a client that hangs up or talks nonsense ends its own connection only
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(api: &Api, tokens: &Tokens, request: HttpRequest<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    if !tokens.allow(&head) {
        let refusal = Refusal::unauthorized();
        return document(refusal.code, &refusal.status);
    }
    let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
        return text(413, "http: request body too large\n".to_owned());
    };
    let text_of = |name| {
        let value = head.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let request = Request {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        accept: text_of(header::ACCEPT),
        content_type: text_of(header::CONTENT_TYPE),
        body: body.to_bytes(),
    };
    match api.handle(request).await {
        Reply::Text { code, body } => text(code, body),
        Reply::Json {
            code,
            retry_after,
            body,
        } => {
            let mut response = document(code, &body);
            if let Some(seconds) = retry_after {
                response
                    .headers_mut()
                    .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            response
        }
        Reply::Watch(watch) => events(watch),
    }
}

fn text(code: u16, body: String) -> Response<Body> {
    let body = Full::new(Bytes::from(body)).boxed_unsync();
    response(code, "text/plain; charset=utf-8", body)
}

fn document(code: u16, body: &Value) -> Response<Body> {
    let mut bytes = serde_json::to_vec(body).expect("a JSON value has a text");
    bytes.push(b'\n');
    response(
        code,
        "application/json",
        Full::new(Bytes::from(bytes)).boxed_unsync(),
    )
}

fn events(watch: WatchReply) -> Response<Body> {
    let events = stream::unfold(watch, |mut watch| async move {
        let event = watch.next().await?;
        let mut bytes = serde_json::to_vec(&event).expect("a JSON value has a text");
        bytes.push(b'\n');
        Some((Ok(Frame::data(Bytes::from(bytes))), watch))
    });
    response(
        200,
        "application/json",
        BodyExt::boxed_unsync(StreamBody::new(events)),
    )
}

fn response(code: u16, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = http::StatusCode::from_u16(code).expect("codes are those of HTTP");
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
