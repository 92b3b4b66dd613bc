//! The subject as a process: its memory under load, its end by SIGTERM and by SIGKILL.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use kms_history::{HookStep, Measure, Outcome, What};
use kms_judge::stimuli::{AFTERWARDS, BEFORE, IN_FLIGHT, LATE, WAITING};
use tokio::time::{Instant, sleep};

use super::decrypt::{all_at_once, wrap};
use super::operator::use_hook;
use super::wire::{grpc_go_fields, open, path_of, raw_call, status_plan};
use crate::lab::{Scene, side_by_side};
use crate::process::{Process, Signal};
use crate::raw::conn::RawCall;
use crate::raw::frame;
use crate::recorder::nanos;
use crate::target::Hook;

/// Bursts of Decrypts; the first one warms up. What fills its memory for a while has time to end before the last three.
const CASES: [&str; 10] = [
    "burst-1", "burst-2", "burst-3", "burst-4", "burst-5", "burst-6", "burst-7", "burst-8",
    "burst-9", "burst-10",
];
/// Calls that begin after SIGTERM.
const LATE_CALLS: u32 = 4;

/// Resident memory before and after each of several bursts (KMS2-PERF-01).
pub(crate) async fn memory(scene: Scene<'_>) {
    let Some(process) = &scene.lab.target.process else {
        scene.not_run("no-process: the subject's process is not known");
        return;
    };
    let wrapped = wrap(scene, scene.lab.options.burst).await;
    if wrapped.is_empty() {
        scene.not_run("no-material: no Encrypt succeeded");
        return;
    }
    for burst in 0..=CASES.len() {
        if burst > 0 {
            all_at_once(scene, CASES[burst - 1], &wrapped).await;
        }
        match process.memory().await {
            Ok(bytes) => measured(scene, "resident-bytes", bytes),
            Err(error) => {
                scene.not_run(format!("no-process: {error}"));
                return;
            }
        }
        scene.progress(burst as u64, CASES.len() as u64);
    }
}

pub(super) fn measured(scene: Scene<'_>, name: impl Into<Cow<'static, str>>, value: u64) {
    scene.record(What::Measured(Measure {
        name: name.into(),
        value,
    }));
}

/// SIGTERM while a call is half sent: the rest of it is sent, and others are begun (KMS2-AVAIL-06).
pub(crate) async fn stop(scene: Scene<'_>) {
    let Some((process, restart)) = mortal(scene) else {
        return;
    };
    let limit = scene.lab.options.timeout;
    let worked = matches!(scene.status("").await.outcome, Outcome::Ok(_));
    let Some(mut conn) = open(scene).await else {
        return;
    };
    let plan = scene.encrypt_plan(IN_FLIGHT, &scene.seed("half"), scene.uid("half"));
    let message = frame::message(0, &plan.body);
    let (half, rest) = (
        message.slice(..message.len() / 2),
        message.slice(message.len() / 2..),
    );
    let path = path_of("Encrypt");
    let timeout = format!("{}m", limit.as_millis());
    let call = RawCall {
        method: "Encrypt",
        case: IN_FLIGHT,
        fields: grpc_go_fields(&path, "localhost", &timeout),
        data: half,
        open: true,
        request: plan.request,
        uid: plan.uid,
        of: None,
        deadline: Some(limit),
        limit,
    };
    let start = Instant::now();
    let sent = conn.start(&call).await;
    // Frames are taken in their order: with its PING acknowledged the subject has seen the call.
    conn.send(frame::Frame::bdp_ping()).await;
    while conn.ping_acks == 0 && conn.next(start + limit).await.is_some() {}
    if !signal(scene, process, Signal::Terminate).await {
        return;
    }
    // Time to begin its end.
    sleep(scene.lab.options.patience).await;
    let late = (0..LATE_CALLS).map(|i| async move { scene.caller(i).status(LATE).await });
    let (_, ()) = tokio::join!(side_by_side(LATE_CALLS as usize, late), async {
        conn.send(frame::Frame::new(
            frame::DATA,
            frame::END_STREAM,
            sent.0,
            rest,
        ))
        .await;
        conn.finish(&call, sent, start).await;
    });
    drop(conn);
    if back(scene, restart, worked).await {
        scene.round_trip(AFTERWARDS, "afterwards").await;
    }
}

/// A connection over a time in which the process is frozen (KMS2-AVAIL-09).
pub(crate) async fn frozen(scene: Scene<'_>) {
    let Some((process, _)) = mortal(scene) else {
        return;
    };
    let limit = scene.lab.options.timeout;
    let Some(mut conn) = open(scene).await else {
        return;
    };
    raw_call(&mut conn, status_plan(), BEFORE, "localhost", limit).await;
    conn.send(frame::Frame::bdp_ping()).await;
    let time = scene.lab.options.frozen;
    let error = process.freeze(time).await.err();
    if let Some(error) = &error {
        scene.not_run(format!("no-process: {error}"));
    }
    let thawed = error.is_none();
    scene.record(What::Hook(HookStep {
        hook: "freeze".into(),
        effect_ns: thawed.then(|| nanos(time)),
        error,
    }));
    if !thawed {
        return;
    }
    for _ in 0..3 {
        raw_call(&mut conn, status_plan(), AFTERWARDS, "localhost", limit).await;
    }
    // Other connections of before may be gone with this one, and that is told once.
    scene.status(WAITING).await;
}

/// SIGKILL, and a start beside the socket that was left (KMS2-AVAIL-05).
pub(crate) async fn crash(scene: Scene<'_>) {
    let Some((process, restart)) = mortal(scene) else {
        return;
    };
    let worked = matches!(scene.status("").await.outcome, Outcome::Ok(_));
    if !signal(scene, process, Signal::Kill).await {
        return;
    }
    let connect = &scene.lab.target.connect;
    let dead_by = Instant::now() + Duration::from_secs(2);
    while connect.connect().await.is_ok() && Instant::now() < dead_by {
        sleep(Duration::from_millis(5)).await;
    }
    let left = connect.socket().is_some_and(|path| path.exists());
    measured(scene, "socket-left", left.into());
    if back(scene, restart, worked).await {
        scene.round_trip(AFTERWARDS, "afterwards").await;
    }
}

/// Process and restart of a subject that can be ended, because somebody can start it again.
fn mortal(scene: Scene<'_>) -> Option<(&dyn Process, &dyn Hook)> {
    let target = scene.lab.target;
    match (&target.process, &target.restart) {
        (_, None) => scene.not_run("no-hook: not told how to restart it, so it is not ended"),
        (None, _) => scene.not_run("no-process: the subject's process is not known"),
        (Some(process), Some(restart)) => return Some((process.as_ref(), restart.as_ref())),
    }
    None
}

async fn signal(scene: Scene<'_>, process: &dyn Process, signal: Signal) -> bool {
    let error = process.signal(signal).await.err();
    if let Some(error) = &error {
        scene.not_run(format!("no-process: {error}"));
    }
    let worked = error.is_none();
    scene.record(What::Hook(HookStep {
        hook: match signal {
            Signal::Terminate => "terminate",
            Signal::Kill => "kill",
        }
        .into(),
        error,
        effect_ns: None,
    }));
    worked
}

/// Starts it again; false when it does not serve. Where Status `worked`, it has to again.
async fn back(scene: Scene<'_>, restart: &dyn Hook, worked: bool) -> bool {
    let served = |outcome: &Outcome, _: &Bytes| match outcome {
        Outcome::Ok(_) => true,
        Outcome::Error { .. } => !worked,
        _ => false,
    };
    use_hook(scene, restart, "restart", served).await.is_some()
}
