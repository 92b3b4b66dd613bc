//! How long Status goes on saying "ok" under load after the server has been killed or frozen.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::world::World;
use super::{Options, label};
use crate::kms::Kms;
use crate::load::{Sealed, Target, fresh_plaintext, seal};
use crate::progress;

/// One call each 20 ms: 50 a second, Encrypt and Decrypt in turns.
const CALL_EVERY: Duration = Duration::from_millis(20);
/// The limit that the callers set, as an API server's configuration does by default.
const CALL_LIMIT: Duration = Duration::from_secs(3);
const POLL_EVERY: Duration = Duration::from_millis(50);
/// A Status that takes longer is no "ok".
const POLL_LIMIT: Duration = Duration::from_secs(1);
const SETTLE: Duration = Duration::from_secs(3);
/// How long the outage lasts. Longer than the goal, so that a late "ok" is seen.
const DOWN: Duration = Duration::from_secs(10);
const RECOVERY: Duration = Duration::from_secs(30);

/// What happens to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// SIGKILL: connections are refused.
    Killed,
    /// SIGSTOP: connections stay open and nothing answers.
    Frozen,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Killed => "killed",
            Self::Frozen => "frozen",
        })
    }
}

/// One outage.
#[derive(Clone, Debug, Serialize)]
pub struct Outage {
    /// TLS to the server.
    pub tls: bool,
    /// What happened.
    pub event: Event,
    /// From the event to the first Status that was not "ok", seconds; `None` if there was none.
    pub first_error_s: Option<f64>,
    /// From the event to the last Status "ok" of the outage, seconds: how long it was untrue.
    pub last_ok_s: f64,
    /// Text of the first bad Status.
    pub text: String,
    /// From the server's return to the next Status "ok", seconds; `None` for a killed server or
    /// when it did not come within 30 s.
    pub recovered_after_s: Option<f64>,
    /// Calls that failed during the outage, of those sent.
    pub failed_calls: (u64, u64),
}

/// Makes the outage and watches Status through it.
pub(super) async fn measure(options: &Options, tls: bool, event: Event) -> Result<Outage> {
    progress(format_args!("server {event}, {}", label(tls)));
    let mut world = World::start(&options.subject, &options.bao, tls).await?;
    let kms = world.plugin.connect(CALL_LIMIT).await?;
    let target = Target::Plugin(kms.clone());
    let sealed = seal(&target, 64).await?;

    let load = tokio::spawn(load(target, sealed, SETTLE, DOWN));
    sleep(SETTLE).await;
    anyhow::ensure!(
        poll(&kms).await.is_ok(),
        "Status was not ok under load before the outage"
    );
    let down = Instant::now();
    world.server.process.signal(match event {
        Event::Killed => Signal::SIGKILL,
        Event::Frozen => Signal::SIGSTOP,
    })?;
    let (mut first_error, mut last_ok, mut text) = (None, 0.0, String::new());
    let mut ticks = interval(POLL_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while down.elapsed() < DOWN {
        ticks.tick().await;
        match poll(&kms).await {
            Ok(()) => last_ok = down.elapsed().as_secs_f64(),
            Err(error) if first_error.is_none() => {
                first_error = Some(down.elapsed().as_secs_f64());
                text = error;
            }
            Err(_) => {}
        }
    }
    world.plugin.process.must_run()?;
    let mut recovered_after_s = None;
    if event == Event::Frozen {
        world.server.process.signal(Signal::SIGCONT)?;
        let back = Instant::now();
        while recovered_after_s.is_none() && back.elapsed() < RECOVERY {
            ticks.tick().await;
            recovered_after_s = poll(&kms)
                .await
                .is_ok()
                .then(|| back.elapsed().as_secs_f64());
        }
    }
    let failed_calls = load.await?;
    Ok(Outage {
        tls,
        event,
        first_error_s: first_error,
        last_ok_s: last_ok,
        text,
        recovered_after_s,
        failed_calls,
    })
}

/// Whether Status says that all is well.
async fn poll(kms: &Kms) -> Result<(), String> {
    match timeout(POLL_LIMIT, kms.status()).await {
        Ok(Ok(status)) if status.healthz == "ok" => Ok(()),
        Ok(Ok(status)) => Err(format!("healthz {:?}", status.healthz)),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {POLL_LIMIT:?}")),
    }
}

/// Sends calls for `before` + `during`; (failed, sent) of those sent in the latter.
async fn load(
    target: Target,
    sealed: Arc<Vec<Sealed>>,
    before: Duration,
    during: Duration,
) -> (u64, u64) {
    let begin = Instant::now();
    let mut ticks = interval(CALL_EVERY);
    let mut calls = JoinSet::new();
    let mut sent = 0u64;
    let mut turn = 0usize;
    while begin.elapsed() < before + during {
        ticks.tick().await;
        turn += 1;
        let in_outage = begin.elapsed() >= before;
        sent += u64::from(in_outage);
        let (target, sealed) = (target.clone(), Arc::clone(&sealed));
        calls.spawn(async move {
            let call = async {
                if turn.is_multiple_of(2) {
                    target.encrypt(fresh_plaintext()).await.map(drop)
                } else {
                    target.decrypt(&sealed[turn / 2 % sealed.len()]).await
                }
            };
            in_outage && !matches!(timeout(CALL_LIMIT, call).await, Ok(Ok(())))
        });
    }
    let mut failed = 0;
    while let Some(done) = calls.join_next().await {
        failed += u64::from(done.unwrap_or(true));
    }
    (failed, sent)
}
