//! 1,000 distinct Decrypts at once, as an API server's cold start brings them, and the memory that
//! they and 400 rotations leave behind.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::world::World;
use super::{Options, label};
use crate::load::{Failures, Sealed, Target, fresh_plaintext, seal};
use crate::proc::{self, Foreign};
use crate::progress;
use crate::stats::{median, median_ratio};

/// Decrypts in one burst, as many distinct ciphertexts.
const BURST: usize = 1000;
/// Bursts that are wanted; twice as many are run when others disturb.
const BURSTS: usize = 5;
/// In flight of the direct calls.
const DIRECT_WIDTH: usize = 16;
/// Limit of a whole burst.
const BURST_LIMIT: Duration = Duration::from_secs(20);
const ROTATIONS: usize = 400;
/// How long a plugin may take to notice the last rotation.
const TAKE_UP: Duration = Duration::from_secs(30);

/// Resident memory of the plugin, MiB (all pages / anonymous ones).
#[derive(Clone, Copy, Debug, Serialize)]
pub struct MemorySteps {
    /// After the start and one Status.
    pub start: f64,
    /// The anonymous part of it.
    pub start_anon: f64,
    /// After five bursts.
    pub after_bursts: f64,
    /// The anonymous part of it.
    pub after_bursts_anon: f64,
    /// Highest so far.
    pub peak: f64,
}

/// Bursts over one transport: medians, and ratios within the pair.
#[derive(Clone, Debug, Serialize)]
pub struct Bursts {
    /// TLS to the server.
    pub tls: bool,
    /// Direct calls, 16 in flight: milliseconds for all 1,000.
    pub direct_ms: f64,
    /// All at once through one channel of the plugin, milliseconds.
    pub plugin_ms: f64,
    /// Median of direct / plugin.
    pub times_faster: f64,
    /// CPU of the server for the direct calls, ms.
    pub direct_server_cpu_ms: f64,
    /// CPU of the server for the plugin's burst, ms.
    pub plugin_server_cpu_ms: f64,
    /// CPU of the plugin, ms.
    pub plugin_cpu_ms: f64,
    /// Failed Decrypts of the plugin in all bursts.
    pub failures: Failures,
    /// Failed direct Decrypts in all bursts.
    pub direct_failures: Failures,
    /// Undisturbed pairs; when there was none the figures are of all.
    pub quiet: usize,
    /// Pairs that ran.
    pub ran: usize,
    /// Memory of the plugin.
    pub memory: MemorySteps,
}

/// One burst of one side.
struct Burst {
    ms: f64,
    server_ms: f64,
    plugin_ms: f64,
    failures: Failures,
}

/// Bursts through a fresh plugin, in turns with direct calls.
pub(super) async fn measure(options: &Options, tls: bool) -> Result<Bursts> {
    progress(format_args!(
        "bursts of {BURST} Decrypts over {}",
        label(tls)
    ));
    let world = World::start(&options.subject, &options.bao, tls).await?;
    let pids = world.pids();
    let start = proc::memory(pids[1])?;
    let through_plugin = seal(&world.channel().await?, BURST).await?;
    let through_server = seal(&world.direct()?, BURST).await?;

    let mut pairs: Vec<(Burst, Burst, bool)> = Vec::new();
    let mut after = start;
    while pairs.len() < 2 * BURSTS && pairs.iter().filter(|(_, _, quiet)| *quiet).count() < BURSTS {
        let foreign = Foreign::watch(&pids)?;
        let plugin_first = pairs.len() % 2 == 1;
        let (direct, plugin);
        if plugin_first {
            plugin = one(&world, world.channel().await?, &through_plugin, BURST).await?;
            direct = one(&world, world.direct()?, &through_server, DIRECT_WIDTH).await?;
        } else {
            direct = one(&world, world.direct()?, &through_server, DIRECT_WIDTH).await?;
            plugin = one(&world, world.channel().await?, &through_plugin, BURST).await?;
        }
        pairs.push((direct, plugin, foreign.cores()? <= options.max_foreign));
        if pairs.len() == BURSTS {
            after = proc::memory(pids[1])?;
        }
    }
    let peak = mib(proc::memory(pids[1])?.peak);
    let memory = MemorySteps {
        start: mib(start.rss),
        start_anon: mib(start.anon),
        after_bursts: mib(after.rss),
        after_bursts_anon: mib(after.anon),
        peak,
    };
    Ok(sum_up(tls, pairs, memory))
}

