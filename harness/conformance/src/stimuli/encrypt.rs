//! Encrypt: in a row, with equal plaintexts, with odd uids.

use kms_judge::stimuli::AFTERWARDS;

use crate::lab::{Material, Scene};

/// One after the other, for latency (KMS2-ENC-13). Returns what was wrapped.
pub(crate) async fn series(scene: Scene<'_>) -> Vec<Material> {
    let total = scene.lab.options.encrypts;
    let mut wrapped = Vec::new();
    for i in 0..total {
        let (_, material) = scene.encrypt("", &scene.seed(i), scene.uid(i)).await;
        wrapped.extend(material);
        if scene.gave_up() {
            break;
        }
        scene.progress(i.into(), total.into());
    }
    wrapped
}

/// The same plaintext again and again (KMS2-RT-03).
pub(crate) async fn equal(scene: Scene<'_>) {
    let plaintext = scene.seed("equal");
    for i in 0..4 {
        scene.encrypt("", &plaintext, scene.uid(i)).await;
    }
}

/// uids that the API server sends, and ones that it does not (KMS2-ENC-04).
pub(crate) async fn uids(scene: Scene<'_>) {
    let usual = scene.uid("usual");
    let forms = [
        ("", usual.clone()),
        ("empty", String::new()),
        ("upper case", usual.to_uppercase()),
        ("one character", "x".into()),
        ("4096 bytes", "u".repeat(4096)),
        ("not ASCII", "uid-\u{e9}\u{1f511}".into()),
        ("line break", "uid\n{\"level\":\"forged\"}".into()),
    ];
    for (case, uid) in forms {
        scene.encrypt(case, &scene.seed(case), uid).await;
    }
    // The same uid for two calls is no key to anything.
    for i in 0..2 {
        let plaintext = scene.seed(format_args!("repeated {i}"));
        scene.encrypt("", &plaintext, usual.clone()).await;
    }
    scene.round_trip(AFTERWARDS, "afterwards").await;
}
