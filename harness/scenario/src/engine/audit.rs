//! The end of a run: what is stored, whether a fresh API server can read it, and whether anything stands in clear.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kms_apiserver_api::Trouble;
use kms_history::chaos::{AuditFact, Event};
use kms_history::search::holds;
use tokio::time::{Instant, sleep};

use super::load::{digested_of, read_end};
use super::{Run, answered, locked, stored, target};

/// How long a fresh API server may take to be ready before it is asked anyway.
const READY_WITHIN: Duration = Duration::from_secs(60);

pub(super) async fn audit(run: &Run) -> Result<(), Trouble> {
    let objects: Vec<String> = locked(&run.written).iter().cloned().collect();
    let server = run.world.apiserver(0);
    let fresh = run.world.fresh_apiserver(0).await?;
    let limit = Instant::now() + READY_WITHIN;
    while !fresh
        .health("/readyz")
        .await
        .is_ok_and(|answer| answer.ok())
        && Instant::now() < limit
    {
        sleep(Duration::from_millis(500)).await;
    }
    for object in objects {
        let Some(value) = server.stored(&target(&object)).await? else {
            continue; // a creation that never took effect
        };
        let fact = AuditFact {
            prefix: String::from_utf8_lossy(value.prefix()).into_owned(),
            key_id: stored::key_id(&value.bytes),
            clear: holds(&value.bytes, run.canary.as_bytes()),
            fresh: read_end(&answered(fresh.get(&target(&object))).await, digested_of),
            object,
        };
        run.note(Event::Audit(fact));
    }
    for place in run.world.leaks(&needles(&run.canary)).await? {
        run.note(Event::Leak(place));
    }
    Ok(())
}

/// The canary in clear, and as the base64 of any value that begins with it.
fn needles(canary: &str) -> Vec<Vec<u8>> {
    let whole = canary.len() - canary.len() % 3;
    vec![
        canary.as_bytes().to_vec(),
        STANDARD.encode(&canary.as_bytes()[..whole]).into_bytes(),
    ]
}
