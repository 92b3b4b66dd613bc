//! Decrypt requests that nobody's Encrypt answered: changed ciphertexts, foreign key_ids and
//! annotations. What the subject makes of them decides whether etcd can be tampered with.

use bytes::Bytes;
use kms_judge::stimuli::AFTERWARDS;

use crate::lab::{Material, Scene, side_by_side};
use crate::seeds::random;

/// Ciphertexts that were changed (KMS2-DEC-04).
pub(crate) async fn ciphertexts(scene: Scene<'_>) {
    let Some(good) = scene
        .encrypt("", &scene.seed("good"), scene.uid("good"))
        .await
        .1
    else {
        scene.not_run("no-material: no Encrypt succeeded");
        return;
    };
    let bytes = good.sealed.ciphertext.clone();
    let mut cases: Vec<(String, Bytes)> = Vec::new();
    let step = bytes
        .len()
        .div_ceil(scene.lab.options.flips as usize)
        .max(1);
    for at in (0..bytes.len()).step_by(step) {
        let mut changed = bytes.to_vec();
        changed[at] ^= 1 << (at % 8);
        cases.push((format!("flip:{at}"), changed.into()));
    }
    for keep in [bytes.len() - 1, bytes.len() / 2, 1] {
        if keep > 0 && keep < bytes.len() {
            cases.push((format!("cut:{keep}"), bytes.slice(..keep)));
        }
    }
    cases.push(("headless".into(), bytes.slice(1.min(bytes.len())..)));
    cases.push(("empty".into(), Bytes::new()));
    cases.push(("longer".into(), [&bytes[..], b"\0"].concat().into()));
    cases.push(("twice".into(), [&bytes[..], &bytes[..]].concat().into()));
    let mut rng = scene.lab.seeds.rng("damage/random");
    for len in [bytes.len(), 1023, 1024, 1025] {
        cases.push((format!("random:{len}"), random(&mut rng, len).into()));
    }
    for len in [1023, 1024, 1025] {
        let mut padded = bytes.to_vec();
        padded.resize(len, b'A');
        cases.push((format!("padded:{len}"), padded.into()));
    }
    for (case, ciphertext) in cases {
        if ciphertext == bytes {
            continue;
        }
        let mut material = good.clone();
        material.sealed.ciphertext = ciphertext;
        let uid = scene.uid(&case);
        scene.decrypt(case, &material, uid).await;
        if scene.gave_up() {
            return;
        }
    }
    scene
        .decrypt(AFTERWARDS, &good, scene.uid("afterwards"))
        .await;
    scene.round_trip(AFTERWARDS, "afterwards").await;
}

/// key_ids and annotations that do not belong to the ciphertext (KMS2-DEC-04, DEC-05).
pub(crate) async fn fields(scene: Scene<'_>) {
    let Some(good) = scene
        .encrypt("", &scene.seed("good"), scene.uid("good"))
        .await
        .1
    else {
        scene.not_run("no-material: no Encrypt succeeded");
        return;
    };
    for (case, material) in key_ids(scene, &good).into_iter().chain(annotations(&good)) {
        let uid = scene.uid(&case);
        scene.decrypt(case, &material, uid).await;
        if scene.gave_up() {
            return;
        }
    }
    scene
        .decrypt(AFTERWARDS, &good, scene.uid("afterwards"))
        .await;
    scene.round_trip(AFTERWARDS, "afterwards").await;
}

fn key_ids(scene: Scene<'_>, good: &Material) -> Vec<(String, Material)> {
    let id = good.sealed.key_id.clone();
    let swapped_case: Vec<u8> = id
        .iter()
        .map(|b| {
            if b.is_ascii_lowercase() {
                b.to_ascii_uppercase()
            } else {
                b.to_ascii_lowercase()
            }
        })
        .collect();
    let mut variants: Vec<(&str, Bytes)> = vec![
        ("invented", scene.uid("invented").into()),
        ("empty", Bytes::new()),
        ("blank after", [&id[..], b" "].concat().into()),
        ("cut", id.slice(..id.len().saturating_sub(1))),
        ("longer", [&id[..], b"0"].concat().into()),
        ("other case", swapped_case.into()),
        ("next", successor(&id)),
        ("path", Bytes::from_static(b"../../sys/seal")),
    ];
    for (case, len) in [
        ("1023 bytes", 1023),
        ("1024 bytes", 1024),
        ("1025 bytes", 1025),
    ] {
        variants.push((case, vec![b'k'; len].into()));
    }
    variants
        .into_iter()
        .filter(|(_, variant)| *variant != id)
        .map(|(case, key_id)| {
            let mut material = good.clone();
            material.sealed.key_id = key_id;
            (format!("key-id:{case}"), material)
        })
        .collect()
}

