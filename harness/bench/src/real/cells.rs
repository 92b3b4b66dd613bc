//! Latency, throughput and CPU of every cell: operation x concurrency x transport, plugin and direct
//! calls in turns.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use tokio::time::Instant;

use super::Options;
use super::world::World;
use crate::load::{Failures, Op, STRAGGLERS, Sample, Sealed, Target, closed_loop, seal};
use crate::proc::{self, Foreign};
use crate::progress;
use crate::stats::{median, median_ratio, percentile};

const WARM_UP: Duration = Duration::from_millis(300);
/// The widths of the closed loops.
pub(super) const CONCURRENCIES: [usize; 3] = [1, 16, 128];
/// Distinct ciphertexts that Decrypt cycles over.
const CIPHERTEXTS: usize = 256;

/// One side of a cell: medians over the stretches that count.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Side {
    /// Median latency, microseconds.
    pub p50_us: f64,
    /// Median over the callers of each one's median, microseconds.
    pub caller_p50_us: f64,
    /// 99th percentile, microseconds.
    pub p99_us: f64,
    /// Answers per second.
    pub per_second: f64,
    /// CPU of the server per call, microseconds.
    pub server_cpu_us: f64,
    /// CPU of the plugin per call, microseconds; zero for direct calls.
    pub plugin_cpu_us: f64,
    /// CPU of the load generator per call, microseconds.
    pub client_cpu_us: f64,
}

/// One cell of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// TLS to the server, or plain HTTP.
    pub tls: bool,
    /// Operation.
    pub op: Op,
    /// Calls in flight.
    pub concurrency: usize,
    /// Direct calls.
    pub direct: Side,
    /// Through the plugin.
    pub plugin: Side,
    /// Median of the neighbours' ratios of p50.
    pub ratio_p50: f64,
    /// The same of the median caller's p50.
    pub ratio_caller_p50: f64,
    /// Median of the neighbours' ratios of throughput.
    pub ratio_per_second: f64,
    /// Median of plugin's CPU per call / server's CPU per direct call.
    pub ratio_cpu: f64,
    /// Stretches without much load of others.
    pub quiet: usize,
    /// Stretches that ran. When none was quiet, the figures are of all of them.
    pub ran: usize,
    /// Failed calls of the plugin, in any stretch.
    pub failures: Failures,
    /// Failed direct calls, in any stretch.
    pub direct_failures: Failures,
}

/// Status alone, one call at a time.
#[derive(Clone, Debug, Serialize)]
pub struct StatusLatency {
    /// TLS to the server.
    pub tls: bool,
    /// Median, microseconds.
    pub p50_us: f64,
    /// 99th percentile, microseconds.
    pub p99_us: f64,
    /// CPU of the plugin per call, microseconds.
    pub plugin_cpu_us: f64,
    /// CPU of the server per call, microseconds.
    pub server_cpu_us: f64,
}

/// The part of the report about load.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Load {
    /// Rounds that ran; each cell says how many of its own counted.
    pub rounds: usize,
    /// Cores that others used, per round.
    pub foreign_per_round: Vec<f64>,
    /// All cells.
    pub cells: Vec<Cell>,
    /// Status alone.
    pub status: Vec<StatusLatency>,
}

/// Plugin and direct calls measured one right after the other.
struct Pair {
    direct: Side,
    plugin: Side,
    quiet: bool,
}

/// What a cell needs over all rounds.
struct Course {
    /// Index of its world.
    world: usize,
    tls: bool,
    op: Op,
    concurrency: usize,
    pairs: Vec<Pair>,
    failures: Failures,
    direct_failures: Failures,
}

impl Course {
    fn quiet(&self) -> usize {
        self.pairs.iter().filter(|pair| pair.quiet).count()
    }
}

struct Prepared {
    tls: bool,
    world: World,
    direct: Arc<Vec<Sealed>>,
    plugin: Arc<Vec<Sealed>>,
}

/// Longest time that [`measure`] can take when every call hangs.
pub(super) fn limit(options: &Options) -> Duration {
    let cells = 2 * 2 * CONCURRENCIES.len() * options.transport.each().len();
    let stretches = u32::try_from(2 * options.rounds * cells).expect("at most 100 rounds");
    Duration::from_secs(120) + stretches * (WARM_UP + options.window + STRAGGLERS)
}

