//! Many different errors, and what they make of the subject's metrics (KMS2-OBS-02).

use bytes::Bytes;
use kms_history::{Measure, What};

use crate::lab::{Material, Scene, side_by_side};

/// Wrong calls of every kind that later ones are of, before the first count.
const FIRST: u32 = 20;

/// Counts series after the first errors and after all of them.
pub(crate) async fn errors(scene: Scene<'_>) {
    if scene.lab.target.metrics.is_none() {
        scene.not_run("no-metrics: not told where its metrics are");
        return;
    }
    let Some(material) = scene
        .encrypt("", &scene.seed("sealed"), scene.uid("sealed"))
        .await
        .1
    else {
        scene.not_run("no-material: no Encrypt succeeded");
        return;
    };
    let total = scene.lab.options.errors.max(2 * FIRST);
    for range in [0..FIRST, FIRST..total] {
        let calls = range.map(|i| wrong(scene, i, &material));
        side_by_side(16, calls).await;
        if !count(scene).await {
            return;
        }
    }
}

/// A Decrypt that no other is like: ciphertext, key_id or annotation, and uid.
async fn wrong(scene: Scene<'_>, i: u32, material: &Material) {
    let mut material = material.clone();
    let noise = scene.seed(format_args!("noise/{i}"));
    let text: String = noise.iter().map(|b| format!("{b:02x}")).collect();
    let sealed = &mut material.sealed;
    let case = match i % 3 {
        0 => {
            sealed.ciphertext = noise;
            "ciphertext"
        }
        1 => {
            sealed.key_id = Bytes::from(text);
            "key-id"
        }
        _ => {
            sealed
                .annotations
                .push((format!("{text}.example").into(), noise));
            "annotation"
        }
    };
    scene.caller(i).decrypt(case, &material, scene.uid(i)).await;
}

async fn count(scene: Scene<'_>) -> bool {
    let Some(metrics) = &scene.lab.target.metrics else {
        return false;
    };
    match metrics.scrape().await {
        Ok(text) => {
            let series = text.lines().filter(|line| is_series(line)).count();
            scene.record(What::Measured(Measure {
                name: "metric-series".into(),
                value: series as u64,
            }));
            true
        }
        Err(error) => {
            scene.not_run(format!("no-metrics: {error}"));
            false
        }
    }
}

fn is_series(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#')
}