/// The id that a counting plugin would give next: its last character one higher.
fn successor(id: &Bytes) -> Bytes {
    let mut next = id.to_vec();
    if let Some(last) = next.last_mut() {
        *last = match *last {
            b'9' => b'0',
            b'z' => b'a',
            b'Z' => b'A',
            other => other.wrapping_add(1) & 0x7f,
        };
    }
    next.into()
}

fn annotations(good: &Material) -> Vec<(String, Material)> {
    let given = &good.sealed.annotations;
    let with = |case: String, annotations: Vec<(Bytes, Bytes)>| {
        let mut material = good.clone();
        material.sealed.annotations = annotations;
        (case, material)
    };
    let foreign = (
        Bytes::from_static(b"foreign.example.com"),
        Bytes::from_static(b"1"),
    );
    let mut cases = Vec::new();
    for at in 0..given.len().min(4) {
        let mut changed = given.clone();
        let mut value = changed[at].1.to_vec();
        match value.first_mut() {
            Some(first) => *first ^= 1,
            None => value.push(b'x'),
        }
        changed[at].1 = value.into();
        cases.push(with(format!("annotation:changed value {at}"), changed));

        let mut renamed = given.clone();
        renamed[at].0 = [&renamed[at].0[..], b".x"].concat().into();
        cases.push(with(format!("annotation:changed key {at}"), renamed));

        let mut missing = given.clone();
        missing.remove(at);
        cases.push(with(format!("annotation:missing {at}"), missing));
    }
    let mut added = given.clone();
    added.push(foreign);
    // Without annotations of its own the subject has nothing that an added one could be bound to.
    let case = if given.is_empty() {
        "annotation:ignorable"
    } else {
        "annotation:added"
    };
    cases.push(with(case.into(), added));
    cases
}

/// Undecryptable objects beside ordinary calls: nobody else may notice (KMS2-AVAIL-08).
pub(crate) async fn bystanders(scene: Scene<'_>) {
    /// Rounds, and undecryptable objects in each.
    const ROUNDS: u32 = 5;
    /// Status calls before, to compare with.
    const BASELINE: u32 = 5;
    const BAD: u32 = 20;
    let Some(good) = scene
        .encrypt("", &scene.seed("good"), scene.uid("good"))
        .await
        .1
    else {
        scene.not_run("no-material: no Encrypt succeeded");
        return;
    };
    for _ in 0..BASELINE {
        scene.status("baseline").await;
    }
    let good = &good;
    for round in 0..ROUNDS {
        let bad = (0..BAD).map(|i| async move {
            let mut material = good.clone();
            let mut bytes = material.sealed.ciphertext.to_vec();
            let at = (i as usize * 7 + round as usize) % bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 0x20;
            }
            material.sealed.ciphertext = bytes.into();
            scene
                .caller(i + 1)
                .decrypt("bad", &material, scene.uid(format_args!("{round}/{i}")))
                .await
        });
        let ordinary = async {
            scene.status(AFTERWARDS).await;
            scene
                .decrypt(AFTERWARDS, good, scene.uid(format_args!("{round}/good")))
                .await;
            scene
                .round_trip(AFTERWARDS, format_args!("{round}/ordinary"))
                .await;
            scene.status(AFTERWARDS).await;
        };
        tokio::join!(side_by_side(BAD as usize, bad), ordinary);
        if scene.gave_up() {
            return;
        }
    }
    scene.status(AFTERWARDS).await;
}
