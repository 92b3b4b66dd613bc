//! Two nodes on one remote key, before and after a rotation (KMS2-ROT-02).

use std::time::Duration;

use kms_history::{HookStep, Outcome, What};
use kms_judge::stimuli::{OTHER_NODE, WAITING};
use tokio::time::{Instant, sleep};

use super::operator::use_hook;
use crate::lab::Scene;
use crate::recorder::nanos;

/// Both report, and each opens what the other wrote; straight after a rotation, too.
pub(crate) async fn agree(scene: Scene<'_>) {
    if scene.lab.other_node.is_none() {
        scene.not_run("no-node: not told of a second node");
        return;
    }
    let before = scene.status("").await.key_id;
    scene.elsewhere().status(OTHER_NODE).await;
    exchange(scene, "before").await;
    let Some(rotate) = &scene.lab.target.rotate else {
        return;
    };
    let changed = |outcome: &Outcome, key_id: &bytes::Bytes| {
        matches!(outcome, Outcome::Ok(_)) && *key_id != before
    };
    if !use_hook(scene, rotate.as_ref(), "rotate", changed).await {
        return;
    }
    // The other node may not have seen it yet, and has to open it all the same.
    exchange(scene, "after").await;
    let now = scene.status("").await.key_id;
    let start = Instant::now();
    let mut step = HookStep {
        hook: OTHER_NODE.into(),
        error: None,
        effect_ns: None,
    };
    while step.effect_ns.is_none() && start.elapsed() < scene.lab.options.hook_limit {
        if scene.elsewhere().status(WAITING).await.key_id == now {
            step.effect_ns = Some(nanos(start.elapsed()));
        } else {
            sleep(Duration::from_millis(200)).await;
        }
    }
    scene.record(What::Hook(step));
    scene.status("").await;
    scene.elsewhere().status(OTHER_NODE).await;
}

/// Each writes, the other reads.
async fn exchange(scene: Scene<'_>, label: &str) {
    for (writer, reader, written, read) in [
        (scene, scene.elsewhere(), "", OTHER_NODE),
        (scene.elsewhere(), scene, OTHER_NODE, ""),
    ] {
        let uid = scene.uid(format_args!("{label}/{written}/encrypt"));
        let seed = scene.seed(format_args!("{label}/{written}"));
        if let Some(material) = writer.encrypt(written, &seed, uid).await.1 {
            let uid = scene.uid(format_args!("{label}/{written}/decrypt"));
            reader.decrypt(read, &material, uid).await;
        }
    }
}
