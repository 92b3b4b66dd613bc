//! What is asked of another process of the subject, with a key or a backend of its own: a backend
//! that comes late, a false one, a key that is deleted and made again, rotations without number.

use std::fmt::Display;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use kms_history::{Answer, Body, HookStep, Outcome, What};
use kms_judge::stimuli::{AFTERWARDS, AWAY, BEFORE, IN_VAIN, KEYLESS, MADE_AGAIN, SILENT};
use tokio::time::{Instant, sleep};

use super::operator::use_hook;
use super::process::measured;
use crate::client::Client;
use crate::lab::{Reply, Scene};
use crate::spare::{Act, Backend, Falsehood, Spare};
use crate::target::{BoxFuture, Hook};

/// How often Status and Encrypt are asked while something is watched.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a false backend waits for its first visitor.
const VISIT_LIMIT: Duration = Duration::from_secs(10);
/// Round trips before the memory is looked at, so that what is made once is there.
const WARM_UP: u32 = 50;

/// A spare, or a note why there is none.
async fn start(scene: Scene<'_>, backend: Backend) -> Option<Box<dyn Spare>> {
    let Some(spares) = &scene.lab.target.spares else {
        scene.not_run("no-spare: only a run that starts the subject can start it once more");
        return None;
    };
    match spares.start(backend).await {
        Ok(spare) => Some(spare),
        Err(reason) => {
            scene.not_run(reason);
            None
        }
    }
}

/// A start while nobody listens at the backend's address, then one that is silent, then the right one
/// (KMS2-AVAIL-04, AVAIL-03).
pub(crate) async fn late_backend(scene: Scene<'_>) {
    let Some(spare) = start(scene, Backend::Late).await else {
        return;
    };
    let client = Client::new(spare.connect());
    let scene = scene.on(&client);
    asked(scene, AWAY).await;
    if !act(scene, &*spare, Act::Hold).await {
        return;
    }
    asked(scene, SILENT).await;
    if until(scene, &*spare, Act::Come, |outcome, _| is_good(outcome)).await {
        scene.round_trip(AFTERWARDS, "afterwards").await;
    }
}

/// Status and Encrypt once each.
async fn asked(scene: Scene<'_>, case: &'static str) {
    scene.status(case).await;
    encrypt(scene, case, "once").await;
}

async fn encrypt(scene: Scene<'_>, case: &'static str, label: impl Display) {
    let label = format!("{case}/{label}");
    scene
        .encrypt(case, &scene.seed(&label), scene.uid(&label))
        .await;
}

/// A key that is deleted, and made again under its name (KMS2-AVAIL-10, ROT-04).
pub(crate) async fn key_made_again(scene: Scene<'_>) {
    let Some(spare) = start(scene, Backend::OwnKey).await else {
        return;
    };
    let client = Client::new(spare.connect());
    let scene = scene.on(&client);
    asked(scene, BEFORE).await;
    if !act(scene, &*spare, Act::DeleteKey).await {
        return;
    }
    watch(scene, KEYLESS, scene.lab.options.truth_limit, |status| {
        !is_good(&status.outcome)
    })
    .await;
    // Servers tell when a key was made to the second, and no operator is faster.
    sleep(scene.lab.options.watch / 2).await;
    if !act(scene, &*spare, Act::MakeKey).await {
        return;
    }
    watch(scene, MADE_AGAIN, scene.lab.options.watch, |_| false).await;
    // Some need a restart before they believe it; that is no fault.
    if until(scene, &*spare, Act::Restart, |outcome, _| is_good(outcome)).await {
        asked(scene, MADE_AGAIN).await;
    }
}

/// A rotation that the backend refuses (KMS2-ROT-05).
pub(crate) async fn rotation_in_vain(scene: Scene<'_>) {
    let Some(spare) = start(scene, Backend::OwnKey).await else {
        return;
    };
    let client = Client::new(spare.connect());
    let scene = scene.on(&client);
    asked(scene, BEFORE).await;
    if act(scene, &*spare, Act::RotateInVain).await {
        // Long enough for a look at the key that live calls bring about, if any do.
        watch(scene, IN_VAIN, scene.lab.options.watch * 5, |_| false).await;
    }
}

