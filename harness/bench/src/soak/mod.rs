//! Plugins side by side on one real OpenBao, with tokens that live seconds, revocations and key rotations:
//! no call may fail.
//!
//! Every second plugin may not renew its token, as with the policy of operators' procedures, so
//! it logs in again for each 3 s life; the others may, and meet the 9 s cliff of the max TTL.
//! What one plugin writes, it or its neighbour reads at once, all the time: after a
//! rotation that includes values of a version that the reader has not taken up yet.

mod load;
mod render;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use load::Fleet;
pub use load::{Latency, Tally};

use crate::load::Failures;
use crate::server::{Identity, Server};
use crate::subject::{Auth, Fill, Plugin, Subject};
use crate::{Outcome, progress};

/// Time to live of a login's token, seconds.
const TTL: u64 = 3;
/// Longest life of a token with all its renewals, seconds.
const MAX_TTL: u64 = 9;
/// Length of the short form.
const SHORT: Duration = Duration::from_secs(75);
/// How long plugins may differ after the last rotation.
const CONVERGE: Duration = Duration::from_secs(30);
/// Limit of one administrator's call.
const ADMIN: Duration = Duration::from_secs(10);

/// How long to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Until the server has counted so many logins.
    Logins(u32),
    /// For a time.
    Minutes(u16),
    /// For 75 s, with fewer events.
    Short,
}

/// What a length means for a number of plugins.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Plan {
    /// Logins without which the run shows nothing.
    logins: u64,
    rotations: usize,
    revocations: usize,
    /// When every token lives to its end; for [`Length::Logins`] the latest that is expected.
    expected: Duration,
    /// Progress is counted in logins rather than in time.
    by_logins: bool,
}

impl Plan {
    fn new(length: Length, plugins: usize) -> Self {
        let renewing = plugins.div_ceil(2) as f64 / MAX_TTL as f64;
        let fixed = (plugins / 2) as f64 / TTL as f64;
        let per_second = renewing + fixed;
        let timed = |expected: Duration, rotations, revocations| Self {
            logins: (expected.as_secs_f64() * per_second * 0.8) as u64,
            rotations,
            revocations,
            expected,
            by_logins: false,
        };
        match length {
            Length::Logins(logins) => Self {
                logins: u64::from(logins),
                rotations: 20,
                revocations: 10,
                expected: Duration::from_secs_f64(f64::from(logins) / per_second),
                by_logins: true,
            },
            Length::Minutes(minutes) => timed(Duration::from_secs(60 * u64::from(minutes)), 20, 10),
            Length::Short => timed(SHORT, 4, 3),
        }
    }

    /// How much of the run is behind us, 1 at its end.
    fn progress(&self, logins: u64, elapsed: Duration) -> f64 {
        if self.by_logins {
            logins as f64 / self.logins as f64
        } else {
            elapsed.as_secs_f64() / self.expected.as_secs_f64()
        }
    }

    /// The latest end of the load.
    fn limit(&self) -> Duration {
        self.expected.mul_f64(1.5) + Duration::from_secs(30)
    }

    /// All events with the progress at which each is due, evenly spread, in order.
    fn events(&self) -> Vec<(f64, Event)> {
        let spread = |count: usize, event| {
            (0..count).map(move |i| ((i as f64 + 0.5) / count as f64 * 0.95, event))
        };
        let mut all: Vec<_> = spread(self.rotations, Event::Rotate)
            .chain(spread(self.revocations, Event::Revoke))
            .collect();
        all.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        all
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Rotate,
    Revoke,
}

/// What the soak came to.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Always `soak`.
    pub kind: &'static str,
    /// Name of the plugin's binary.
    pub subject: String,
    /// Length of the load, seconds.
    pub seconds: f64,
    /// Logins by the server's count, and how many were wanted.
    pub logins: (u64, u64),
    /// Rotations made and planned.
    pub rotations: (usize, usize),
    /// Revocations of all the plugins' tokens at once, made and planned.
    pub revocations: (usize, usize),
    /// Values exchanged between all plugins right after each rotation.
    pub exchanged: u64,
    /// Values of all versions that were read back at the end.
    pub read_back: u64,
    /// From the end of the load's plan until all plugins named the same key_id; `None` if never.
    pub converged_after_s: Option<f64>,
    /// Failures of the exchange, of the reading back, and of plugins that ended.
    pub failures: Failures,
    /// What each plugin did.
    pub plugins: Vec<Tally>,
}

