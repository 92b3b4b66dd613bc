//! A KMS v2 client that only wants answers.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kms_harness::socket;
use kms_v2_api::client::KeyManagementServiceClient;
use kms_v2_api::{DecryptRequest, EncryptRequest, EncryptResponse, StatusRequest, StatusResponse};
use tokio::time::{Instant, sleep};
use tonic::Request;
use tonic::transport::Channel;

/// Timeout of each call, as API servers have it.
const CALL: Duration = Duration::from_secs(3);
/// How often a state is looked at while it is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A client on one connection.
#[derive(Clone)]
pub struct Kms(KeyManagementServiceClient<Channel>);

/// A plaintext and what Encrypt made of it.
#[derive(Clone)]
pub struct Sealed {
    pub plaintext: Vec<u8>,
    pub answer: EncryptResponse,
}

impl Kms {
    pub async fn connect(socket: &Path) -> Result<Self> {
        Ok(Self(socket::connect(socket).await?))
    }

    pub async fn status(&self) -> Result<StatusResponse, tonic::Status> {
        let answer = self.0.clone().status(timed(StatusRequest {})).await?;
        Ok(answer.into_inner())
    }

    pub async fn encrypt(&self, plaintext: &[u8]) -> Result<Sealed, tonic::Status> {
        let request = EncryptRequest {
            plaintext: plaintext.to_vec().into(),
            uid: "tier-encrypt".into(),
        };
        let answer = self.0.clone().encrypt(timed(request)).await?.into_inner();
        Ok(Sealed {
            plaintext: plaintext.to_vec(),
            answer,
        })
    }

    pub async fn decrypt(&self, sealed: &Sealed) -> Result<Vec<u8>, tonic::Status> {
        let EncryptResponse {
            ciphertext,
            key_id,
            annotations,
        } = sealed.answer.clone();
        let request = DecryptRequest {
            ciphertext,
            key_id,
            annotations,
            uid: "tier-decrypt".into(),
        };
        Ok(self
            .0
            .clone()
            .decrypt(timed(request))
            .await?
            .into_inner()
            .plaintext
            .to_vec())
    }

    /// Encrypts and decrypts; what was sealed, for later.
    pub async fn round_trip(&self, plaintext: &[u8]) -> Result<Sealed> {
        let sealed = self.encrypt(plaintext).await.context("Encrypt")?;
        self.opens(&sealed).await?;
        Ok(sealed)
    }

    /// Decrypts and compares.
    pub async fn opens(&self, sealed: &Sealed) -> Result<()> {
        let plaintext = self.decrypt(sealed).await.context("Decrypt")?;
        ensure!(
            plaintext == sealed.plaintext,
            "Decrypt gave other bytes back"
        );
        Ok(())
    }

    /// Waits until Status is as wanted; how long that took.
    pub async fn wait_status(
        &self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&Result<StatusResponse, tonic::Status>) -> bool,
    ) -> Result<Duration> {
        let start = Instant::now();
        loop {
            let seen = self.status().await;
            if wanted(&seen) {
                return Ok(start.elapsed());
            }
            ensure!(
                start.elapsed() < within,
                "{what}: not after {} s; Status is {seen:?}",
                within.as_secs()
            );
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until Status is good.
    pub async fn wait_good(&self, within: Duration) -> Result<Duration> {
        self.wait_status("a good Status", within, |seen| {
            seen.as_ref().is_ok_and(|status| status.healthz == "ok")
        })
        .await
    }
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL);
    request
}
