//! What needs the operator: rotation, restart, the socket's file, the log.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use kms_history::{HookStep, LogSearch, Needle, Outcome, SocketFacts, What};
use tokio::time::{Instant, sleep};

use kms_judge::stimuli::NODES;

use crate::facts::Spellings;
use crate::lab::{Material, Scene};
use crate::recorder::nanos;
use crate::stimuli::Shelf;
use crate::target::Hook;

/// Rotations made.
const ROTATIONS: u32 = 2;

/// Old material presented again, per key_id.
const OLD: usize = 10;

/// Rotates the remote key and looks at both sides of it (KMS2-ROT-01, ROT-03, DEC-05, STALE-05), and
/// at two nodes around the last rotation (KMS2-ROT-02).
pub(crate) async fn rotation(scene: Scene<'_>, shelf: &mut Shelf) {
    let nodes = scene.named(NODES);
    let Some(hook) = &scene.lab.target.rotate else {
        scene.not_run("no-hook: not told how to rotate the key");
        super::nodes::agree(nodes).await;
        return;
    };
    // Before the first rotation: after it the nodes may differ until both have looked.
    let two_nodes = super::nodes::agree(nodes).await;
    for round in 0..ROTATIONS {
        let reply = scene.status("").await;
        let before = reply.key_id.clone();
        if !matches!(reply.outcome, Outcome::Ok(_)) {
            scene.not_run("no-baseline: Status did not succeed before the rotation");
            return;
        }
        let uid = scene.uid(format_args!("{round}/before"));
        let old = scene
            .encrypt("", &scene.seed(format_args!("{round}/before")), uid)
            .await
            .1;
        let changed = |outcome: &Outcome, key_id: &Bytes| {
            matches!(outcome, Outcome::Ok(_)) && *key_id != before
        };
        let Some(effect_ns) = use_hook(scene, hook.as_ref(), "rotate", changed).await else {
            return;
        };
        scene.status("").await;
        let uid = scene.uid(format_args!("{round}/after"));
        let new = scene
            .encrypt("", &scene.seed(format_args!("{round}/after")), uid)
            .await
            .1;
        scene.status("").await;
        shelf.earlier.extend(old.clone());
        present(scene, &shelf.earlier, &format!("{round}/old")).await;
        if let (Some(old), Some(new)) = (old, new)
            && old.sealed.key_id != new.sealed.key_id
        {
            for (case, mut material, other) in
                [("new", old.clone(), &new), ("old", new.clone(), &old)]
            {
                material.sealed.key_id = other.sealed.key_id.clone();
                let uid = scene.uid(format_args!("{round}/other/{case}"));
                scene.decrypt("key-id:other", &material, uid).await;
            }
        }
        if two_nodes && round + 1 == ROTATIONS {
            super::nodes::agree_after_rotation(nodes, effect_ns).await;
        }
    }
}

/// Restarts the subject and presents what it wrapped before (KMS2-RT-02, DEC-07).
pub(crate) async fn restart(scene: Scene<'_>, shelf: &Shelf) {
    let Some(hook) = &scene.lab.target.restart else {
        scene.not_run("no-hook: not told how to restart it");
        return;
    };
    let worked = matches!(scene.status("").await.outcome, Outcome::Ok(_));
    let mut current = Vec::new();
    for i in 0..OLD {
        current.extend(scene.encrypt("", &scene.seed(i), scene.uid(i)).await.1);
    }
    // Unready is no answer yet, unless Status never was ready.
    let served = |outcome: &Outcome, _: &Bytes| match outcome {
        Outcome::Ok(_) => true,
        Outcome::Error { .. } => !worked,
        _ => false,
    };
    if use_hook(scene, hook.as_ref(), "restart", served)
        .await
        .is_none()
    {
        return;
    }
    for (i, material) in current.iter().enumerate() {
        scene
            .decrypt("", material, scene.uid(format_args!("{i}/after")))
            .await;
    }
    present(scene, &shelf.earlier, "earlier").await;
    // Material of the run's beginning is of an earlier key only if the key was rotated since.
    if shelf.earlier.is_empty() {
        for (i, material) in shelf.wrapped.iter().take(OLD).enumerate() {
            scene
                .decrypt("", material, scene.uid(format_args!("{i}/first")))
                .await;
        }
    }
    scene.round_trip("", "afterwards").await;
    scene.status("").await;
}

async fn present(scene: Scene<'_>, materials: &[Material], label: &str) {
    for (i, material) in materials.iter().enumerate() {
        scene
            .decrypt(
                "earlier-key",
                material,
                scene.uid(format_args!("{label}/{i}")),
            )
            .await;
    }
}

