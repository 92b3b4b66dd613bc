//! A tap on the plugin's socket: passes calls on, counts them, answers in the plugin's place, or is gone.
//!
//! A server sees one plugin, whatever stands behind it. The tap runs on a thread and a runtime of its own, so that
//! turning it off cuts every connection at once, as the death of a process does.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use kms_harness::socket;
use kms_v2_api::client::KeyManagementServiceClient;
use kms_v2_api::server::{KeyManagementService, KeyManagementServiceServer};
use kms_v2_api::{
    DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, StatusRequest, StatusResponse,
};
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

/// A method of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Status,
    Encrypt,
    Decrypt,
}

/// What the tap does instead of passing a call on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: every call is passed on.
    None,
    /// Status says this under `healthz`.
    Healthz(&'static str),
    /// Status says this version.
    Version(&'static str),
    /// Status says this key_id.
    StatusKeyId(String),
    /// Encrypt answers with this key_id.
    EncryptKeyId(String),
    /// Encrypt answers with a ciphertext of so many bytes.
    Ciphertext(usize),
    /// Encrypt answers with an annotation of this name.
    Annotation(&'static str),
    /// A method is refused.
    Refuse(Method, Code, &'static str),
    /// A method takes so much longer.
    Slow(Method, Duration),
}

/// Calls that came in, passed on or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub status: u64,
    pub encrypt: u64,
    pub decrypt: u64,
}

impl Counts {
    pub fn since(self, before: Self) -> Self {
        Self {
            status: self.status - before.status,
            encrypt: self.encrypt - before.encrypt,
            decrypt: self.decrypt - before.decrypt,
        }
    }
}

/// A tap. Dropped, it is gone.
pub struct Tap {
    socket: PathBuf,
    shared: Arc<Shared>,
    serving: Option<Serving>,
}

struct Shared {
    plugin: PathBuf,
    state: Mutex<State>,
}

struct State {
    fault: Fault,
    counts: Counts,
    key_ids: Vec<String>,
}

struct Serving {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Tap {
    /// Serves on `socket` in front of the plugin at `plugin`.
    pub async fn start(socket: &Path, plugin: &Path) -> Result<Self> {
        let mut tap = Self {
            socket: socket.to_owned(),
            shared: Arc::new(Shared {
                plugin: plugin.to_owned(),
                state: Mutex::new(State {
                    fault: Fault::None,
                    counts: Counts::default(),
                    key_ids: Vec::new(),
                }),
            }),
            serving: None,
        };
        tap.on().await?;
        Ok(tap)
    }

    /// What it does from now on.
    pub fn fault(&self, fault: Fault) {
        self.shared.state().fault = fault;
    }

    /// Calls so far.
    pub fn counts(&self) -> Counts {
        self.shared.state().counts
    }

    /// The key_ids that the plugin itself has named in Status, in order.
    pub fn key_ids(&self) -> Vec<String> {
        self.shared.state().key_ids.clone()
    }

    /// Whether it serves.
    pub fn is_on(&self) -> bool {
        self.serving.is_some()
    }

    /// Goes: the socket is removed and every connection is cut.
    pub fn off(&mut self) {
        if self.serving.take().is_some() {
            let _ = std::fs::remove_file(&self.socket);
        }
    }

    /// Comes back.
    pub async fn on(&mut self) -> Result<()> {
        if self.serving.is_some() {
            return Ok(());
        }
        let (tell, told) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let socket = self.socket.clone();
        let shared = Arc::clone(&self.shared);
        #[expect(
            clippy::disallowed_methods,
            reason = "a server beside the test, as a process would be"
        )]
        let thread = std::thread::spawn(move || serve(&socket, shared, tell, stopped));
        let serving = Serving {
            stop: Some(stop),
            thread: Some(thread),
        };
        told.await
            .map_err(|_| anyhow!("its thread ended"))
            .flatten()
            .context("start the tap")?;
        self.serving = Some(serving);
        Ok(())
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.off();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    socket: &Path,
    shared: Arc<Shared>,
    tell: oneshot::Sender<Result<()>>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return drop(tell.send(Err(error.into()))),
    };
    runtime.block_on(async {
        let ready = async {
            let plugin = socket::connect(&shared.plugin).await?;
            let listener = UnixListener::bind(socket)?;
            anyhow::Ok((plugin, listener))
        };
        let (plugin, listener) = match ready.await {
            Ok(ready) => ready,
            Err(error) => return drop(tell.send(Err(error))),
        };
        let _ = tell.send(Ok(()));
        let service = KeyManagementServiceServer::new(Passing { shared, plugin });
        tokio::select! {
            biased;
            _ = stopped => {}
            () = accept(listener, service) => {}
        }
    });
    // Connections are tasks of the runtime: they end with it.
    runtime.shutdown_background();
}

/// Serves every connection. Unlike tonic's own server it sets calls no limit, so that a slow one ends by the caller's
/// clock alone.
/// Dropped, it cuts them.
pub async fn accept<S: KeyManagementService>(
    listener: UnixListener,
    service: KeyManagementServiceServer<S>,
) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let service = TowerToHyperService::new(service.clone());
        let connection = http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service);
        connections.spawn(connection);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn saw(&self, key_id: &str) {
        let known = &mut self.state().key_ids;
        if !known.iter().any(|id| id == key_id) {
            known.push(key_id.to_owned());
        }
    }

    /// Counts a call and says what becomes of it.
    async fn meet(&self, method: Method) -> Result<Fault, Status> {
        let fault = {
            let mut state = self.state();
            match method {
                Method::Status => state.counts.status += 1,
                Method::Encrypt => state.counts.encrypt += 1,
                Method::Decrypt => state.counts.decrypt += 1,
            }
            state.fault.clone()
        };
        match fault {
            Fault::Refuse(refused, code, text) if refused == method => Err(Status::new(code, text)),
            Fault::Slow(slow, by) if slow == method => {
                tokio::time::sleep(by).await;
                Ok(Fault::None)
            }
            fault => Ok(fault),
        }
    }
}

