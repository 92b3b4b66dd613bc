//! Status: many in a row, many at once, and beside Encrypt.

use crate::lab::{Scene, side_by_side};

/// Status calls at the same moment.
const HAMMER: u32 = 100;
/// Triples of Status, Encrypt, Status.
const TRIPLES: u32 = 20;

/// In a row, then at once (KMS2-STATUS-08, STATUS-15).
pub(crate) async fn polls(scene: Scene<'_>) {
    let total = scene.lab.options.polls;
    for done in 0..total {
        scene.status("").await;
        if scene.gave_up() {
            return;
        }
        scene.progress(done.into(), total.into());
    }
    let calls = (0..HAMMER).map(|i| async move { scene.caller(i).status("hammer").await });
    side_by_side(HAMMER as usize, calls).await;
}

/// Status and Encrypt by turns (KMS2-STATUS-07, ENC-06).
pub(crate) async fn agreement(scene: Scene<'_>) {
    scene.status("").await;
    for i in 0..TRIPLES {
        scene.encrypt("", &scene.seed(i), scene.uid(i)).await;
        scene.status("").await;
        if scene.gave_up() {
            return;
        }
    }
}