/// Calls a hook and waits for its effect on Status: how long it took, if it came.
pub(super) async fn use_hook(
    scene: Scene<'_>,
    hook: &dyn Hook,
    name: &str,
    effect: impl Fn(&Outcome, &Bytes) -> bool,
) -> Option<u64> {
    let start = Instant::now();
    let mut step = HookStep {
        hook: name.into(),
        error: None,
        effect_ns: None,
    };
    if let Err(error) = hook.call().await {
        scene.not_run(format!("hook-failed: {error}"));
        step.error = Some(error);
        scene.record(What::Hook(step));
        return None;
    }
    // These polls are no ordinary calls: failing is allowed while the effect is awaited.
    let client = scene.client;
    let mut pause = Duration::from_millis(20);
    while step.effect_ns.is_none() && start.elapsed() < scene.lab.options.hook_limit {
        let none = Spellings::of(b"");
        let (outcome, decoded) = client
            .call("Status", Bytes::new(), scene.lab.options.timeout, &none)
            .await;
        let key_id = decoded.map(|decoded| decoded.key_id).unwrap_or_default();
        if effect(&outcome, &key_id) {
            step.effect_ns = Some(nanos(start.elapsed()));
        } else {
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    }
    let effect_ns = step.effect_ns;
    scene.record(What::Hook(step));
    effect_ns
}

/// Looks at the socket's permissions (KMS2-SEC-02, CONN-15).
pub(crate) async fn socket(scene: Scene<'_>) {
    let Some(path) = scene.lab.target.connect.socket() else {
        scene.not_run("no-socket: the subject is not behind a socket file");
        return;
    };
    match look(path) {
        Ok(facts) => {
            scene.record(What::Socket(facts));
        }
        Err(error) => scene.not_run(format!("unreadable: {}: {error}", path.display())),
    }
}

fn look(path: &Path) -> std::io::Result<SocketFacts> {
    const OTHERS_PASS: u32 = 0o001;
    let path = path.canonicalize()?;
    let metadata = std::fs::metadata(&path)?;
    let mut open = true;
    for folder in path.ancestors().skip(1) {
        open &= std::fs::metadata(folder)?.mode() & OTHERS_PASS != 0;
    }
    Ok(SocketFacts {
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        path_open_to_others: open,
    })
}

/// Calls that succeed and fail, looked for in the log (KMS2-LOG-04, OBS-01, SEC-01).
pub(crate) async fn logs(scene: Scene<'_>) {
    /// How long a line may take to reach the file.
    const FLUSH: Duration = Duration::from_secs(3);
    const CALLS: u32 = 5;
    let Some(path) = &scene.lab.target.logs else {
        scene.not_run("no-log: not told where the log is");
        return;
    };
    sleep(scene.lab.options.log_pause).await;
    let mut needles: Vec<(&str, u64, Bytes)> = Vec::new();
    for i in 0..CALLS {
        let (plaintext, uid) = (scene.seed(i), scene.uid(i));
        let (reply, material) = scene.encrypt("", &plaintext, uid.clone()).await;
        needles.push(("uid", reply.seq, uid.into()));
        needles.push(("plaintext", reply.seq, plaintext));
        let Some(mut material) = material else {
            continue;
        };
        let uid = scene.uid(format_args!("{i}/decrypt"));
        let reply = scene.decrypt("", &material, uid.clone()).await;
        needles.push(("uid", reply.seq, uid.into()));
        material.sealed.ciphertext = Bytes::from_static(b"damaged");
        let uid = scene.uid(format_args!("{i}/damaged"));
        let reply = scene.decrypt("damaged", &material, uid.clone()).await;
        needles.push(("failed-uid", reply.seq, uid.into()));
        sleep(Duration::from_millis(50)).await;
    }
    let start = Instant::now();
    let text = loop {
        let text = match read_from(path, scene.lab.log_start) {
            Ok(text) => text,
            Err(error) => {
                scene.not_run(format!("unreadable: {}: {error}", path.display()));
                return;
            }
        };
        let failed = needles.iter().filter(|(kind, ..)| *kind == "failed-uid");
        if failed.clone().all(|(.., uid)| found(&text, uid)) || start.elapsed() >= FLUSH {
            break text;
        }
        sleep(Duration::from_millis(100)).await;
    };
    let needles = needles.into_iter().map(|(kind, call, needle)| {
        let forms = match kind {
            "plaintext" => Spellings::of(&needle).found_in(&text),
            _ if found(&text, &needle) => vec!["text"],
            _ => Vec::new(),
        };
        let forms = forms.into_iter().map(String::from).collect();
        Needle {
            kind: kind.into(),
            call,
            forms,
        }
    });
    let searched_bytes = text.len() as u64;
    scene.record(What::Log(LogSearch {
        searched_bytes,
        needles: needles.collect(),
    }));
}

fn found(text: &[u8], needle: &[u8]) -> bool {
    text.windows(needle.len()).any(|window| window == needle)
}

pub(super) fn read_from(path: &Path, offset: u64) -> std::io::Result<Vec<u8>> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = std::fs::File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    Ok(text)
}