/// Rounds until every cell has its undisturbed stretches, at most twice as many as wanted.
pub(super) async fn measure(options: &Options) -> Result<Load> {
    progress(format_args!(
        "load: {} to {} rounds",
        options.rounds,
        2 * options.rounds
    ));
    let mut report = Load::default();
    let mut worlds = Vec::new();
    for tls in options.transport.each() {
        let world = World::start(&options.subject, &options.bao, *tls).await?;
        let direct = seal(&world.direct()?, CIPHERTEXTS).await?;
        let plugin = seal(&world.channel().await?, CIPHERTEXTS).await?;
        worlds.push(Prepared {
            tls: *tls,
            world,
            direct,
            plugin,
        });
    }
    let pids: Vec<u32> = worlds
        .iter()
        .flat_map(|prepared| prepared.world.pids())
        .collect();
    let mut courses = Vec::new();
    for (world, prepared) in worlds.iter().enumerate() {
        let tls = prepared.tls;
        for op in [Op::Encrypt, Op::Decrypt] {
            for concurrency in CONCURRENCIES {
                let (pairs, failures) = (Vec::new(), Failures::default());
                courses.push(Course {
                    world,
                    tls,
                    op,
                    concurrency,
                    pairs,
                    direct_failures: failures.clone(),
                    failures,
                });
            }
        }
    }
    for round in 0..2 * options.rounds {
        if courses
            .iter()
            .all(|course| course.quiet() >= options.rounds)
        {
            break;
        }
        let whole_round = Foreign::watch(&pids)?;
        for course in courses
            .iter_mut()
            .filter(|course| course.quiet() < options.rounds)
        {
            let prepared = &worlds[course.world];
            let foreign = Foreign::watch(&pids)?;
            let mut sides = [Side::default(), Side::default()];
            let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
            for side in order {
                let (target, sealed) = match side {
                    0 => (prepared.world.direct()?, &prepared.direct),
                    _ => (prepared.world.channel().await?, &prepared.plugin),
                };
                let sample = one(options, &target, course, sealed, prepared).await?;
                sides[side] = reduce(&sample);
                if side == 0 {
                    &mut course.direct_failures
                } else {
                    &mut course.failures
                }
                .merge(sample.failures);
            }
            let [direct, plugin] = sides;
            course.pairs.push(Pair {
                direct,
                plugin,
                quiet: foreign.cores()? <= options.max_foreign,
            });
        }
        report.rounds = round + 1;
        report.foreign_per_round.push(whole_round.cores()?);
        let done = courses
            .iter()
            .filter(|course| course.quiet() >= options.rounds)
            .count();
        let others = report.foreign_per_round[round];
        progress(format_args!(
            "round {} done, others used {others:.2} cores, {done} of {} cells complete",
            round + 1,
            courses.len()
        ));
    }
    report.cells = courses.into_iter().map(finish).collect();
    for prepared in &worlds {
        report.status.push(status(prepared, options.window).await?);
    }
    Ok(report)
}

async fn one(
    options: &Options,
    target: &Target,
    course: &Course,
    sealed: &Arc<Vec<Sealed>>,
    prepared: &Prepared,
) -> Result<Sample> {
    let times = (WARM_UP, options.window);
    closed_loop(
        target,
        course.op,
        course.concurrency,
        sealed,
        times,
        &prepared.world.pids(),
    )
    .await
}

fn reduce(sample: &Sample) -> Side {
    // A side without answers must not look fast.
    let micros = |ns: Option<u64>| ns.map_or(f64::INFINITY, |ns| ns as f64 / 1e3);
    let us = |p| micros(percentile(&sample.latencies, p));
    Side {
        p50_us: us(50.0),
        caller_p50_us: micros(sample.caller_p50),
        p99_us: us(99.0),
        per_second: sample.per_second,
        server_cpu_us: sample.cpu_us[0],
        plugin_cpu_us: sample.cpu_us[1],
        client_cpu_us: sample.client_cpu_us,
    }
}

