//! The measurement against a real OpenBao: what a plugin costs beside direct calls, and how it behaves
//! in bursts, over rotations, at its start and when its server is gone.
//!
//! Everything that is compared runs interleaved on the same machine, server and key; ratios are
//! taken between neighbours and only then summed up. Stretches in which other processes used
//! more than the allowed share of the machine are repeated, and left out of the figures.

mod bursts;
mod cells;
mod goals;
mod outage;
mod render;
mod start;
mod world;

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde::Serialize;

pub use bursts::{Bursts, MemorySteps, Rotations};
pub use cells::{Cell, Load, Side, StatusLatency};
pub use goals::Goal;
pub use outage::{Event, Outage};
pub use start::Start;

use crate::subject::Subject;
use crate::{Outcome, progress};

/// Limit of a part, several times what it takes.
const PART_LIMIT: Duration = Duration::from_secs(240);

/// Which transport to the server is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    /// Both, interleaved.
    Both,
    /// Plain HTTP only.
    Http,
    /// TLS only.
    Tls,
}

impl Transport {
    fn each(self) -> &'static [bool] {
        match self {
            Self::Both => &[false, true],
            Self::Http => &[false],
            Self::Tls => &[true],
        }
    }
}

/// The parts of the measurement, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Latency, throughput and CPU of Encrypt, Decrypt and Status.
    Load,
    /// 1,000 Decrypts at once, and memory after them.
    Bursts,
    /// Memory over 400 rotations.
    Rotations,
    /// Start to the first good Status.
    Start,
    /// Status while the server is killed or frozen.
    Outage,
}

/// What to measure, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The plugin.
    pub subject: Subject,
    /// The server's binary.
    pub bao: PathBuf,
    /// Undisturbed rounds wanted; at most twice as many are run.
    pub rounds: usize,
    /// The window of a cell that counts.
    pub window: Duration,
    /// Transports.
    pub transport: Transport,
    /// Parts; the others are "not measured".
    pub parts: Vec<Part>,
    /// Cores that others may use in a stretch that counts.
    pub max_foreign: f64,
}

/// Everything that was measured.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Always `real`.
    pub kind: &'static str,
    /// Name of the plugin's binary.
    pub subject: String,
    /// Version that the server reports.
    pub server: String,
    /// Cores of this machine.
    pub cores: usize,
    /// Parts that could not be measured, and why.
    pub problems: Vec<String>,
    /// The goals, with figures beside them.
    pub goals: Vec<Goal>,
    /// Load.
    pub load: Load,
    /// 1,000 Decrypts at once.
    pub bursts: Vec<Bursts>,
    /// 400 rotations.
    pub rotations: Option<Rotations>,
    /// Starts.
    pub starts: Vec<Start>,
    /// Outages.
    pub outages: Vec<Outage>,
}

impl Report {
    /// Missed if a goal is; inconclusive if none is and some could not be judged, or none was measured.
    pub fn outcome(&self) -> Outcome {
        let measured = || self.goals.iter().filter(|goal| !goal.figures.is_empty());
        if measured().any(|goal| goal.holds == Some(false)) {
            Outcome::Missed
        } else if !self.problems.is_empty()
            || measured().count() == 0
            || measured().any(|goal| goal.holds.is_none())
        {
            Outcome::Inconclusive
        } else {
            Outcome::Held
        }
    }

    /// For people.
    pub fn markdown(&self) -> String {
        render::markdown(self)
    }
}

/// Runs the parts that were asked for. A part that cannot be measured is a problem in the report
/// and stops no other.
pub async fn run(options: &Options) -> Result<Report> {
    let mut report = Report {
        kind: "real",
        subject: options.subject.name(),
        cores: std::thread::available_parallelism()?.get(),
        ..Report::default()
    };
    let transports = options.transport.each();
    report.server = world::server_version(&options.bao, transports[0]).await?;
    let wanted = |part| options.parts.contains(&part);
    let problems = &mut report.problems;
    if wanted(Part::Load) {
        let load = bounded(cells::limit(options), cells::measure(options));
        report.load = noted(problems, "load", load.await).unwrap_or_default();
    }
    if wanted(Part::Bursts) {
        for tls in transports {
            let bursts = bounded(PART_LIMIT, bursts::measure(options, *tls)).await;
            report.bursts.extend(noted(problems, "bursts", bursts));
        }
    }
    if wanted(Part::Rotations) {
        let rotations = bounded(PART_LIMIT, bursts::rotations(options)).await;
        report.rotations = noted(problems, "rotations", rotations);
    }
    if wanted(Part::Start) {
        for tls in transports {
            let starts = bounded(PART_LIMIT, start::measure(options, *tls)).await;
            report
                .starts
                .extend(noted(problems, "start", starts).unwrap_or_default());
        }
    }
    if wanted(Part::Outage) {
        for tls in transports {
            for event in [Event::Killed, Event::Frozen] {
                let outage = bounded(PART_LIMIT, outage::measure(options, *tls, event)).await;
                report.outages.extend(noted(problems, "outage", outage));
            }
        }
    }
    report.goals = goals::judge(&report);
    Ok(report)
}

/// Ends a part that hangs.
async fn bounded<T>(limit: Duration, part: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(limit, part)
        .await
        .with_context(|| format!("gave up after {limit:?}"))?
}

fn noted<T>(problems: &mut Vec<String>, part: &str, result: Result<T>) -> Option<T> {
    result
        .inspect_err(|error| {
            let problem = format!("{part}: {error:#}");
            progress(&problem);
            problems.push(problem);
        })
        .ok()
}

fn label(tls: bool) -> &'static str {
    if tls { "TLS" } else { "HTTP" }
}