struct Passing {
    shared: Arc<Shared>,
    plugin: KeyManagementServiceClient<Channel>,
}

#[tonic::async_trait]
impl KeyManagementService for Passing {
    async fn status(
        &self,
        request: Request<StatusRequest>,
    ) -> Result<Response<StatusResponse>, Status> {
        let fault = self.shared.meet(Method::Status).await?;
        let mut answer = self
            .plugin
            .clone()
            .status(request.into_inner())
            .await?
            .into_inner();
        self.shared.saw(&answer.key_id);
        match fault {
            Fault::Healthz(text) => answer.healthz = text.into(),
            Fault::Version(text) => answer.version = text.into(),
            Fault::StatusKeyId(id) => answer.key_id = id,
            _ => {}
        }
        Ok(Response::new(answer))
    }

    async fn encrypt(
        &self,
        request: Request<EncryptRequest>,
    ) -> Result<Response<EncryptResponse>, Status> {
        let fault = self.shared.meet(Method::Encrypt).await?;
        let mut answer = self
            .plugin
            .clone()
            .encrypt(request.into_inner())
            .await?
            .into_inner();
        match fault {
            Fault::EncryptKeyId(id) => answer.key_id = id,
            Fault::Ciphertext(length) => answer.ciphertext = vec![7; length].into(),
            Fault::Annotation(name) => {
                answer.annotations.insert(name.into(), "x".into());
            }
            _ => {}
        }
        Ok(Response::new(answer))
    }

    async fn decrypt(
        &self,
        request: Request<DecryptRequest>,
    ) -> Result<Response<DecryptResponse>, Status> {
        self.shared.meet(Method::Decrypt).await?;
        let answer = self.plugin.clone().decrypt(request.into_inner()).await?;
        Ok(Response::new(answer.into_inner()))
    }
}