fn sum_up(tls: bool, pairs: Vec<(Burst, Burst, bool)>, memory: MemorySteps) -> Bursts {
    let quiet = pairs.iter().filter(|(_, _, quiet)| *quiet).count();
    let ran = pairs.len();
    let (mut direct_failures, mut failures) = (Failures::default(), Failures::default());
    let mut counted = Vec::new();
    for (mut direct, mut plugin, is_quiet) in pairs {
        direct_failures.merge(std::mem::take(&mut direct.failures));
        failures.merge(std::mem::take(&mut plugin.failures));
        if is_quiet || quiet == 0 {
            counted.push((direct, plugin));
        }
    }
    let of = |field: fn(&(Burst, Burst)) -> f64| {
        median(&counted.iter().map(field).collect::<Vec<_>>()).unwrap_or(0.0)
    };
    Bursts {
        tls,
        direct_ms: of(|(direct, _)| direct.ms),
        plugin_ms: of(|(_, plugin)| plugin.ms),
        times_faster: median_ratio(
            counted
                .iter()
                .map(|(direct, plugin)| (direct.ms, plugin.ms)),
        )
        .unwrap_or(0.0),
        direct_server_cpu_ms: of(|(direct, _)| direct.server_ms),
        plugin_server_cpu_ms: of(|(_, plugin)| plugin.server_ms),
        plugin_cpu_ms: of(|(_, plugin)| plugin.plugin_ms),
        failures,
        direct_failures,
        quiet,
        ran,
        memory,
    }
}

/// Decrypts every value once, `width` at a time, over connections that were used before.
async fn one(
    world: &World,
    target: Target,
    sealed: &Arc<Vec<Sealed>>,
    width: usize,
) -> Result<Burst> {
    let [server, plugin] = world.pids();
    // Connections and handshakes of the direct side are not part of the comparison, nor is the channel.
    let warm = Arc::new(sealed[..2 * DIRECT_WIDTH].to_vec());
    decrypt_all(&target, &warm, DIRECT_WIDTH).await;
    let before = (proc::cpu(server)?, proc::cpu(plugin)?);
    let begin = Instant::now();
    let failures = decrypt_all(&target, sealed, width).await;
    let ms = begin.elapsed().as_secs_f64() * 1e3;
    let used = |after: Duration, before: Duration| (after - before).as_secs_f64() * 1e3;
    Ok(Burst {
        ms,
        server_ms: used(proc::cpu(server)?, before.0),
        plugin_ms: used(proc::cpu(plugin)?, before.1),
        failures,
    })
}

async fn decrypt_all(target: &Target, sealed: &Arc<Vec<Sealed>>, width: usize) -> Failures {
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..width.min(sealed.len()) {
        let (target, sealed, next) = (target.clone(), Arc::clone(sealed), Arc::clone(&next));
        workers.spawn(async move {
            let mut failures = Failures::default();
            while let Some(value) = sealed.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = target.decrypt(value).await {
                    failures.add(format!("{error:#}"));
                }
            }
            failures
        });
    }
    let all = async {
        let mut sum = Failures::default();
        while let Some(done) = workers.join_next().await {
            match done {
                Ok(failures) => sum.merge(failures),
                Err(error) => sum.add(error),
            }
        }
        sum
    };
    timeout(BURST_LIMIT, all).await.unwrap_or_else(|_| {
        let mut hung = Failures::default();
        hung.add(format!("a burst took more than {BURST_LIMIT:?}"));
        hung
    })
}

/// Memory of a plugin while its key is rotated.
#[derive(Clone, Debug, Serialize)]
pub struct Rotations {
    /// How many.
    pub rotations: usize,
    /// Before the first, MiB.
    pub before: f64,
    /// Highest, looked at after each rotation and after the last was taken up, MiB.
    pub highest: f64,
    /// Different key_ids that Encrypt gave meanwhile.
    pub key_ids: usize,
    /// From the last rotation until Status showed another key_id than at the start, seconds.
    pub taken_up_after_s: f64,
    /// Failed calls.
    pub failures: Failures,
}

/// 400 rotations, an Encrypt and a Status after each; then until the plugin has noticed.
pub(super) async fn rotations(options: &Options) -> Result<Rotations> {
    progress(format_args!("memory over {ROTATIONS} rotations"));
    let world = World::start(&options.subject, &options.bao, options.transport.each()[0]).await?;
    let [_, pid] = world.pids();
    let kms = world.plugin.connect(Duration::from_secs(3)).await?;
    let target = Target::Plugin(kms.clone());
    let first = kms.status().await?.key_id;
    let before = mib(proc::memory(pid)?.rss);
    let (mut highest, mut key_ids, mut failures) = (before, BTreeSet::new(), Failures::default());
    for _ in 0..ROTATIONS {
        world.server.rotate().await?;
        match target.encrypt(fresh_plaintext()).await {
            Ok(sealed) => drop(key_ids.insert(sealed.key_id)),
            Err(error) => failures.add(format!("{error:#}")),
        }
        if let Err(error) = kms.status().await {
            failures.add(error);
        }
        highest = highest.max(mib(proc::memory(pid)?.rss));
    }
    let last = Instant::now();
    while kms.status().await?.key_id == first {
        if last.elapsed() > TAKE_UP {
            bail!("the plugin did not notice {ROTATIONS} rotations within {TAKE_UP:?}");
        }
        sleep(Duration::from_millis(100)).await;
    }
    let taken_up_after_s = last.elapsed().as_secs_f64();
    key_ids.insert(target.encrypt(fresh_plaintext()).await?.key_id);
    highest = highest.max(mib(proc::memory(pid)?.rss));
    Ok(Rotations {
        rotations: ROTATIONS,
        before,
        highest,
        key_ids: key_ids.len(),
        taken_up_after_s,
        failures,
    })
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
