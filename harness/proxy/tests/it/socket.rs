//! Calls through the proxy on the unix socket.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use kms_proxy::{Action, Rule, SocketProxy};
use kms_v2_api::client::KeyManagementServiceClient;
use kms_v2_api::server::{KeyManagementService, KeyManagementServiceServer};
use kms_v2_api::{
    DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, StatusRequest, StatusResponse,
};
use prost::Message;
use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

/// Longer than anything here takes; an end of waiting, never a measure.
const LONG: Duration = Duration::from_secs(20);
/// Long enough for a call to be answered that was let through.
const SHORT: Duration = Duration::from_millis(200);

/// Answers with what it is asked; refuses to decrypt.
#[derive(Clone, Default)]
struct Plugin {
    calls: Arc<AtomicU64>,
}

#[tonic::async_trait]
impl KeyManagementService for Plugin {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Ok(Response::new(StatusResponse {
            version: "v2".to_owned(),
            healthz: "ok".to_owned(),
            key_id: "k".to_owned(),
        }))
    }

    async fn decrypt(
        &self,
        _: Request<DecryptRequest>,
    ) -> Result<Response<DecryptResponse>, Status> {
        Err(Status::invalid_argument("100 % wrong"))
    }

    async fn encrypt(
        &self,
        request: Request<EncryptRequest>,
    ) -> Result<Response<EncryptResponse>, Status> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Ok(Response::new(EncryptResponse {
            ciphertext: request.into_inner().plaintext,
            key_id: "k".to_owned(),
            annotations: std::collections::BTreeMap::new(),
        }))
    }
}

struct World {
    _folder: TempDir,
    at: PathBuf,
    plugin: Plugin,
    server: AbortHandle,
    proxy: SocketProxy,
    client: KeyManagementServiceClient<Channel>,
}

fn serve(plugin: &Plugin, at: &Path) -> AbortHandle {
    let listener = UnixListener::bind(at).unwrap();
    let service = KeyManagementServiceServer::new(plugin.clone());
    let serve = async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(service.clone());
            connections.spawn(
                http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    };
    tokio::spawn(serve).abort_handle()
}

fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("plugin.sock");
    let front = folder.path().join("kms.sock");
    let plugin = Plugin::default();
    let server = serve(&plugin, &at);
    let proxy = SocketProxy::start(&front, &at).unwrap();
    let dial = tower::service_fn(move |_| {
        let front = front.clone();
        async move { UnixStream::connect(front).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    let client = KeyManagementServiceClient::new(endpoint.connect_with_connector_lazy(dial));
    World {
        _folder: folder,
        at,
        plugin,
        server,
        proxy,
        client,
    }
}

fn rule(method: &str, action: Action) -> Rule {
    Rule {
        method: Some(method.to_owned()),
        action,
        times: None,
    }
}

impl World {
    async fn status(&mut self) -> Result<String, Status> {
        let call = self.client.status(StatusRequest {});
        let answer = timeout(LONG, call).await.expect("it hangs")?;
        Ok(answer.into_inner().healthz)
    }

    async fn encrypt(&mut self, plaintext: &[u8]) -> Result<Vec<u8>, Status> {
        let call = self.client.encrypt(EncryptRequest {
            plaintext: plaintext.to_vec().into(),
            uid: "u".to_owned(),
        });
        let answer = timeout(LONG, call).await.expect("it hangs")?;
        Ok(answer.into_inner().ciphertext.to_vec())
    }
}

#[tokio::test]
async fn answers_and_errors_pass_unchanged() {
    let mut world = world();
    assert_eq!(world.status().await.unwrap(), "ok");
    assert_eq!(world.encrypt(&[7; 100_000]).await.unwrap(), [7; 100_000]);
    let refused = world
        .client
        .decrypt(DecryptRequest::default())
        .await
        .unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::InvalidArgument, "100 % wrong")
    );
    let seen = world.proxy.take_seen();
    let methods: Vec<&str> = seen.iter().map(|seen| seen.method.as_str()).collect();
    assert_eq!(methods, ["Status", "Encrypt", "Decrypt"]);
    assert!(seen.iter().all(|seen| !seen.touched));
    assert!(world.proxy.take_seen().is_empty());
}

