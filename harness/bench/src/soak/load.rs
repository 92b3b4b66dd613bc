//! The steady load of a soak: each plugin is asked 100 times a second to encrypt, and each value is
//! decrypted at once by the same plugin or by its neighbour.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::kms::Kms;
use crate::load::{Failures, Sealed, Target, fresh_plaintext};
use crate::server::Identity;
use crate::stats::percentile;
use crate::subject::Plugin;

const CALL_EVERY: Duration = Duration::from_millis(10);
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// The limit that callers set, as an API server's configuration does by default.
const LIMIT: Duration = Duration::from_secs(3);

/// Latencies of one kind of call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Calls that were answered.
    pub calls: usize,
    /// Median, milliseconds.
    pub p50_ms: f64,
    /// 99th percentile, milliseconds.
    pub p99_ms: f64,
    /// Slowest, milliseconds.
    pub max_ms: f64,
}

impl Latency {
    fn of(mut micros: Vec<u64>) -> Self {
        micros.sort_unstable();
        let ms = |p| percentile(&micros, p).unwrap_or(0) as f64 / 1e3;
        Self {
            calls: micros.len(),
            p50_ms: ms(50.0),
            p99_ms: ms(99.0),
            max_ms: ms(100.0),
        }
    }
}

/// What one plugin did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tally {
    /// Whether its policy lets it renew its token.
    pub renews: bool,
    /// Encrypts.
    pub encrypt: Latency,
    /// Decrypts of what it wrote itself and of what its neighbour wrote.
    pub decrypt: Latency,
    /// Status.
    pub status: Latency,
    /// Decrypts of what another plugin wrote.
    pub of_others: u64,
    /// Those among them under another key_id than the reader's own latest: written after a rotation that
    /// one of the two had not taken up yet.
    pub under_other_key: u64,
    /// Different key_ids that it gave.
    pub key_ids: usize,
    /// Failed calls.
    pub failures: Failures,
}

/// Running counts of one plugin.
#[derive(Default)]
struct Counts {
    encrypt: Vec<u64>,
    decrypt: Vec<u64>,
    status: Vec<u64>,
    of_others: u64,
    under_other_key: u64,
    key_ids: BTreeSet<String>,
    latest: String,
    failures: Failures,
}

/// One plugin as the load sees it.
struct Member {
    kms: Kms,
    counts: Mutex<Counts>,
}

impl Member {
    fn counts(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().expect("no holder panics")
    }
}