impl Report {
    /// All failed calls.
    pub fn failed(&self) -> u64 {
        self.failures.count
            + self
                .plugins
                .iter()
                .map(|plugin| plugin.failures.count)
                .sum::<u64>()
    }

    /// Missed if a call failed or the plugins did not agree in the end; inconclusive if what
    /// should have been survived did not happen.
    pub fn outcome(&self) -> Outcome {
        let done = |(made, wanted): (usize, usize)| made >= wanted;
        let rotated = self.plugins.iter().all(|plugin| plugin.key_ids >= 2);
        if self.failed() > 0 || self.converged_after_s.is_none() || !rotated {
            Outcome::Missed
        } else if self.logins.0 < self.logins.1 || !done(self.rotations) || !done(self.revocations)
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

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rotate => "rotation",
            Self::Revoke => "revocation",
        })
    }
}

/// Starts everything, runs the load through all events, and stops everything.
pub async fn run(subject: &Subject, bao: &Path, length: Length, plugins: usize) -> Result<Report> {
    anyhow::ensure!(
        subject.knows(Auth::AppRole),
        "the soak needs AppRole: --subject-command must hold {{secret_id_file}} or {{secret_id}}"
    );
    let plan = Plan::new(length, plugins);
    progress(format_args!(
        "soak: {plugins} plugins, tokens of {TTL} s and at most {MAX_TTL} s, {} rotations, {} revocations, at least {} logins; {} about {:.0} s, at most {:.0} s",
        plan.rotations,
        plan.revocations,
        plan.logins,
        if plan.by_logins {
            "when every token is used to its end that takes"
        } else {
            "runs"
        },
        plan.expected.as_secs_f64(),
        plan.limit().as_secs_f64()
    ));
    let server = Server::start(bao, true).await?;
    let mut running = Vec::new();
    for n in 0..plugins {
        running.push(start(subject, &server, n).await?);
    }
    let fleet = Fleet::start(&running).await?;
    let report = drive(subject, &server, plan, &fleet, &mut running).await?;
    for (_, mut plugin) in running {
        plugin
            .process
            .stop(Signal::SIGTERM, Duration::from_secs(6))
            .await?;
    }
    Ok(report)
}

async fn start(subject: &Subject, server: &Server, n: usize) -> Result<(Identity, Plugin)> {
    let identity = if n.is_multiple_of(2) {
        Identity::Renewing
    } else {
        Identity::Fixed
    };
    let name = format!("plugin-{}", n + 1);
    let (role_id, secret_id) = server.approle(&name, identity, TTL, MAX_TTL).await?;
    let dir = server.dir.path().join(format!("{name}.d"));
    std::fs::create_dir(&dir)?;
    let fill = Fill::new(server)
        .with("{role_id}", &role_id)
        .with("{secret_id}", &secret_id)
        .with_file("{role_id_file}", &dir, &role_id)?
        .with_file("{secret_id_file}", &dir, &secret_id)?;
    Ok((
        identity,
        Plugin::start(subject, &name, Auth::AppRole, fill, &dir).await?,
    ))
}

