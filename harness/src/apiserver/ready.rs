//! When a server can be asked.

use std::time::Duration;

use anyhow::{Result, ensure};
use kms_apiserver_api::{ApiServer, Call, Method};
use tokio::time::{Instant, sleep};

/// How often a server that comes up is looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Limit of one look.
pub(super) const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// Waits until `/readyz` is 200 and the namespace `default` is there.
pub async fn ready(server: &dyn ApiServer, within: Duration) -> Result<Duration> {
    let start = Instant::now();
    loop {
        let mut last = Vec::new();
        for path in ["/readyz?verbose", "/api/v1/namespaces/default"] {
            let look = Call::new(Method::Get, path).with_timeout(LOOK_LIMIT);
            match server.call(look).await {
                Ok(answer) if answer.code == 200 => {}
                Ok(answer) => last.push(format!("{path}: {answer:?}")),
                Err(trouble) => last.push(trouble.to_string()),
            }
        }
        if last.is_empty() {
            return Ok(start.elapsed());
        }
        ensure!(
            start.elapsed() < within,
            "the API server is not ready after {} s: {}",
            within.as_secs(),
            last.join("; ")
        );
        sleep(LOOK_EVERY).await;
    }
}
