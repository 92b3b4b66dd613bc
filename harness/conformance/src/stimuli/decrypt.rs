//! Decrypt as the API server sends it: in a row, at the same moment, and as a cold start.

use crate::lab::{Material, Scene, side_by_side};
use crate::stimuli::Shelf;

/// One after the other, for latency (KMS2-DEC-06).
pub(crate) async fn series(scene: Scene<'_>, shelf: &Shelf) {
    if shelf.wrapped.is_empty() {
        scene.not_run("no-material: no Encrypt of the run succeeded");
        return;
    }
    let total = scene.lab.options.decrypts;
    for (i, material) in (0..total).zip(shelf.wrapped.iter().cycle()) {
        scene.decrypt("", material, scene.uid(i)).await;
        if scene.gave_up() {
            return;
        }
        scene.progress(i.into(), total.into());
    }
}

/// Wraps `count` fresh seeds, some of them at once.
pub(crate) async fn wrap(scene: Scene<'_>, count: u32) -> Vec<Material> {
    let calls = (0..count).map(|i| async move {
        if scene.gave_up() {
            return None;
        }
        let uid = scene.uid(format_args!("{i}/encrypt"));
        scene.caller(i).encrypt("", &scene.seed(i), uid).await.1
    });
    side_by_side(16, calls)
        .await
        .into_iter()
        .flatten()
        .collect()
}

/// Equal ones at the same moment, then distinct ones (KMS2-DEC-08).
pub(crate) async fn concurrent(scene: Scene<'_>) {
    let count = scene.lab.options.concurrent;
    let wrapped = wrap(scene, count).await;
    let Some(first) = wrapped.first() else {
        scene.not_run("no-material: no Encrypt succeeded");
        return;
    };
    let equal = (0..count).map(|i| async move {
        scene
            .caller(i)
            .decrypt("equal", first, scene.uid(format_args!("equal/{i}")))
            .await
    });
    side_by_side(count as usize, equal).await;
    all_at_once(scene, "distinct", &wrapped).await;
}

/// As many distinct ones as a cold start sends (KMS2-PERF-02).
pub(crate) async fn burst(scene: Scene<'_>) {
    let wrapped = wrap(scene, scene.lab.options.burst).await;
    if wrapped.is_empty() {
        scene.not_run("no-material: no Encrypt succeeded");
        return;
    }
    all_at_once(scene, "", &wrapped).await;
}

pub(super) async fn all_at_once(scene: Scene<'_>, case: &'static str, wrapped: &[Material]) {
    let calls = (0..).zip(wrapped).map(|(i, material)| async move {
        let uid = scene.uid(format_args!("{i}/{case}"));
        scene.caller(i).decrypt(case, material, uid).await
    });
    side_by_side(wrapped.len(), calls).await;
}