async fn drive(
    subject: &Subject,
    server: &Server,
    plan: Plan,
    fleet: &Fleet,
    running: &mut [(Identity, Plugin)],
) -> Result<Report> {
    let begin = Instant::now();
    let mut events = plan.events().into_iter().peekable();
    let (mut rotations, mut revocations, mut exchanged) = (0, 0, 0);
    let mut failures = Failures::default();
    let mut of_each_version = vec![fleet.encrypt(0).await?];
    let mut ticks = interval(Duration::from_millis(500));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = 0.1;
    let mut logins = 0;
    loop {
        ticks.tick().await;
        let ended = running
            .iter_mut()
            .find_map(|(_, plugin)| plugin.process.must_run().err());
        if let Some(error) = ended {
            failures.add(format!("{error:#}"));
            break;
        }
        logins = timeout(ADMIN, server.logins())
            .await
            .context("sys/metrics hangs")??;
        let done = plan.progress(logins, begin.elapsed());
        if done >= told {
            progress(format_args!(
                "{:.0} %: {logins} logins, {rotations} rotations, {revocations} revocations, {} failed calls",
                done * 100.0,
                fleet.failed()
            ));
            told = (done * 10.0).floor() / 10.0 + 0.1;
        }
        // One event a tick, so that a jump of the count does not pile them up.
        if let Some((_, event)) = events.next_if(|(due, _)| *due <= done) {
            match event {
                Event::Revoke => {
                    timeout(
                        ADMIN,
                        server.post("sys/leases/revoke-prefix/auth/approle/login", Value::Null),
                    )
                    .await??;
                    revocations += 1;
                }
                Event::Rotate => {
                    timeout(ADMIN, server.rotate()).await??;
                    rotations += 1;
                    exchanged += fleet.exchange(&mut failures).await;
                }
            }
            of_each_version.extend(fleet.encrypt(rotations % running.len()).await.ok());
        }
        if (done >= 1.0 && events.peek().is_none()) || begin.elapsed() > plan.limit() {
            break;
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    let converged_after_s = fleet.converge(CONVERGE).await;
    let read_back = fleet.read_back(&of_each_version, &mut failures).await;
    logins = logins.max(
        timeout(ADMIN, server.logins())
            .await
            .context("sys/metrics hangs")??,
    );
    let mut tallies = fleet.finish().await;
    for (tally, (identity, _)) in tallies.iter_mut().zip(running.iter()) {
        tally.renews = *identity == Identity::Renewing;
    }
    Ok(Report {
        kind: "soak",
        subject: subject.name(),
        seconds,
        logins: (logins, plan.logins),
        rotations: (rotations, plan.rotations),
        revocations: (revocations, plan.revocations),
        exchanged,
        read_back,
        converged_after_s,
        failures,
        plugins: tallies,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_plan_is_an_hour_of_token_lives_with_all_events_inside() {
        let plan = Plan::new(Length::Logins(400), 2);
        assert_eq!(
            (plan.rotations, plan.revocations, plan.expected),
            (20, 10, Duration::from_secs(900))
        );
        let events = plan.events();
        assert_eq!(events.len(), 30);
        assert!(events.iter().all(|(due, _)| (0.0..1.0).contains(due)));
        assert!(events.is_sorted_by(|(a, _), (b, _)| a <= b));
        assert_eq!(plan.progress(200, Duration::ZERO), 0.5);
    }

    #[test]
    fn a_timed_plan_follows_the_clock_and_still_wants_logins() {
        let plan = Plan::new(Length::Short, 2);
        assert_eq!(plan.progress(0, SHORT), 1.0);
        assert!(plan.logins >= 20, "{}", plan.logins);
        assert!(plan.limit() < Duration::from_secs(180));
    }

    #[test]
    fn a_run_without_the_logins_shows_nothing_and_one_failed_call_misses() {
        let tally = || Tally {
            key_ids: 3,
            ..Tally::default()
        };
        let mut report = Report {
            kind: "soak",
            subject: String::new(),
            seconds: 1.0,
            logins: (400, 400),
            rotations: (20, 20),
            revocations: (10, 10),
            exchanged: 80,
            read_back: 40,
            converged_after_s: Some(1.0),
            failures: Failures::default(),
            plugins: vec![tally(), tally()],
        };
        assert_eq!(report.outcome(), Outcome::Held);
        report.logins.0 = 399;
        assert_eq!(report.outcome(), Outcome::Inconclusive);
        report.plugins[1].failures.add("gRPC 14");
        assert_eq!(report.outcome(), Outcome::Missed);
        report.plugins[1] = tally();
        report.converged_after_s = None;
        assert_eq!(report.outcome(), Outcome::Missed);
    }
}
