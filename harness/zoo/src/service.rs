//! The plugin on a socket, as tonic serves it, over raw message bytes.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kms_conformance::RawCodec;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::codegen::http;
use tonic::server::UnaryService;
use tonic::{Request, Response, Status};

use crate::bug::Bug;
use crate::faults::{Unfinished, Wire};
use crate::plugin::Plugin;

/// PINGs that [`Bug::PingsAreAFlood`] bears on a connection.
const PINGS: usize = 10;

/// The plugin as one life of it serves. Clones are the same life.
#[derive(Clone)]
pub(crate) struct Service {
    pub plugin: Arc<Plugin>,
    /// Told when a bug wants the process to die.
    pub crash: Arc<Notify>,
    /// Told when connections are to be dropped.
    pub drop_all: Arc<Notify>,
    /// It is the second node.
    pub elsewhere: bool,
    /// Turns true when it is to stop.
    pub stop: watch::Receiver<bool>,
}

/// Accepts until it is dropped, when connections die with it as with a process, or until it is told to stop, when the
/// calls under way are finished. A listener that fails ends it, too.
pub(crate) async fn accept(listener: UnixListener, service: Service) -> io::Result<()> {
    let hangs = service.plugin.is(Bug::StopLeavesCallsHanging);
    let mut stop = service.stop.clone();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = service.crash.notified() => return Ok(()),
            () = service.drop_all.notified() => connections.abort_all(),
            _ = stop.wait_for(|stop| *stop), if !hangs => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                connections.spawn(carry(accepted?.0, service.clone()));
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// One connection to its end; what it ends with is its peer's business.
async fn carry(inner: UnixStream, service: Service) {
    let pings_left = service.plugin.is(Bug::PingsAreAFlood).then_some(PINGS);
    let hangs = service.plugin.is(Bug::StopLeavesCallsHanging);
    let mut stop = service.stop.clone();
    let stream = TokioIo::new(Wire { inner, pings_left });
    let answer = service_fn(move |request| {
        let service = service.clone();
        async move { Ok::<_, Infallible>(service.answer(request).await) }
    });
    let connection = http2::Builder::new(TokioExecutor::new()).serve_connection(stream, answer);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        biased;
        _ = connection.as_mut() => true,
        _ = stop.wait_for(|stop| *stop), if !hangs => false,
    };
    if !ended {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}

impl Service {
    async fn answer(self, request: http::Request<Incoming>) -> http::Response<Body> {
        let plugin = &self.plugin;
        if plugin.is(Bug::StopLeavesCallsHanging) && *self.stop.borrow() {
            pending::<()>().await;
        }
        let path = request.uri().path();
        let method = match path.strip_prefix("/v2.KeyManagementService/") {
            Some(method) => method,
            None if plugin.is(Bug::AnyPackageServed) => path.rsplit('/').next().unwrap_or(""),
            None => return Status::unimplemented("no such service").into_http(),
        };
        let method = method.to_string();
        let kind = request.headers().get("content-type");
        let grpc = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        if !grpc && !plugin.is(Bug::AnyContentTypeServed) {
            let mut response = http::Response::new(Body::default());
            *response.status_mut() = http::StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return response;
        }
        let mut unfinished = Unfinished {
            poisoned: &plugin.faults.poisoned,
            done: !plugin.is(Bug::CancelPoisons),
        };
        let service = self.clone();
        let answer = tonic::server::Grpc::new(RawCodec)
            .unary(Method { service, method }, request)
            .await;
        unfinished.done = true;
        answer
    }
}

struct Method {
    service: Service,
    method: String,
}

impl UnaryService<Bytes> for Method {
    type Response = Bytes;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Bytes>, Status>> + Send>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let (service, method) = (self.service.clone(), self.method.clone());
        Box::pin(async move {
            let plugin = &service.plugin;
            let headers = request.metadata().clone().into_headers();
            let mut answer = plugin.serve(&method, &headers, request.into_inner()).await;
            if service.elsewhere {
                answer = plugin.other_node(&method, answer);
            }
            if plugin.crashed() {
                service.crash.notify_one();
                pending::<()>().await;
            }
            answer.map(Response::new)
        })
    }
}
