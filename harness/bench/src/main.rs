//! Command line of the measurements; see the library for what they are.
//!
//! Exit codes: 0 all goals held, 1 the plugin missed one, 2 wrong usage, 3 could not measure or
//! nothing to judge by, 130 interrupted.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};
use kms_bench::real::{self, Part, Transport};
use kms_bench::soak::{self, Length};
use kms_bench::subject::Subject;
use kms_bench::{Outcome, locate};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(
    name = "kms-bench",
    version,
    about = "Measures a KMS v2 plugin beside direct calls to a real OpenBao, and soaks it"
)]
struct Cli {
    #[command(subcommand)]
    job: Job,
}

#[derive(Subcommand)]
enum Job {
    /// Latency, CPU, bursts, memory, start and outages, interleaved with direct calls
    Real(RealArgs),
    /// Short-lived tokens, revocations and rotations under steady load: no call may fail
    Soak(SoakArgs),
}

#[derive(Args)]
struct Common {
    /// Our plugin's binary; built alone in release mode when absent
    #[arg(long, value_name = "PATH", conflicts_with = "subject_command", value_parser = file)]
    plugin: Option<PathBuf>,
    /// Any other plugin: words between blanks with {socket} {vault} {ca} {token_file} {token}
    /// {role_id_file} {role_id} {secret_id_file} {secret_id}; a word with {ca} is left out over plain HTTP
    #[arg(long, value_name = "WORDS", value_parser = Subject::parse)]
    subject_command: Option<Subject>,
    /// OpenBao's binary; else `bao` on PATH, else the newest in the cache of real parts
    #[arg(long, value_name = "PATH", env = "BAO", value_parser = file)]
    bao: Option<PathBuf>,
    /// What goes to standard output
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Args)]
struct RealArgs {
    #[command(flatten)]
    common: Common,
    /// Undisturbed rounds wanted; at most twice as many are run
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Window of a cell in seconds, after 0.3 s of warm-up
    #[arg(long, default_value_t = 1.5, value_parser = seconds)]
    seconds: f64,
    /// Transports to the server
    #[arg(long, value_enum, default_value = "both")]
    tls: Transport,
    /// Parts to measure
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "load,bursts,rotations,start,outage"
    )]
    parts: Vec<Part>,
    /// Cores that other processes may use in a stretch that counts
    #[arg(long, default_value_t = 0.2, value_name = "CORES")]
    max_foreign: f64,
}

#[derive(Args)]
struct SoakArgs {
    #[command(flatten)]
    common: Common,
    /// Run until the server has counted this many logins
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    logins: u32,
    /// Run for this long instead, however many logins that brings
    #[arg(long, conflicts_with_all = ["logins", "short"], value_parser = clap::value_parser!(u16).range(1..=600))]
    minutes: Option<u16>,
    /// About a minute: fewer logins, rotations and revocations
    #[arg(long, conflicts_with = "logins")]
    short: bool,
    /// Plugins side by side; more of them reach the logins sooner
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=8))]
    plugins: u8,
}

/// A file that exists, as an absolute path: children run in a folder of their own.
fn file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text)
        .canonicalize()
        .map_err(|error| error.to_string())?;
    if path.is_file() {
        Ok(path)
    } else {
        Err("not a file".to_owned())
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("{text} is no number"))?;
    if (0.1..=60.0).contains(&value) {
        Ok(value)
    } else {
        Err("between 0.1 and 60 seconds".to_owned())
    }
}

impl Common {
    async fn find(&self) -> Result<(Subject, PathBuf)> {
        let bao = locate::bao(self.bao.as_deref())?;
        let subject = match &self.subject_command {
            Some(subject) => subject.clone(),
            None => Subject::Ours(locate::plugin(self.plugin.as_deref()).await?),
        };
        Ok((subject, bao))
    }

    fn print(&self, report: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        let mut out = std::io::stdout().lock();
        match self.format {
            Format::Text => out.write_all(text().as_bytes())?,
            Format::Json => {
                serde_json::to_writer_pretty(&mut out, report)?;
                out.write_all(b"\n")?;
            }
        }
        Ok(())
    }
}

async fn job(job: &Job) -> Result<Outcome> {
    match job {
        Job::Real(args) => {
            let (subject, bao) = args.common.find().await?;
            let report = real::run(&real::Options {
                subject,
                bao,
                rounds: usize::from(args.rounds),
                window: Duration::from_secs_f64(args.seconds),
                transport: args.tls,
                parts: args.parts.clone(),
                max_foreign: args.max_foreign,
            })
            .await?;
            args.common.print(&report, || report.markdown())?;
            Ok(report.outcome())
        }
        Job::Soak(args) => {
            let (subject, bao) = args.common.find().await?;
            let length = match args.minutes {
                Some(minutes) => Length::Minutes(minutes),
                None if args.short => Length::Short,
                None => Length::Logins(args.logins),
            };
            let report = soak::run(&subject, &bao, length, usize::from(args.plugins)).await?;
            args.common.print(&report, || report.markdown())?;
            Ok(report.outcome())
        }
    }
}

/// The job, or 130 as soon as somebody wants it to end; dropping it kills every child.
async fn until_interrupted(cli: Cli) -> Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        biased;
        _ = interrupt.recv() => Ok(ExitCode::from(130)),
        _ = terminate.recv() => Ok(ExitCode::from(130)),
        outcome = job(&cli.job) => Ok(ExitCode::from(outcome? as u8)),
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(until_interrupted(cli)));
    done.unwrap_or_else(|error| {
        kms_bench::progress(format_args!("{error:#}"));
        ExitCode::from(Outcome::Inconclusive as u8)
    })
}
