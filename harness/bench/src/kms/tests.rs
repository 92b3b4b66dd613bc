//! The client against a server of a general library, over a real socket.

use std::collections::BTreeSet;
use std::convert::Infallible;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kms_v2_api::server::{KeyManagementService, KeyManagementServiceServer};
use tokio::net::UnixListener;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::codegen::Service as _;
use tonic::{Request, Response, Status};

use super::*;

/// Encrypt turns bytes round, Decrypt fails, Status never answers.
struct Mirror;

#[tonic::async_trait]
impl KeyManagementService for Mirror {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        std::future::pending().await
    }

    async fn encrypt(
        &self,
        request: Request<EncryptRequest>,
    ) -> Result<Response<EncryptResponse>, Status> {
        let ciphertext = request
            .into_inner()
            .plaintext
            .iter()
            .rev()
            .copied()
            .collect();
        Ok(Response::new(EncryptResponse {
            ciphertext,
            ..EncryptResponse::default()
        }))
    }

    async fn decrypt(
        &self,
        request: Request<DecryptRequest>,
    ) -> Result<Response<DecryptResponse>, Status> {
        Err(Status::invalid_argument(format!(
            "schlüssel {}: 100 %",
            request.into_inner().key_id
        )))
    }
}

/// Serves one connection, with room for `streams` calls at once.
fn serve(socket: &Path, streams: u32) -> tokio::task::JoinHandle<()> {
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let service = KeyManagementServiceServer::new(Mirror);
        let answer = service_fn(move |request| {
            let mut service = service.clone();
            async move { Ok::<_, Infallible>(service.call(request).await.unwrap()) }
        });
        let mut builder = http2::Builder::new(TokioExecutor::new());
        let _ = builder
            .max_concurrent_streams(streams)
            .serve_connection(TokioIo::new(stream), answer)
            .await;
    })
}

async fn pair(streams: u32) -> (Kms, tokio::task::JoinHandle<()>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let server = serve(&socket, streams);
    (
        Kms::connect(&socket, Duration::from_secs(3)).await.unwrap(),
        server,
        dir,
    )
}

#[tokio::test]
async fn a_thousand_calls_at_once_each_get_their_own_answer() {
    let (kms, _server, _dir) = pair(100).await;
    let mut calls = JoinSet::new();
    for n in 0..1000u32 {
        let kms = kms.clone();
        calls.spawn(async move {
            let mut plaintext = vec![0; 600];
            plaintext[..4].copy_from_slice(&n.to_be_bytes());
            let request = EncryptRequest {
                plaintext: plaintext.clone().into(),
                uid: "u".to_owned(),
            };
            let answer = kms.encrypt(&request).await.unwrap();
            plaintext.reverse();
            assert_eq!(answer.ciphertext, plaintext);
            n
        });
    }
    let answered: BTreeSet<u32> = calls.join_all().await.into_iter().collect();
    assert_eq!(answered.len(), 1000);
}

#[tokio::test]
async fn the_plugins_code_and_text_arrive_as_it_wrote_them() {
    let (kms, _server, _dir) = pair(100).await;
    let request = DecryptRequest {
        key_id: "k".to_owned(),
        ..DecryptRequest::default()
    };
    let error = kms.decrypt(&request).await.unwrap_err();
    assert_eq!(
        error,
        CallError::Grpc {
            code: 3,
            message: "schlüssel k: 100 %".to_owned()
        }
    );
}

#[tokio::test]
async fn a_call_given_up_makes_room_for_the_next() {
    let (kms, _server, _dir) = pair(1).await;
    for _ in 0..3 {
        assert!(
            timeout(Duration::from_millis(20), kms.status())
                .await
                .is_err()
        );
    }
    let request = EncryptRequest {
        plaintext: vec![1, 2].into(),
        uid: String::new(),
    };
    let answer = timeout(Duration::from_secs(5), kms.encrypt(&request))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(answer.ciphertext, vec![2, 1]);
}

#[tokio::test]
async fn a_plugin_that_dies_fails_calls_in_flight() {
    let (kms, server, _dir) = pair(100).await;
    let call = tokio::spawn(async move { kms.status().await });
    sleep(Duration::from_millis(50)).await;
    server.abort();
    let result = timeout(Duration::from_secs(5), call)
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(result, Err(CallError::Transport(_))), "{result:?}");
}