fn finish(course: Course) -> Cell {
    let quiet = course.quiet();
    let counted: Vec<&Pair> = course
        .pairs
        .iter()
        .filter(|pair| pair.quiet || quiet == 0)
        .collect();
    let ratio = |plugin: fn(&Side) -> f64, direct: fn(&Side) -> f64| {
        // No answers on one side is no ratio, and never a good one.
        median_ratio(
            counted
                .iter()
                .map(|pair| (plugin(&pair.plugin), direct(&pair.direct))),
        )
        .unwrap_or(f64::INFINITY)
    };
    Cell {
        tls: course.tls,
        op: course.op,
        concurrency: course.concurrency,
        ratio_p50: ratio(|side| side.p50_us, |side| side.p50_us),
        ratio_caller_p50: ratio(|side| side.caller_p50_us, |side| side.caller_p50_us),
        ratio_per_second: ratio(|side| side.per_second, |side| side.per_second),
        ratio_cpu: ratio(|side| side.plugin_cpu_us, |side| side.server_cpu_us),
        direct: medians(&counted, |pair| &pair.direct),
        plugin: medians(&counted, |pair| &pair.plugin),
        quiet,
        ran: course.pairs.len(),
        failures: course.failures,
        direct_failures: course.direct_failures,
    }
}

fn medians(pairs: &[&Pair], side: fn(&Pair) -> &Side) -> Side {
    let of = |field: fn(&Side) -> f64| {
        let values: Vec<f64> = pairs.iter().map(|pair| field(side(pair))).collect();
        median(&values).unwrap_or(0.0)
    };
    Side {
        p50_us: of(|side| side.p50_us),
        caller_p50_us: of(|side| side.caller_p50_us),
        p99_us: of(|side| side.p99_us),
        per_second: of(|side| side.per_second),
        server_cpu_us: of(|side| side.server_cpu_us),
        plugin_cpu_us: of(|side| side.plugin_cpu_us),
        client_cpu_us: of(|side| side.client_cpu_us),
    }
}

async fn status(prepared: &Prepared, window: Duration) -> Result<StatusLatency> {
    let kms = prepared
        .world
        .plugin
        .connect(Duration::from_secs(3))
        .await?;
    let pids = prepared.world.pids();
    let mut latencies = Vec::new();
    let end = Instant::now() + window;
    let before = [proc::cpu(pids[0])?, proc::cpu(pids[1])?];
    while Instant::now() < end {
        let started = Instant::now();
        kms.status().await?;
        latencies.push(u64::try_from(started.elapsed().as_nanos())?);
    }
    let per_call = |i: usize| {
        anyhow::Ok((proc::cpu(pids[i])? - before[i]).as_secs_f64() * 1e6 / latencies.len() as f64)
    };
    let (server_cpu_us, plugin_cpu_us) = (per_call(0)?, per_call(1)?);
    latencies.sort_unstable();
    let us = |p| percentile(&latencies, p).unwrap_or(0) as f64 / 1e3;
    Ok(StatusLatency {
        tls: prepared.tls,
        p50_us: us(50.0),
        p99_us: us(99.0),
        plugin_cpu_us,
        server_cpu_us,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(direct: f64, plugin: f64, quiet: bool) -> Pair {
        let side = |p50_us| Side {
            p50_us,
            ..Side::default()
        };
        Pair {
            direct: side(direct),
            plugin: side(plugin),
            quiet,
        }
    }

    #[test]
    fn disturbed_stretches_are_left_out_unless_there_is_nothing_else() {
        let course = |pairs| Course {
            world: 0,
            tls: false,
            op: Op::Encrypt,
            concurrency: 1,
            pairs,
            failures: Failures::default(),
            direct_failures: Failures::default(),
        };
        let cell = finish(course(vec![pair(1.0, 9.0, false), pair(1.0, 2.0, true)]));
        assert_eq!((cell.ratio_p50, cell.quiet, cell.ran), (2.0, 1, 2));
        let cell = finish(course(vec![pair(1.0, 9.0, false)]));
        assert_eq!((cell.ratio_p50, cell.quiet, cell.ran), (9.0, 0, 1));
    }
}