/// All plugins, with the tasks that call them. Dropping it ends the tasks.
pub(super) struct Fleet {
    members: Vec<Arc<Member>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Fleet {
    /// Connects and starts the load.
    pub async fn start(running: &[(Identity, Plugin)]) -> Result<Self> {
        let mut members = Vec::new();
        for (_, plugin) in running {
            members.push(Arc::new(Member {
                kms: plugin.connect(LIMIT).await?,
                counts: Mutex::default(),
            }));
        }
        let mut tasks = Vec::new();
        for (n, member) in members.iter().enumerate() {
            let next = Arc::clone(&members[(n + 1) % members.len()]);
            tasks.push(tokio::spawn(write_and_read(Arc::clone(member), next)));
            tasks.push(tokio::spawn(watch_status(Arc::clone(member))));
        }
        Ok(Self { members, tasks })
    }

    /// Failed calls of the load so far.
    pub fn failed(&self) -> u64 {
        self.members
            .iter()
            .map(|member| member.counts().failures.count)
            .sum()
    }

    /// One Encrypt by the plugin `n`.
    pub async fn encrypt(&self, n: usize) -> Result<Sealed> {
        let target = Target::Plugin(self.members[n].kms.clone());
        timeout(LIMIT, target.encrypt(fresh_plaintext()))
            .await
            .context("no answer to Encrypt")?
    }

    /// Every plugin encrypts, every plugin decrypts that; returns how many values were read.
    pub async fn exchange(&self, failures: &mut Failures) -> u64 {
        let mut read = 0;
        for n in 0..self.members.len() {
            match self.encrypt(n).await {
                Ok(sealed) => read += self.read_back(&[sealed], failures).await,
                Err(error) => failures.add(format!("Encrypt right after a rotation: {error:#}")),
            }
        }
        read
    }

    /// Every plugin decrypts all of these; returns how many succeeded.
    pub async fn read_back(&self, values: &[Sealed], failures: &mut Failures) -> u64 {
        let mut read = 0;
        for member in &self.members {
            let target = Target::Plugin(member.kms.clone());
            for sealed in values {
                match timeout(LIMIT, target.decrypt(sealed)).await {
                    Ok(Ok(())) => read += 1,
                    Ok(Err(error)) => {
                        failures.add(format!("Decrypt of an exchanged or old value: {error:#}"))
                    }
                    Err(_) => failures.add("Decrypt of an exchanged or old value: no answer"),
                }
            }
        }
        read
    }

    /// Waits until all plugins name one key_id in Status; seconds that took, or `None` after `limit`.
    pub async fn converge(&self, limit: Duration) -> Option<f64> {
        let begin = Instant::now();
        while begin.elapsed() < limit {
            let mut named = BTreeSet::new();
            for member in &self.members {
                let answer = timeout(LIMIT, member.kms.status()).await;
                named.insert(answer.ok().and_then(Result::ok).map(|status| status.key_id));
            }
            if named.len() == 1 && !named.contains(&None) {
                return Some(begin.elapsed().as_secs_f64());
            }
            sleep(Duration::from_millis(250)).await;
        }
        None
    }

    /// Ends the load and sums up. Calls in flight are given up and count neither way.
    pub async fn finish(&self) -> Vec<Tally> {
        for task in &self.tasks {
            task.abort();
        }
        self.members
            .iter()
            .map(|member| sum_up(std::mem::take(&mut *member.counts())))
            .collect()
    }
}

fn sum_up(counts: Counts) -> Tally {
    Tally {
        renews: false,
        encrypt: Latency::of(counts.encrypt),
        decrypt: Latency::of(counts.decrypt),
        status: Latency::of(counts.status),
        of_others: counts.of_others,
        under_other_key: counts.under_other_key,
        key_ids: counts.key_ids.len(),
        failures: counts.failures,
    }
}

/// A call within the callers' limit; micros it took.
async fn timed<T>(call: impl Future<Output = Result<T>>) -> Result<(T, u64)> {
    let begin = Instant::now();
    match timeout(LIMIT, call).await {
        Ok(answer) => Ok((answer?, u64::try_from(begin.elapsed().as_micros())?)),
        Err(_) => bail!("no answer within {LIMIT:?}"),
    }
}

async fn write_and_read(writer: Arc<Member>, neighbour: Arc<Member>) {
    let mut ticks = interval(CALL_EVERY);
    // A stalled machine must not turn into a burst.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut calls = JoinSet::new();
    let mut own = true;
    loop {
        ticks.tick().await;
        while calls.try_join_next().is_some() {}
        own = !own;
        let reader = Arc::clone(if own { &writer } else { &neighbour });
        calls.spawn(once(Arc::clone(&writer), reader, own));
    }
}

/// One value written by one plugin and read by it or the other.
async fn once(writer: Arc<Member>, reader: Arc<Member>, own: bool) {
    let sealed = match timed(Target::Plugin(writer.kms.clone()).encrypt(fresh_plaintext())).await {
        Err(error) => return writer.counts().failures.add(format!("Encrypt: {error:#}")),
        Ok((sealed, micros)) => {
            let mut counts = writer.counts();
            counts.encrypt.push(micros);
            counts.latest.clone_from(&sealed.key_id);
            if !counts.key_ids.contains(&sealed.key_id) {
                counts.key_ids.insert(sealed.key_id.clone());
            }
            sealed
        }
    };
    let other_key = !own && reader.counts().latest != sealed.key_id;
    let result = timed(Target::Plugin(reader.kms.clone()).decrypt(&sealed)).await;
    let mut counts = reader.counts();
    match result {
        Err(error) => {
            let whose = if own { "its own" } else { "another's" };
            counts
                .failures
                .add(format!("Decrypt of {whose} value: {error:#}"));
        }
        Ok(((), micros)) => {
            counts.decrypt.push(micros);
            counts.of_others += u64::from(!own);
            counts.under_other_key += u64::from(other_key);
        }
    }
}

async fn watch_status(member: Arc<Member>) {
    let mut ticks = interval(STATUS_EVERY);
    loop {
        ticks.tick().await;
        let answer = timed(async { Ok(member.kms.status().await?) }).await;
        let mut counts = member.counts();
        match answer {
            Ok((status, micros)) if status.healthz == "ok" => counts.status.push(micros),
            Ok((status, _)) => counts
                .failures
                .add(format!("Status: healthz {:?}", status.healthz)),
            Err(error) => counts.failures.add(format!("Status: {error:#}")),
        }
    }
}
