//! Serves a plugin on a temporary unix socket, as tonic does, and restarts or kills it on demand.

use std::convert::Infallible;
use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use kms_conformance::{BoxFuture, Hook, Metrics, Process, Signal, Target, UnixSocket};
use tokio::net::UnixListener;
use tokio::sync::{Mutex, Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http;
use tonic::server::UnaryService;
use tonic::{Request, Response, Status};

use crate::breakages::Breakage;
use crate::faults::{Unfinished, Wire};
use crate::plugin::{CREDENTIAL, Plugin};
use crate::spare::Beside;

/// A served plugin. The socket goes with it.
pub struct Served {
    pub target: Target,
    node: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.node.abort();
    }
}

/// A plugin on a socket: started, stopped, killed.
pub struct Life {
    pub plugin: Arc<Plugin>,
    pub socket: PathBuf,
    running: Mutex<Option<JoinHandle<()>>>,
    /// True once it is to stop.
    stop: watch::Sender<bool>,
}

impl Drop for Life {
    fn drop(&mut self) {
        if let Some(task) = self.running.get_mut().take() {
            task.abort();
        }
    }
}

impl Served {
    pub async fn start(mut plugin: Plugin) -> Self {
        let folder = tempfile::tempdir().unwrap();
        plugin.log = Some(folder.path().join("plugin.log"));
        let plugin = Arc::new(plugin);
        let socket = folder.path().join("kms.sock");
        let life = Arc::new(Life::new(plugin.clone(), socket.clone()));
        life.start().await;
        let mut target = Target::unix(socket);
        target.restart = Some(Arc::new(Restart(life.clone())));
        target.rotate = Some(Arc::new(Rotate(plugin.clone())));
        target.logs = plugin.log.clone();
        target.process = Some(life);
        target.metrics = Some(plugin.clone());
        target.secrets = Arc::from([CREDENTIAL.to_owned().into()]);
        target.spares = Some(Arc::new(Beside::new(plugin.breakage, folder.path())));
        let other_node = folder.path().join("other.sock");
        let listener = UnixListener::bind(&other_node).unwrap();
        // A node that never stops: its sender lives as long as it does.
        let (never, stop) = watch::channel(false);
        let service = Service {
            plugin,
            crash: Arc::default(),
            elsewhere: true,
            stop,
        };
        let node = tokio::spawn(async move {
            let _never = never;
            accept(listener, service).await;
        });
        target.other_node = Some(Arc::new(UnixSocket(other_node)));
        Served {
            target,
            node,
            _folder: folder,
        }
    }
}

impl Life {
    pub fn new(plugin: Arc<Plugin>, socket: PathBuf) -> Self {
        Life {
            plugin,
            socket,
            running: Mutex::new(None),
            stop: watch::Sender::new(false),
        }
    }

    /// Ends it, socket and all, and starts it again.
    pub async fn restart(&self) {
        self.kill().await;
        let _ = std::fs::remove_file(&self.socket);
        self.plugin.restarted();
        self.start().await;
    }

    pub async fn start(&self) {
        let listener = UnixListener::bind(&self.socket).unwrap();
        let open = self.plugin.is(Breakage::SocketForEverybody);
        let mode = |mode| Permissions::from_mode(mode);
        let folder = self.socket.parent().unwrap();
        set_permissions(folder, mode(if open { 0o755 } else { 0o700 })).unwrap();
        set_permissions(&self.socket, mode(if open { 0o777 } else { 0o600 })).unwrap();
        self.stop.send_replace(false);
        let service = Service {
            plugin: self.plugin.clone(),
            crash: Arc::new(Notify::new()),
            elsewhere: false,
            stop: self.stop.subscribe(),
        };
        *self.running.lock().await = Some(tokio::spawn(accept(listener, service)));
    }

    /// Everything goes at once, but for the file of the socket.
    async fn kill(&self) {
        if let Some(task) = self.running.lock().await.take() {
            task.abort();
            let _ = task.await;
        }
    }
}

impl Process for Life {
    fn signal(&self, signal: Signal) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            match signal {
                Signal::Terminate if !self.plugin.is(Breakage::StopCutsCalls) => {
                    std::fs::remove_file(&self.socket).map_err(|e| e.to_string())?;
                    self.stop.send_replace(true);
                }
                _ => self.kill().await,
            }
            Ok(())
        })
    }

    fn freeze(&self, time: Duration) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            tokio::time::sleep(time).await;
            if self.plugin.is(Breakage::FreezeDropsConnections) {
                self.kill().await;
                std::fs::remove_file(&self.socket).map_err(|e| e.to_string())?;
                self.start().await;
            }
            Ok(())
        })
    }

    fn memory(&self) -> BoxFuture<'_, Result<u64, String>> {
        Box::pin(async { Ok(self.plugin.memory()) })
    }

    fn arguments(&self) -> BoxFuture<'_, Result<Vec<u8>, String>> {
        Box::pin(async { Ok(self.plugin.arguments().into_bytes()) })
    }
}

impl Metrics for Plugin {
    fn scrape(&self) -> BoxFuture<'_, Result<String, String>> {
        Box::pin(async { Ok(self.exposition()) })
    }
}

struct Restart(Arc<Life>);

impl Hook for Restart {
    fn call(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async {
            // A stop with the socket still there is no stop of its own.
            let crashed = self.0.running.lock().await.is_none() && self.0.socket.exists();
            if crashed && self.0.plugin.is(Breakage::OldSocketStopsStart) {
                return Err("address in use".into());
            }
            self.0.restart().await;
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

/// Accepts until it is aborted, when connections die with it as with a process, or until it is told
/// to stop, when the calls under way are finished.
async fn accept(listener: UnixListener, service: Service) {
    let hangs = service.plugin.is(Breakage::StopLeavesCallsHanging);
    let mut stop = service.stop.clone();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = service.crash.notified() => return,
            _ = stop.wait_for(|stop| *stop), if !hangs => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let (inner, _) = accepted.unwrap();
                let pings_left = service.plugin.is(Breakage::PingsAreAFlood).then_some(10);
                let stream = Wire { inner, pings_left };
                let mut stop = service.stop.clone();
                let service = TowerToHyperService::new(service.clone());
                connections.spawn(async move {
                    let mut connection = std::pin::pin!(
                        http2::Builder::new(TokioExecutor::new())
                            .serve_connection(TokioIo::new(stream), service)
                    );
                    let ended = tokio::select! {
                        biased;
                        _ = connection.as_mut() => true,
                        _ = stop.wait_for(|stop| *stop), if !hangs => false,
                    };
                    if !ended {
                        connection.as_mut().graceful_shutdown();
                        let _ = connection.await;
                    }
                });
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// The gRPC service over raw message bytes.
#[derive(Clone)]
struct Service {
    plugin: Arc<Plugin>,
    crash: Arc<Notify>,
    /// It is the second node.
    elsewhere: bool,
    /// It is to stop.
    stop: watch::Receiver<bool>,
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
            if service.plugin.is(Breakage::StopLeavesCallsHanging) && *service.stop.borrow() {
                std::future::pending::<()>().await;
            }
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
            let serving = service
                .plugin
                .serve(&method, &headers, request.into_inner());
            let mut answer = serving.await;
            if service.elsewhere {
                answer = service.plugin.other_node(&method, answer);
            }
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
