//! Two nodes on one remote key, before and after a rotation (KMS2-ROT-02).

use std::time::Duration;

use kms_history::{HookStep, What};
use kms_judge::stimuli::{OTHER_NODE, WAITING};
use tokio::time::{Instant, sleep};

use crate::lab::Scene;
use crate::recorder::nanos;

/// Both report, and each opens what the other wrote. False when there is no second node.
pub(crate) async fn agree(scene: Scene<'_>) -> bool {
    if scene.lab.other_node.is_none() {
        scene.not_run("no-node: not told of a second node");
        return false;
    }
    scene.status("").await;
    scene.elsewhere().status(OTHER_NODE).await;
    exchange(scene, "before").await;
    true
}

/// The same straight after a rotation that the first node has seen; then the other one gets time to
/// see it, too. One rotation serves this and the stimulus that is about rotations: a plugin may look
/// at its key a few times a minute only.
pub(crate) async fn agree_after_rotation(scene: Scene<'_>, effect_ns: u64) {
    scene.record(What::Hook(HookStep {
        hook: "rotate".into(),
        error: None,
        effect_ns: Some(effect_ns),
    }));
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
