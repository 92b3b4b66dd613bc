//! The harness's own calls to a plugin: past the proxy, on a new connection each, as somebody with `grpcurl` would.

use std::path::Path;
use std::time::Duration;

use kms_history::chaos::RpcEnd;
use kms_history::search::holds;
use kms_scenario::world::Probe;
use kms_v2_api::client::KeyManagementServiceClient;
use kms_v2_api::{EncryptRequest, StatusRequest};
use tokio::time::{Instant, timeout};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::socket;

/// Longest message that is kept, in characters.
const MESSAGE: usize = 200;

type Client = KeyManagementServiceClient<Channel>;

/// `Status`.
pub async fn status(at: &Path, limit: Duration) -> Probe {
    let asked = async |mut client: Client| {
        let answer = client
            .status(timed(StatusRequest {}, limit))
            .await?
            .into_inner();
        let end = RpcEnd::Ok {
            key_id: answer.key_id,
            healthz: Some(answer.healthz),
        };
        Ok((end, false))
    };
    probe(at, limit, asked).await
}

/// `Encrypt`.
pub async fn encrypt(at: &Path, plaintext: &[u8], limit: Duration) -> Probe {
    let request = EncryptRequest {
        plaintext: plaintext.to_vec().into(),
        uid: uuid::Uuid::new_v4().to_string(),
    };
    let asked = async |mut client: Client| {
        let answer = client.encrypt(timed(request, limit)).await?.into_inner();
        let mut told = answer.annotations.values().chain([&answer.ciphertext]);
        let clear = told.any(|bytes| holds(bytes, plaintext));
        let end = RpcEnd::Ok {
            key_id: answer.key_id,
            healthz: None,
        };
        Ok((end, clear))
    };
    probe(at, limit, asked).await
}

/// With the deadline in the call, as an API server sends it: a plugin plans by it.
fn timed<T>(message: T, limit: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(limit);
    request
}

async fn probe(
    at: &Path,
    limit: Duration,
    asked: impl AsyncFnOnce(Client) -> Result<(RpcEnd, bool), Status>,
) -> Probe {
    let dialled = Instant::now();
    let connected = timeout(limit, socket::connect(at)).await;
    // An API server has its connection already: a deadline is counted from the call on.
    let begun = match &connected {
        Ok(Ok(_)) => Instant::now(),
        _ => dialled,
    };
    let call = async {
        let client = connected
            .map_err(|_| Status::deadline_exceeded("no connection in time"))?
            .map_err(|error| Status::unavailable(format!("{error:#}")))?;
        asked(client).await
    };
    let (end, clear) = timeout(limit, call)
        .await
        .unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")))
        .unwrap_or_else(|status| {
            let message = status.message().chars().take(MESSAGE).collect();
            let code = name(status.code());
            (RpcEnd::Failed { code, message }, false)
        });
    Probe {
        took: begun.elapsed(),
        end,
        clear,
    }
}

/// The code's name, such as `Unavailable`.
fn name(code: Code) -> String {
    format!("{code:?}")
}