#[tokio::test]
async fn a_chosen_status_for_one_method_and_so_many_calls() {
    let mut world = world();
    let message = "Vault is \"sealed\": 50 % ü\n".to_owned();
    let action = Action::Status {
        code: 14,
        message: message.clone(),
    };
    let id = world.proxy.add(Rule {
        times: Some(2),
        ..rule("Encrypt", action)
    });
    for _ in 0..2 {
        assert_eq!(world.status().await.unwrap(), "ok");
        let refused = world.encrypt(b"x").await.unwrap_err();
        assert_eq!(
            (refused.code(), refused.message()),
            (Code::Unavailable, message.as_str())
        );
    }
    assert_eq!(world.encrypt(b"x").await.unwrap(), b"x");
    assert_eq!(world.plugin.calls.load(Ordering::Relaxed), 3);
    assert_eq!((world.proxy.hits(id), world.proxy.remove(id)), (2, 2));
    assert_eq!(world.proxy.hits(id), 2);
}

#[tokio::test]
async fn a_held_call_goes_on_when_the_rule_goes() {
    let mut world = world();
    let id = world.proxy.add(rule("Encrypt", Action::Hold));
    let mut other = world.client.clone();
    let held = tokio::spawn(async move {
        other
            .encrypt(EncryptRequest {
                plaintext: b"late".to_vec().into(),
                uid: String::new(),
            })
            .await
    });
    while world.proxy.hits(id) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(world.status().await.unwrap(), "ok");
    assert_eq!(world.plugin.calls.load(Ordering::Relaxed), 1);
    assert!(!held.is_finished());
    assert_eq!(world.proxy.remove(id), 1);
    let answer = timeout(LONG, held).await.unwrap().unwrap().unwrap();
    assert_eq!(&answer.into_inner().ciphertext[..], b"late");
}

#[tokio::test]
async fn a_delayed_call() {
    let mut world = world();
    let delay = Duration::from_millis(150);
    world.proxy.add(rule("Status", Action::Delay(delay)));
    let begun = Instant::now();
    world.status().await.unwrap();
    assert!(begun.elapsed() >= delay);
}

/// The plugin has answered; the caller gets a piece of a frame and the end. The next call is served.
#[tokio::test]
async fn an_answer_cut_inside_a_frame() {
    for bytes in [0, 5, 20] {
        let mut world = world();
        assert_eq!(world.status().await.unwrap(), "ok");
        world.proxy.add(Rule {
            times: Some(1),
            ..rule("Encrypt", Action::Cut(bytes))
        });
        let error = world.encrypt(b"x").await.unwrap_err();
        assert!(
            matches!(
                error.code(),
                Code::Unavailable | Code::Unknown | Code::Internal
            ),
            "{error:?}"
        );
        assert_eq!(world.plugin.calls.load(Ordering::Relaxed), 2);
        assert_eq!(world.encrypt(b"y").await.unwrap(), b"y");
    }
}

/// No plugin, then one, then another at the same path: the caller sees lost connections, and never a hanging one.
#[tokio::test]
async fn a_plugin_that_goes_and_comes() {
    let mut world = world();
    assert_eq!(world.status().await.unwrap(), "ok");
    world.server.abort();
    std::fs::remove_file(&world.at).unwrap();
    let id = world.proxy.add(rule("Status", Action::Delay(SHORT)));
    for _ in 0..2 {
        world.status().await.unwrap_err();
    }
    world.proxy.remove(id);
    world.server = serve(&world.plugin, &world.at);
    assert_eq!(world.status().await.unwrap(), "ok");
    world.proxy.reset();
    // A call may be on its way into the connection that breaks.
    let first = world.encrypt(b"x").await;
    assert!(first.is_ok() || first.unwrap_err().code() != Code::DeadlineExceeded);
    assert_eq!(world.encrypt(b"y").await.unwrap(), b"y");
}

/// The message is another one, and everything around it is as it was; a refusal has no message.
#[tokio::test]
async fn an_answer_with_another_message() {
    let mut world = world();
    let backwards = |message: &[u8]| {
        let mut status = StatusResponse::decode(message).unwrap();
        status.healthz = status.healthz.chars().rev().collect();
        status.encode_to_vec()
    };
    let id = world.proxy.add(rule("Status", Action::Alter(backwards)));
    world.proxy.add(rule("Decrypt", Action::Alter(backwards)));
    assert_eq!(world.status().await.unwrap(), "ko");
    assert_eq!(world.encrypt(b"x").await.unwrap(), b"x");
    let refused = world
        .client
        .decrypt(DecryptRequest::default())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(world.proxy.remove(id), 1);
    assert_eq!(world.status().await.unwrap(), "ok");
}
