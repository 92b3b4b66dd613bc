//! The plugin's socket as the harness itself needs it: an address, a client, readiness.
//!
//! Not for judging: checks bring their own client and record what they see.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use hyper_util::rt::TokioIo;
use kms_v2_api::StatusRequest;
use kms_v2_api::client::KeyManagementServiceClient;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// How often a socket is tried while it is waited for.
const TRY_EVERY: Duration = Duration::from_millis(20);
/// Limit of one Status call, as the API server has it (KMS2-STATUS-09).
const STATUS_LIMIT: Duration = Duration::from_secs(3);
/// Longest socket path that the system can bind, in bytes.
const PATH_LIMIT: usize = 107;

/// The path in `unix:///path`.
pub fn parse(url: &str) -> Result<PathBuf> {
    let Some(path) = url.strip_prefix("unix://") else {
        bail!("the socket {url:?} must be unix:///PATH");
    };
    ensure!(
        path.starts_with('/'),
        "the socket {url:?} must be an absolute path: unix:///PATH"
    );
    ensure!(
        path.len() <= PATH_LIMIT,
        "the socket path {path:?} is longer than the {PATH_LIMIT} bytes a socket can have"
    );
    Ok(PathBuf::from(path))
}

/// A client on a connection of its own.
pub async fn connect(socket: &Path) -> Result<KeyManagementServiceClient<Channel>> {
    let path = socket.to_owned();
    let channel = Endpoint::from_static("http://localhost")
        .connect_with_connector(service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        }))
        .await
        .with_context(|| format!("connect to {}", socket.display()))?;
    Ok(KeyManagementServiceClient::new(channel))
}

/// One look at Status: `Err` tells what is not good yet.
pub async fn status_ok(socket: &Path) -> Result<()> {
    timeout(STATUS_LIMIT, async {
        let answer = connect(socket).await?.status(StatusRequest {}).await;
        let answer = answer
            .map_err(|status| anyhow::anyhow!("Status: {}: {}", status.code(), status.message()))?
            .into_inner();
        ensure!(
            answer.healthz == "ok",
            "Status: healthz is {:?}",
            answer.healthz
        );
        Ok(())
    })
    .await
    .with_context(|| format!("no answer to Status within {} s", STATUS_LIMIT.as_secs()))?
}

/// Waits until Status is good, at most `within`; gives up at once when `ended` says why.
pub async fn wait_ready(
    socket: &Path,
    within: Duration,
    mut ended: impl FnMut() -> Option<String>,
) -> Result<Duration> {
    let start = Instant::now();
    loop {
        let Err(last) = status_ok(socket).await else {
            return Ok(start.elapsed());
        };
        if let Some(why) = ended() {
            bail!("{why}");
        }
        if start.elapsed() >= within {
            return Err(last.context(format!("not ready after {} s", within.as_secs_f32())));
        }
        sleep(TRY_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_urls() {
        assert_eq!(
            parse("unix:///run/kms.sock").unwrap(),
            Path::new("/run/kms.sock")
        );
        for bad in [
            "/run/kms.sock",
            "unix://run/kms.sock",
            "unix:@kms",
            "tcp://127.0.0.1:1",
            "",
        ] {
            assert!(
                parse(bad).unwrap_err().to_string().contains("unix:///PATH"),
                "{bad}"
            );
        }
        let long = format!("unix:///{}", "a".repeat(PATH_LIMIT));
        assert!(parse(&long).unwrap_err().to_string().contains("longer"));
    }
}
