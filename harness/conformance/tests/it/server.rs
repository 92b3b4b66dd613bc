//! Serves a plugin on a temporary unix socket, as tonic does, and restarts or kills it on demand.

use std::convert::Infallible;
use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use kms_conformance::{BoxFuture, Hook, Target};
use tokio::net::UnixListener;
use tokio::sync::{Mutex, Notify};
use tokio::task::{JoinHandle, JoinSet};
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http;
use tonic::server::UnaryService;
use tonic::{Request, Response, Status};

use crate::breakages::Breakage;
use crate::faults::{Unfinished, Wire};
use crate::plugin::Plugin;

/// A served plugin. The socket goes with it.
pub struct Served {
    pub target: Target,
    _folder: tempfile::TempDir,
}

struct Life {
    plugin: Arc<Plugin>,
    socket: PathBuf,
    running: Mutex<Option<JoinHandle<()>>>,
}

impl Served {
    pub async fn start(mut plugin: Plugin) -> Self {
        let folder = tempfile::tempdir().unwrap();
        plugin.log = Some(folder.path().join("plugin.log"));
        let plugin = Arc::new(plugin);
        let socket = folder.path().join("kms.sock");
        let life = Arc::new(Life {
            plugin: plugin.clone(),
            socket: socket.clone(),
            running: Mutex::new(None),
        });
        life.start().await;
        let mut target = Target::unix(socket);
        target.restart = Some(Arc::new(Restart(life)));
        target.rotate = Some(Arc::new(Rotate(plugin.clone())));
        target.logs = plugin.log.clone();
        Served {
            target,
            _folder: folder,
        }
    }
}

impl Life {
    async fn start(&self) {
        let listener = UnixListener::bind(&self.socket).unwrap();
        let open = self.plugin.is(Breakage::SocketForEverybody);
        let mode = |mode| Permissions::from_mode(mode);
        let folder = self.socket.parent().unwrap();
        set_permissions(folder, mode(if open { 0o755 } else { 0o700 })).unwrap();
        set_permissions(&self.socket, mode(if open { 0o777 } else { 0o600 })).unwrap();
        let service = Service {
            plugin: self.plugin.clone(),
            crash: Arc::new(Notify::new()),
        };
        *self.running.lock().await = Some(tokio::spawn(accept(listener, service)));
    }
}

struct Restart(Arc<Life>);

impl Hook for Restart {
    fn call(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async {
            if let Some(task) = self.0.running.lock().await.take() {
                task.abort();
                let _ = task.await;
            }
            std::fs::remove_file(&self.0.socket).map_err(|e| e.to_string())?;
            self.0.plugin.restarted();
            self.0.start().await;
            Ok(())
        })
    }
}

struct Rotate(Arc<Plugin>);

impl Hook for Rotate {
    fn call(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async {
            self.0.rotate();
            Ok(())
        })
    }
}

/// Accepts until it is aborted; connections die with it, as with a process.
async fn accept(listener: UnixListener, service: Service) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = service.crash.notified() => return,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let (inner, _) = accepted.unwrap();
                let pings_left = service.plugin.is(Breakage::PingsAreAFlood).then_some(10);
                let stream = Wire { inner, pings_left };
                let service = TowerToHyperService::new(service.clone());
                connections.spawn(
                    http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        }
    }
}

/// The gRPC service over raw message bytes.
#[derive(Clone)]
struct Service {
    plugin: Arc<Plugin>,
    crash: Arc<Notify>,
}

impl tower::Service<http::Request<Incoming>> for Service {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Incoming>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let path = request.uri().path();
            let any = service.plugin.is(Breakage::AnyPackageServed);
            let method = match path.strip_prefix("/v2.KeyManagementService/") {
                Some(method) => method,
                None if any => path.rsplit('/').next().unwrap_or(""),
                None => return Ok(Status::unimplemented("no such service").into_http()),
            };
            let kind = request.headers().get("content-type").map(|v| v.as_bytes());
            if !kind.is_some_and(|kind| kind.starts_with(b"application/grpc"))
                && !service.plugin.is(Breakage::AnyContentTypeServed)
            {
                let mut response = http::Response::new(Body::default());
                *response.status_mut() = http::StatusCode::UNSUPPORTED_MEDIA_TYPE;
                return Ok(response);
            }
            let method = method.to_string();
            let mut grpc = tonic::server::Grpc::new(RawCodec);
            let cancellable = service.plugin.is(Breakage::CancelPoisons);
            let poisoned = &service.plugin.faults.poisoned;
            let mut unfinished = Unfinished {
                poisoned,
                done: !cancellable,
            };
            let answer = grpc
                .unary(
                    Method {
                        service: service.clone(),
                        method,
                    },
                    request,
                )
                .await;
            unfinished.done = true;
            Ok(answer)
        })
    }
}

struct Method {
    service: Service,
    method: String,
}

impl UnaryService<Bytes> for Method {
    type Response = Bytes;
    type Future = BoxFuture<'static, Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let (service, method) = (self.service.clone(), self.method.clone());
        Box::pin(async move {
            let headers = request.metadata().clone().into_headers();
            let answer = service
                .plugin
                .serve(&method, &headers, request.into_inner())
                .await;
            if service.plugin.crashed() {
                service.crash.notify_one();
                std::future::pending::<()>().await;
            }
            answer.map(Response::new)
        })
    }
}

#[derive(Clone, Copy, Default)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        RawCodec
    }
    fn decoder(&mut self) -> Self {
        RawCodec
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;
    fn encode(&mut self, item: Bytes, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        dst.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;
    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(src.copy_to_bytes(src.remaining())))
    }
}
