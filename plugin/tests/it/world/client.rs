//! A client on the plugin's socket.

use std::io;
use std::time::Duration;

use kms_v2_api::client::KeyManagementServiceClient;
use kms_v2_api::{
    DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, StatusRequest, StatusResponse,
};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};

/// A client on the plugin's socket, with the API server's default timeout.
#[derive(Clone)]
pub struct Client {
    inner: KeyManagementServiceClient<Channel>,
    pub timeout: Duration,
}

impl Client {
    pub async fn new(dial: mpsc::UnboundedSender<io::Result<DuplexStream>>) -> Self {
        let connector = tower::service_fn(move |_| {
            let dial = dial.clone();
            async move {
                let (ours, theirs) = tokio::io::duplex(256 * 1024);
                dial.send(Ok(theirs))
                    .map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
                Ok::<_, io::Error>(hyper_util::rt::TokioIo::new(ours))
            }
        });
        let channel =
            Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector);
        Self {
            inner: KeyManagementServiceClient::new(channel),
            timeout: Duration::from_secs(3),
        }
    }

    fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.set_timeout(self.timeout);
        request
    }

    pub async fn status(&mut self) -> Result<StatusResponse, tonic::Status> {
        let request = self.request(StatusRequest {});
        self.inner
            .status(request)
            .await
            .map(tonic::Response::into_inner)
    }

    pub async fn encrypt(&mut self, plaintext: &[u8]) -> Result<EncryptResponse, tonic::Status> {
        let message = EncryptRequest {
            plaintext: plaintext.to_vec().into(),
            uid: "u-123".into(),
        };
        let request = self.request(message);
        self.inner
            .encrypt(request)
            .await
            .map(tonic::Response::into_inner)
    }

    pub async fn decrypt(
        &mut self,
        sealed: &EncryptResponse,
    ) -> Result<DecryptResponse, tonic::Status> {
        self.decrypt_raw(DecryptRequest {
            ciphertext: sealed.ciphertext.clone(),
            uid: "u-124".into(),
            key_id: sealed.key_id.clone(),
            annotations: sealed.annotations.clone(),
        })
        .await
    }

    pub async fn decrypt_raw(
        &mut self,
        message: DecryptRequest,
    ) -> Result<DecryptResponse, tonic::Status> {
        let request = self.request(message);
        self.inner
            .decrypt(request)
            .await
            .map(tonic::Response::into_inner)
    }

    /// Encrypts and decrypts; panics with the reason when either fails.
    pub async fn round_trip(&mut self, plaintext: &[u8]) -> EncryptResponse {
        let sealed = self.encrypt(plaintext).await.expect("encrypt");
        assert_eq!(
            self.decrypt(&sealed).await.expect("decrypt").plaintext,
            plaintext
        );
        sealed
    }

    /// Polls Status each 100 ms until it is good; how long that took.
    pub async fn wait_good(&mut self, limit_s: u64) -> Option<Duration> {
        self.wait(limit_s, |status| status.is_ok()).await
    }

    /// Polls Status each 100 ms until it is bad; how long that took.
    pub async fn wait_bad(&mut self, limit_s: u64) -> Option<Duration> {
        self.wait(limit_s, |status| status.is_err()).await
    }

    async fn wait(
        &mut self,
        limit_s: u64,
        until: impl Fn(&Result<StatusResponse, tonic::Status>) -> bool,
    ) -> Option<Duration> {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(limit_s) {
            if until(&self.status().await) {
                return Some(began.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        None
    }
}
