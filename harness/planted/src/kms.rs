//! Bugs in front of the plugin's socket.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use kms_v2_api::client::KeyManagementServiceClient;
use kms_v2_api::server::{KeyManagementService, KeyManagementServiceServer};
use kms_v2_api::{
    DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, StatusRequest, StatusResponse,
};
use tokio::io::DuplexStream;
use tokio::time::sleep;
use tonic::body::Body;
use tonic::codegen::{Service, async_trait, http};
use tonic::{Request, Response, Status};

use crate::tasks::Tasks;
use crate::{Carrying, Io, Planted, Variant};

/// How long [`Variant::Hangs`] waits; far beyond any caller's deadline.
const HANGS: Duration = Duration::from_secs(10);

/// Bytes in flight between the bug and a plugin in the same process.
const PIPE: usize = 64 * 1024;

/// Begins what [`Variant::Clear`] calls ciphertexts.
const CLEAR: &[u8] = b"clear:";

type Answer<T> = Result<Response<T>, Status>;

impl Planted {
    /// Carries one caller's connection to the plugin; ends with either. A bug of the other side changes nothing here.
    pub async fn carry_kms(&self, caller: impl Io, plugin: impl Io) {
        let tasks = Tasks::default();
        let opened = hyper::client::conn::http2::Builder::new(tasks.clone())
            .timer(TokioTimer::new())
            .handshake(TokioIo::new(plugin))
            .await;
        let Ok((send, to_plugin)) = opened else {
            return; // the caller's connection ends with this
        };
        let origin = http::Uri::from_static("http://localhost");
        let middleman = Middleman {
            planted: self.clone(),
            plugin: KeyManagementServiceClient::with_origin(Sender(send), origin),
        };
        let server = KeyManagementServiceServer::new(middleman);
        let service = service_fn(move |request: http::Request<Incoming>| {
            let mut server = server.clone();
            async move { Ok::<_, Infallible>(answered(server.call(request).await)) }
        });
        let from_caller = hyper::server::conn::http2::Builder::new(tasks)
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(caller), service);
        tokio::select! {
            biased;
            _ = to_plugin => {}
            _ = from_caller => {}
        }
    }

    /// For a plugin in this process: what it is to serve instead of the caller's connection, and what must run for it.
    pub fn before_kms(&self, caller: impl Io) -> (DuplexStream, Carrying) {
        let (ours, plugins) = tokio::io::duplex(PIPE);
        let planted = self.clone();
        let carrying = async move { planted.carry_kms(caller, ours).await };
        (plugins, Box::pin(carrying))
    }
}

fn answered<T>(answer: Result<T, Infallible>) -> T {
    match answer {
        Ok(answer) => answer,
        Err(never) => match never {},
    }
}

/// The plugin's side of a connection, as tonic wants it.
#[derive(Clone)]
struct Sender(SendRequest<Body>);

impl Service<http::Request<Body>> for Sender {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

struct Middleman {
    planted: Planted,
    plugin: KeyManagementServiceClient<Sender>,
}

impl Middleman {
    fn is(&self, variant: Variant) -> bool {
        self.planted.variant == variant
    }

    /// Counts a call. The count with it, from 1 on.
    async fn begin(&self) -> u64 {
        let calls = {
            let mut memory = self.planted.memory();
            memory.calls += 1;
            memory.calls
        };
        if self.is(Variant::Hangs) && calls.is_multiple_of(7) {
            sleep(HANGS).await;
        }
        calls
    }
}

#[async_trait]
impl KeyManagementService for Middleman {
    async fn status(&self, request: Request<StatusRequest>) -> Answer<StatusResponse> {
        let calls = self.begin().await;
        let honest = self.plugin.clone().status(request).await;
        let mut memory = self.planted.memory();
        let mut answer = match honest {
            Ok(answer) => answer.into_inner(),
            Err(status) => {
                if memory.newest.is_some() {
                    memory.sick = Some(status.clone());
                }
                return match &memory.newest {
                    Some(well) if self.is(Variant::AlwaysOk) => Ok(Response::new(well.clone())),
                    _ => Err(status),
                };
            }
        };
        if let Some(newest) = &memory.newest
            && newest.key_id != answer.key_id
        {
            memory.before = Some(newest.key_id.clone());
        }
        memory.newest = Some(answer.clone());
        let first = memory
            .first
            .get_or_insert_with(|| answer.clone())
            .key_id
            .clone();
        match (self.planted.variant, &memory.before, &memory.sick) {
            (Variant::SickForEver, _, Some(sick)) => return Err(sick.clone()),
            (Variant::StaleKeyId, ..) => answer.key_id = first,
            (Variant::KeyIdFlaps, ..) if calls.is_multiple_of(5) => answer.key_id.push_str("-x"),
            (Variant::KeyIdReturns, Some(before), _) if calls.is_multiple_of(5) => {
                answer.key_id.clone_from(before);
            }
            _ => {}
        }
        Ok(Response::new(answer))
    }

    async fn encrypt(&self, request: Request<EncryptRequest>) -> Answer<EncryptResponse> {
        self.begin().await;
        let plaintext = request.get_ref().plaintext.clone();
        let honest = self.plugin.clone().encrypt(request).await;
        let mut memory = self.planted.memory();
        let mut answer = match honest {
            Ok(answer) => answer.into_inner(),
            Err(status) => match &memory.encrypted {
                Some(answer) if self.is(Variant::Clear) => answer.clone(),
                _ => return Err(status),
            },
        };
        match self.planted.variant {
            Variant::OneCiphertext => {
                let first = memory.encrypted.get_or_insert_with(|| answer.clone());
                answer.ciphertext = first.ciphertext.clone();
            }
            Variant::AnnotationsLost => answer.annotations.clear(),
            Variant::Clear => answer.ciphertext = [CLEAR, &plaintext].concat().into(),
            _ => {}
        }
        memory.ciphertexts.insert(answer.ciphertext.clone());
        if !self.is(Variant::OneCiphertext) {
            memory.encrypted = Some(answer.clone());
        }
        Ok(Response::new(answer))
    }

    async fn decrypt(&self, request: Request<DecryptRequest>) -> Answer<DecryptResponse> {
        self.begin().await;
        let asked = request.get_ref();
        let refused = {
            let memory = self.planted.memory();
            let now = memory.newest.as_ref().map(|newest| &newest.key_id);
            match self.planted.variant {
                Variant::ForgetsAtRestart => !memory.ciphertexts.contains(&asked.ciphertext),
                Variant::OldKeysRefused => now.is_some_and(|now| *now != asked.key_id),
                _ => false,
            }
        };
        if refused {
            return Err(Status::invalid_argument("the key is not known"));
        }
        if self.is(Variant::Clear)
            && let Some(plaintext) = asked.ciphertext.strip_prefix(CLEAR)
        {
            let plaintext = Bytes::copy_from_slice(plaintext);
            return Ok(Response::new(DecryptResponse { plaintext }));
        }
        let mut answer = self.plugin.clone().decrypt(request).await?;
        if self.is(Variant::OtherBytes) {
            let mut bytes = BytesMut::from(&answer.get_ref().plaintext[..]);
            if let Some(byte) = bytes.first_mut() {
                *byte ^= 1;
            }
            answer.get_mut().plaintext = bytes.freeze();
        }
        Ok(answer)
    }
}
