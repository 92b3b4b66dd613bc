//! What the harness asks plugins by itself, and how much Vault was asked.

use std::sync::Arc;
use std::time::Duration;

use kms_apiserver_api::Trouble;
use kms_history::chaos::Event;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::{Run, Times};

/// Between two counts of Vault's calls.
const COUNT_EVERY: Duration = Duration::from_secs(10);
/// The deadline of a call: the API server's default (KMS2-CONN-07). A plugin plans by it, so a longer one would tell
/// nothing of what an API server sees.
const LIMIT: Duration = Duration::from_secs(3);

pub(super) fn start(run: &Arc<Run>, times: Times, tasks: &mut JoinSet<Result<(), Trouble>>) {
    for node in 0..run.plan.world.nodes {
        let seed = run.seed.label("probe").label(&format!("node {node}"));
        let phase =
            |label, every| times.settled + seed.label(label).duration(Duration::ZERO, every);
        tasks.spawn(status(
            Arc::clone(run),
            node,
            phase("status", run.plan.looks.status),
            times,
        ));
        tasks.spawn(encrypt(
            Arc::clone(run),
            node,
            phase("encrypt", run.plan.looks.encrypt),
            times,
        ));
    }
    let counted = Arc::clone(run);
    tasks.spawn(async move {
        let mut at = times.settled;
        while at < times.end {
            sleep_until(at).await;
            counted.world.note_vault_calls();
            at += COUNT_EVERY;
        }
        Ok(())
    });
}

async fn status(run: Arc<Run>, node: u32, first: Instant, times: Times) -> Result<(), Trouble> {
    let mut at = first;
    while at < times.end {
        sleep_until(at).await;
        let probe = run.world.status(node, LIMIT).await?;
        let (took, end) = (probe.took, probe.end);
        run.recorder.note(Some(node), Event::Status { took, end });
        at += run.plan.looks.status;
    }
    Ok(())
}

async fn encrypt(run: Arc<Run>, node: u32, first: Instant, times: Times) -> Result<(), Trouble> {
    let seed = run.seed.label("dek").label(&format!("node {node}"));
    let mut at = first;
    let mut number = 0_u32;
    while at < times.end {
        sleep_until(at).await;
        let key = seed.label(&number.to_string()).bytes();
        let probe = run.world.encrypt(node, &key, LIMIT).await?;
        let (took, end) = (probe.took, probe.end);
        run.recorder
            .note(Some(node), Event::Encrypted { took, end });
        if probe.clear {
            let place = format!("answer to Encrypt on node {node}");
            run.recorder.note(Some(node), Event::Leak(place));
        }
        at += run.plan.looks.encrypt;
        number += 1;
    }
    Ok(())
}
