//! A small honest plugin in memory, that can be made to fail, and a way to dial it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kms_apiserver_node::rpc::{Dialer, Stream};
use kms_v2_api::server::{KeyManagementService, KeyManagementServiceServer};
use kms_v2_api::{
    DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, StatusRequest, StatusResponse,
};
use tokio::time::{Instant, sleep};
use tonic::{Request, Response, Status};
use tower::Service;

/// What the plugin is like, and what it was asked.
pub struct State {
    pub up: bool,
    pub version: String,
    pub healthz: String,
    pub key_id: String,
    /// Keys that Decrypt does not know.
    pub refused: BTreeSet<String>,
    pub decrypt_delay: Duration,
    /// Errors instead of answers, by method.
    pub failing: BTreeMap<&'static str, Status>,
    pub calls: Vec<(Duration, &'static str)>,
    /// Names of the header fields of all requests.
    pub header_names: BTreeSet<String>,
    pub at_a_time: usize,
    running: usize,
    wrapped: u64,
    connections: Vec<tokio::task::AbortHandle>,
}

#[derive(Clone)]
pub struct Plugin {
    state: Arc<Mutex<State>>,
    epoch: Instant,
}

impl Plugin {
    pub fn new() -> Self {
        let state = State {
            up: true,
            version: "v2".to_owned(),
            healthz: "ok".to_owned(),
            key_id: "k1".to_owned(),
            refused: BTreeSet::new(),
            decrypt_delay: Duration::ZERO,
            failing: BTreeMap::new(),
            calls: Vec::new(),
            header_names: BTreeSet::new(),
            at_a_time: 0,
            running: 0,
            wrapped: 0,
            connections: Vec::new(),
        };
        Plugin {
            state: Arc::new(Mutex::new(state)),
            epoch: Instant::now(),
        }
    }

    pub fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap())
    }

    /// Stops the process: the socket is gone, connections break.
    pub fn down(&self) {
        self.with(|state| {
            state.up = false;
            state
                .connections
                .drain(..)
                .for_each(|connection| connection.abort());
        });
    }

    pub fn up(&self) {
        self.with(|state| state.up = true);
    }

    /// How often a method was called since the last time.
    pub fn take_calls(&self, method: &str) -> usize {
        self.with(|state| {
            let before = state.calls.len();
            state.calls.retain(|(_, called)| *called != method);
            before - state.calls.len()
        })
    }

    fn called(&self, method: &'static str) -> Result<(), Status> {
        let at = self.epoch.elapsed();
        self.with(|state| {
            state.calls.push((at, method));
            state.failing.get(method).cloned().map_or(Ok(()), Err)
        })
    }
}

#[tonic::async_trait]
impl KeyManagementService for Plugin {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        self.called("Status")?;
        Ok(Response::new(self.with(|state| StatusResponse {
            version: state.version.clone(),
            healthz: state.healthz.clone(),
            key_id: state.key_id.clone(),
        })))
    }

    async fn encrypt(
        &self,
        request: Request<EncryptRequest>,
    ) -> Result<Response<EncryptResponse>, Status> {
        self.called("Encrypt")?;
        let plaintext = request.into_inner().plaintext;
        Ok(Response::new(self.with(|state| {
            state.wrapped += 1;
            let seal: Vec<u8> = plaintext.iter().map(|byte| byte ^ 0x5a).collect();
            let ciphertext = [
                &state.wrapped.to_be_bytes()[..],
                state.key_id.as_bytes(),
                b":",
                &seal,
            ]
            .concat();
            let annotations = BTreeMap::from([("nonce.example.com".to_owned(), vec![1].into())]);
            EncryptResponse {
                ciphertext: ciphertext.into(),
                key_id: state.key_id.clone(),
                annotations,
            }
        })))
    }

    async fn decrypt(
        &self,
        request: Request<DecryptRequest>,
    ) -> Result<Response<DecryptResponse>, Status> {
        let request = request.into_inner();
        self.called("Decrypt")?;
        let delay = self.with(|state| {
            state.running += 1;
            state.at_a_time = state.at_a_time.max(state.running);
            state.decrypt_delay
        });
        let _done = Done(self);
        sleep(delay).await;
        if self.with(|state| state.refused.contains(&request.key_id)) {
            return Err(Status::not_found("scripted: key unknown"));
        }
        let head = 8 + request.key_id.len() + 1;
        let bound =
            request.ciphertext.get(8..head) == Some(format!("{}:", request.key_id).as_bytes());
        let annotated = request
            .annotations
            .get("nonce.example.com")
            .is_some_and(|value| **value == [1]);
        if !bound || !annotated {
            return Err(Status::invalid_argument("no ciphertext of this plugin"));
        }
        let plaintext: Vec<u8> = request.ciphertext[head..]
            .iter()
            .map(|byte| byte ^ 0x5a)
            .collect();
        Ok(Response::new(DecryptResponse {
            plaintext: plaintext.into(),
        }))
    }
}

struct Done<'a>(&'a Plugin);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.with(|state| state.running -= 1);
    }
}

impl Dialer for Plugin {
    fn dial(&self, _: &str) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>> {
        let plugin = self.clone();
        Box::pin(async move {
            if !plugin.with(|state| state.up) {
                return Err(io::ErrorKind::NotFound.into());
            }
            let (ours, theirs) = tokio::io::duplex(256 * 1024);
            let service = KeyManagementServiceServer::new(plugin.clone());
            let seen = plugin.clone();
            let connection = tokio::spawn(async move {
                let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    let names = request.headers().keys().map(ToString::to_string);
                    seen.with(|state| state.header_names.extend(names));
                    let mut service = service.clone();
                    async move { service.call(request).await }
                });
                let _ = http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(theirs), service)
                    .await;
            });
            plugin.with(|state| state.connections.push(connection.abort_handle()));
            Ok(Box::new(ours) as Stream)
        })
    }
}