/// Memory before and after many rotations (KMS2-PERF-01).
pub(crate) async fn many_rotations(scene: Scene<'_>) {
    let Some(spare) = start(scene, Backend::OwnKey).await else {
        return;
    };
    let client = Client::new(spare.connect());
    let scene = scene.on(&client);
    let before = scene.status(BEFORE).await.key_id;
    for round in 0..WARM_UP {
        scene
            .round_trip(BEFORE, format_args!("warm-up/{round}"))
            .await;
    }
    if !memory(scene, &*spare).await {
        return;
    }
    let total = scene.lab.options.rotations;
    for round in 1..total {
        if let Err(error) = spare.act(Act::Rotate).await {
            scene.not_run(format!("hook-failed: rotation {round}: {error}"));
            return;
        }
        scene.progress(round.into(), total.into());
    }
    measured(scene, "rotations", total.into());
    let changed = |outcome: &Outcome, key_id: &Bytes| is_good(outcome) && *key_id != before;
    if !until(scene, &*spare, Act::Rotate, changed).await {
        return;
    }
    for round in 0..WARM_UP {
        scene
            .round_trip(AFTERWARDS, format_args!("afterwards/{round}"))
            .await;
    }
    memory(scene, &*spare).await;
}

async fn memory(scene: Scene<'_>, spare: &dyn Spare) -> bool {
    match spare.process().memory().await {
        Ok(bytes) => {
            measured(scene, "resident-bytes", bytes);
            true
        }
        Err(error) => {
            scene.not_run(format!("no-process: {error}"));
            false
        }
    }
}

/// Backends that are not the right one: what the subject tells them (KMS2-SEC-03).
pub(crate) async fn false_backends(scene: Scene<'_>) {
    join_all(Falsehood::ALL.map(|falsehood| visit(scene, falsehood))).await;
}

async fn visit(scene: Scene<'_>, falsehood: Falsehood) {
    let Some(spare) = start(scene, Backend::False(falsehood)).await else {
        return;
    };
    let begun = Instant::now();
    while spare.seen().contacts == 0 && begun.elapsed() < VISIT_LIMIT {
        sleep(Duration::from_millis(20)).await;
    }
    // It may try another way when the first one failed.
    sleep(scene.lab.options.watch / 2).await;
    let client = Client::new(spare.connect());
    scene.on(&client).status(falsehood.as_str()).await;
    let seen = spare.seen();
    let kind = falsehood.as_str();
    measured(scene, format!("contacts:{kind}"), seen.contacts);
    measured(scene, format!("requests:{kind}"), seen.requests);
    measured(scene, format!("credentials:{kind}"), seen.credentials);
}

/// Asks again and again until `enough` of a Status, at most for about `limit`.
async fn watch(
    scene: Scene<'_>,
    case: &'static str,
    limit: Duration,
    enough: impl Fn(&Reply) -> bool,
) {
    let start = Instant::now();
    let pause = LOOK_EVERY.min(limit / 8);
    let looks = limit.as_millis() / pause.as_millis().max(1);
    // Their number does not hang on time, unless the subject takes very long.
    for look in 0..=looks {
        // Encrypt first: then a Status that knows nothing has had its chance.
        encrypt(scene, case, look).await;
        if enough(&scene.status(case).await)
            || start.elapsed() >= limit + scene.lab.options.hook_limit
        {
            return;
        }
        sleep(pause).await;
    }
}

/// Does it, and says so in the transcript.
async fn act(scene: Scene<'_>, spare: &dyn Spare, act: Act) -> bool {
    let error = spare.act(act).await.err();
    if let Some(error) = &error {
        scene.not_run(format!("hook-failed: {error}"));
    }
    let done = error.is_none();
    scene.record(What::Hook(HookStep {
        hook: act.as_str().into(),
        error,
        effect_ns: None,
    }));
    done
}

/// Does it, and waits for its effect on Status.
async fn until(
    scene: Scene<'_>,
    spare: &dyn Spare,
    act: Act,
    effect: impl Fn(&Outcome, &Bytes) -> bool,
) -> bool {
    use_hook(scene, &Acting(spare, act), act.as_str(), effect)
        .await
        .is_some()
}

struct Acting<'a>(&'a dyn Spare, Act);

impl Hook for Acting<'_> {
    fn call(&self) -> BoxFuture<'_, Result<(), String>> {
        self.0.act(self.1)
    }
}

/// A Status that says that all is well.
fn is_good(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Ok(Answer { body: Body::Status { healthz, .. }, .. }) if healthz.text == "ok")
}
