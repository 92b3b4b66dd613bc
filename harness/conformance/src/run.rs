//! The order of a run: what changes nothing first, what may hurt later, restarts last.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use kms_history::{History, Outcome, What};
use kms_judge::stimuli as names;
use tokio::time::Instant;

use crate::client::Client;
use crate::lab::{Lab, Scene};
use crate::recorder::Recorder;
use crate::seeds::Seeds;
use crate::stimuli::{self, Shelf};
use crate::{Options, OptionsError, Target};

/// Longest that one stimulus may take; what it has done until then is judged.
const STIMULUS_LIMIT: Duration = Duration::from_secs(300);

/// Sends everything to the target and returns the transcript, which `recorder` holds too.
///
/// Whatever the subject does, this returns a history: a subject that cannot be reached leaves one in
/// which nothing was judged. An error means the options are unusable.
pub fn run<'a>(
    target: &'a Target,
    options: &'a Options,
    recorder: &'a Recorder,
) -> Pin<Box<dyn Future<Output = Result<History, OptionsError>> + 'a>> {
    // Boxed: it is compiled here, and not in each crate that runs it.
    Box::pin(whole(target, options, recorder))
}

async fn whole(
    target: &Target,
    options: &Options,
    recorder: &Recorder,
) -> Result<History, OptionsError> {
    options.validate()?;
    let lab = Lab {
        target,
        options,
        recorder,
        client: Client::new(target.connect.clone()),
        other_node: target.other_node.clone().map(Client::new),
        seeds: Seeds(options.seed),
        silent: Default::default(),
        log_start: target
            .logs
            .as_ref()
            .and_then(|path| std::fs::metadata(path).ok())
            .map_or(0, |metadata| metadata.len()),
    };
    if contact(&lab).await {
        everything(&lab).await;
    }
    Ok(recorder.history())
}

/// Waits until Status succeeds, then makes one ordinary call of each method. A subject that answers
/// but never succeeds is judged as it is; one that never answers is not asked further.
async fn contact(lab: &Lab<'_>) -> bool {
    let scene = lab.scene(names::CONTACT);
    let limit = lab.options.contact_limit;
    let start = Instant::now();
    let mut reached = false;
    loop {
        let reply = scene.status(names::WAITING).await;
        reached |= reply.reached();
        if matches!(reply.outcome, Outcome::Ok(_)) {
            break;
        }
        if start.elapsed() >= limit {
            if reached {
                break;
            }
            scene.not_run(format!("unreachable: no answer to Status within {limit:?}"));
            return false;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    scene.status("").await;
    scene.round_trip("", "first").await;
    true
}

async fn everything(lab: &Lab<'_>) {
    let mut shelf = Shelf::default();
    stage(lab, names::WIRE, |s| stimuli::wire::messages(s)).await;
    stage(lab, names::GRPC_GO, |s| stimuli::wire::grpc_go(s)).await;
    stage(lab, names::STATUS, |s| stimuli::status::polls(s)).await;
    stage(lab, names::AGREEMENT, |s| stimuli::status::agreement(s)).await;
    shelf.wrapped = stage(lab, names::ENCRYPT, |s| stimuli::encrypt::series(s))
        .await
        .unwrap_or_default();
    stage(lab, names::EQUAL, |s| stimuli::encrypt::equal(s)).await;
    stage(lab, names::UIDS, |s| stimuli::encrypt::uids(s)).await;
    stage(lab, names::ROUND_TRIPS, |s| stimuli::round_trips::run(s)).await;
    stage(lab, names::LENGTHS, |s| stimuli::round_trips::lengths(s)).await;
    stage(lab, names::DECRYPT, |s| stimuli::decrypt::series(s, &shelf)).await;
    stage(lab, names::DAMAGE, |s| stimuli::tamper::ciphertexts(s)).await;
    stage(lab, names::BINDING, |s| stimuli::tamper::fields(s)).await;
    stage(lab, names::BYSTANDERS, |s| stimuli::tamper::bystanders(s)).await;
    stage(lab, names::CONCURRENT, |s| stimuli::decrypt::concurrent(s)).await;
    stage(lab, names::BURST, |s| stimuli::decrypt::burst(s)).await;
    stage(lab, names::MEMORY, |s| stimuli::process::memory(s)).await;
    stage(lab, names::PINGS, |s| stimuli::wire::pings(s)).await;
    stage(lab, names::DEADLINES, |s| stimuli::wire::deadlines(s)).await;
    stage(lab, names::CANCELLED, |s| stimuli::wire::cancelled(s)).await;
    stage(lab, names::AUTHORITIES, |s| stimuli::wire::authorities(s)).await;
    stage(lab, names::SOCKET, |s| stimuli::operator::socket(s)).await;
    stage(lab, names::LOGS, |s| stimuli::operator::logs(s)).await;
    stage(lab, names::SERIES, |s| stimuli::series::errors(s)).await;
    stage(lab, names::OVERSIZED, |s| stimuli::malformed::oversized(s)).await;
    stage(lab, names::MALFORMED, |s| stimuli::malformed::malformed(s)).await;
    stage(lab, names::FROZEN, |s| stimuli::process::frozen(s)).await;
    stage(lab, names::SECRETS, |s| {
        stimuli::secrets::planted(s, &shelf)
    })
    .await;
    // Each of them waits for most of its time, and they do not meet: the spares are other processes.
    let rotation = stage(lab, names::ROTATION, |s| {
        stimuli::operator::rotation(s, &mut shelf)
    });
    Box::pin(async {
        tokio::join!(
            rotation,
            stage(lab, names::LATE_BACKEND, |s| stimuli::beside::late_backend(
                s
            )),
            stage(lab, names::FALSE_BACKENDS, |s| {
                stimuli::beside::false_backends(s)
            }),
            stage(lab, names::KEY_MADE_AGAIN, |s| {
                stimuli::beside::key_made_again(s)
            }),
            stage(lab, names::ROTATION_IN_VAIN, |s| {
                stimuli::beside::rotation_in_vain(s)
            }),
            stage(lab, names::MANY_ROTATIONS, |s| {
                stimuli::beside::many_rotations(s)
            }),
        )
    })
    .await;
    stage(lab, names::RESTART, |s| {
        stimuli::operator::restart(s, &shelf)
    })
    .await;
    stage(lab, names::STOP, |s| stimuli::process::stop(s)).await;
    stage(lab, names::CRASH, |s| stimuli::process::crash(s)).await;
}

/// Runs one stimulus within its limit. A subject that has gone silent is not asked again.
async fn stage<'a, T, F: Future<Output = T>>(
    lab: &'a Lab<'a>,
    name: &'static str,
    stimulus: impl FnOnce(Scene<'a>) -> F,
) -> Option<T> {
    let scene = lab.scene(name);
    if scene.gave_up() {
        scene.not_run("silent: the subject no longer answered when this was due");
        return None;
    }
    scene.progress(0, 1);
    let ended = tokio::time::timeout(STIMULUS_LIMIT, Box::pin(stimulus(scene))).await;
    if ended.is_err() {
        scene.record(What::NotRun("budget: stopped after 300 s".into()));
    }
    scene.progress(1, 1);
    ended.ok()
}
