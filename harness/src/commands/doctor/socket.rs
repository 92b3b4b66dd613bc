//! A plugin's socket on this machine: what lies there, and its answer to Status. Nothing is encrypted.

use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use kms_doctor::raw::Raw;
use kms_v2_api::StatusRequest;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout};

use crate::socket;

/// As long as an API server waits for a plugin.
const LIMIT: Duration = Duration::from_secs(10);

pub(super) async fn look(path: &Path, node: &str, raw: &mut Raw) {
    let at = format!("nodes/{node}/plugin");
    super::put(raw, format!("{at}.socket.json"), &file(path));
    super::put(raw, format!("{at}.status.json"), &status(path).await);
}

fn file(path: &Path) -> Value {
    match std::fs::symlink_metadata(path) {
        Ok(found) => json!({
            "there": true,
            "socket": found.file_type().is_socket(),
            "mode": found.permissions().mode() & 0o7777,
        }),
        // what may not be looked at is there for all that is known
        Err(error) => json!({"there": error.kind() != ErrorKind::NotFound, "socket": true}),
    }
}

async fn status(path: &Path) -> Value {
    let began = Instant::now();
    // tried first, because the client's error does not tell why
    if let Err(error) = UnixStream::connect(path).await {
        let how = match error.kind() {
            ErrorKind::NotFound => "no_socket",
            ErrorKind::PermissionDenied => "denied",
            _ => "nobody",
        };
        return json!({"connect": how});
    }
    let call = async {
        let mut client = socket::connect(path).await.ok()?;
        Some(client.status(StatusRequest {}).await)
    };
    let answer = timeout(LIMIT, call).await;
    let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    match answer {
        Err(_) => json!({"connect": "silent"}),
        Ok(None) => json!({"connect": "nobody"}),
        Ok(Some(Ok(answer))) => {
            let it = answer.into_inner();
            json!({"version": it.version, "healthz": it.healthz, "key_id": it.key_id, "took_ms": took})
        }
        Ok(Some(Err(status))) => {
            json!({"code": status.code() as i32, "message": status.message(), "took_ms": took})
        }
    }
}
