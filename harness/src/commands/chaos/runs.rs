//! Carries runs out, several at a time: each in a thread with a runtime of its own.

use std::fmt::Write;
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use kms_apiserver_api::Trouble;
use kms_history::chaos::Entry;
use kms_rehearse::scenario::Row;
use kms_scenario::language::Scenario;
use kms_scenario::language::file::ArmName;
use kms_scenario::plan::Plan;
use kms_scenario::verdict::{Outcome, Verdict, outcome};
use kms_scenario::world::{Recorder, World};
use kms_scenario::{engine, language};
use tokio::time::Instant;

use super::files::Script;
#[cfg(feature = "kube")]
use crate::arm::cluster;
use crate::arm::process::subject::Subject;
use crate::arm::process::world::ProcessWorld;
use crate::arm::process::{Parts, able};
use crate::console;

/// One run that is to be made.
#[derive(Clone, Debug)]
pub struct Job {
    /// The scenario.
    pub script: Script,
    /// Where.
    pub place: Place,
    /// The seed.
    pub seed: u64,
    /// The command that makes it again.
    pub replay: String,
}

/// Where a run is made.
#[derive(Clone, Debug)]
pub enum Place {
    /// In the simulation.
    Sim,
    /// With these parts.
    Process(Arc<Parts>),
    /// On this cluster.
    #[cfg(feature = "kube")]
    Cluster(Arc<cluster::Parts>),
}

impl Place {
    /// The arm's name.
    #[must_use]
    pub fn arm(&self) -> ArmName {
        match self {
            Self::Sim => ArmName::Sim,
            Self::Process(_) => ArmName::Process,
            #[cfg(feature = "kube")]
            Self::Cluster(_) => ArmName::Cluster,
        }
    }

    /// Our plugin's binary, which was not built when the place was chosen.
    pub fn take_binary(&mut self, binary: &Path) {
        if let Self::Process(parts) = self
            && let Subject::Own(path) = &mut Arc::make_mut(parts).subject
        {
            *path = binary.to_owned();
        }
    }
}

/// One run that was made, or could not be.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The scenario's id.
    pub id: String,
    /// The scenario.
    pub script: Script,
    /// Where.
    pub arm: ArmName,
    /// The seed.
    pub seed: u64,
    /// The verdict.
    pub verdict: Verdict,
    /// What was judged; nothing where nothing ran.
    pub outcome: Option<Outcome>,
    /// Why nothing ran, or why the run broke off.
    pub reason: Option<String>,
    /// What happened. Dropped after it was kept.
    pub history: Vec<Entry>,
    /// What operators were shown. Dropped after it was kept.
    pub page: String,
    /// How long the run was by its own clock.
    pub simulated: Duration,
    /// How long it took.
    pub wall: Duration,
    /// The command that makes it again.
    pub replay: String,
}

/// Makes runs, `at_once` of them at a time, and hands each to `keep` when it is done. They come back in order.
///
/// # Errors
/// What `keep` says.
pub fn all(
    jobs: &[Job],
    at_once: Option<u16>,
    keep: impl Fn(&Ran) -> anyhow::Result<()> + Sync,
) -> anyhow::Result<Vec<Ran>> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let threads = at_once
        .map_or(cores, usize::from)
        .clamp(1, jobs.len().max(1));
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(jobs.len()));
    let failed: Mutex<Option<anyhow::Error>> = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((number, job)) = take(&next, jobs) {
                    let mut ran = one(job);
                    if let Err(error) = keep(&ran) {
                        lock(&failed).get_or_insert(error);
                        next.store(jobs.len(), Ordering::Relaxed);
                    }
                    ran.history = Vec::new();
                    ran.page = String::new();
                    let mut done = lock(&done);
                    done.push((number, ran));
                    console::progress("scenarios", done.len() as u64, jobs.len() as u64, false);
                }
            });
        }
    });
    console::clear();
    if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(number, _)| *number);
    Ok(done.into_iter().map(|(_, ran)| ran).collect())
}

fn take<'a>(next: &AtomicUsize, jobs: &'a [Job]) -> Option<(usize, &'a Job)> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    jobs.get(number).map(|job| (number, job))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why other arms have no scenario about operators.
pub const OPERATORS: &str = "operators are played in the simulation alone";

/// Makes one run.
pub fn one(job: &Job) -> Ran {
    let start = Instant::now();
    let mut ran = match &job.script {
        Script::Plugins(scenario) => one_of_plugins(job, scenario),
        Script::Operators(row) => one_of_operators(job, row),
    };
    if ran.outcome.is_some() {
        ran.wall = start.elapsed();
    }
    ran
}

fn one_of_operators(job: &Job, row: &Arc<Row>) -> Ran {
    let arm = job.place.arm();
    if arm != ArmName::Sim {
        return Ran::never(job, OPERATORS);
    }
    let mut ran = Ran::never(job, "");
    match kms_rehearse::scenario::run::play(row, job.seed) {
        Ok(played) => {
            ran.verdict = played.outcome.verdict;
            ran.outcome = Some(played.outcome);
            ran.simulated = played.simulated;
            ran.page = played.rehearsal.text();
            ran.reason = None;
        }
        Err(Trouble(text)) => {
            ran.verdict = Verdict::Inconclusive;
            ran.reason = Some(text);
        }
    }
    ran
}

fn one_of_plugins(job: &Job, scenario: &Arc<Scenario>) -> Ran {
    if let Err(reason) = applicable(scenario, &job.place) {
        return Ran::never(job, &reason);
    }
    let mut ran = Ran::never(job, "");
    let plan = plan(scenario, ran.arm, job.seed);
    let (history, trouble) = match &job.place {
        Place::Sim => {
            let ran = kms_sim::run::run(&plan);
            (ran.history, ran.trouble)
        }
        Place::Process(parts) => in_real_time(&plan, parts),
        #[cfg(feature = "kube")]
        Place::Cluster(parts) => on_runtime(async |recorder| {
            // it is large
            Box::pin(cluster::world::run(&plan, parts, &recorder)).await
        }),
    };
    ran.judge(&plan, history, trouble.map(|Trouble(text)| text));
    ran
}

/// What a seed makes of a scenario on an arm.
pub fn plan(scenario: &Scenario, arm: ArmName, seed: u64) -> Plan {
    let plan = Plan::of(scenario, seed);
    match arm {
        ArmName::Sim => plan,
        ArmName::Process => plan.scaled(scenario.form.scale.map_or(1.0, |scale| scale.process)),
        ArmName::Cluster => {
            let scale = scenario.form.scale;
            let factor = scale.map(|scale| scale.cluster.unwrap_or(scale.process));
            plan.scaled(factor.unwrap_or(1.0)).through_one_address()
        }
    }
}

impl Ran {
    /// One that is not made, for this reason.
    #[must_use]
    pub fn never(job: &Job, reason: &str) -> Self {
        Self {
            id: job.script.id().to_owned(),
            script: job.script.clone(),
            arm: job.place.arm(),
            seed: job.seed,
            verdict: Verdict::NotApplicable,
            outcome: None,
            reason: Some(reason.to_owned()),
            history: Vec::new(),
            page: String::new(),
            simulated: Duration::ZERO,
            wall: Duration::ZERO,
            replay: job.replay.clone(),
        }
    }

    /// Takes what happened, and judges it.
    pub fn judge(&mut self, plan: &Plan, history: Vec<Entry>, trouble: Option<String>) {
        let outcome = match &self.script {
            Script::Plugins(scenario) if self.arm == ArmName::Cluster => {
                let plan = plan.clone().with_what_was_seen(scenario, &history);
                outcome(&plan, &history)
            }
            _ => outcome(plan, &history),
        };
        self.simulated = history.last().map_or(Duration::ZERO, |entry| entry.at);
        // a run that broke off shows nothing but what it already broke
        self.verdict = match &trouble {
            Some(_) if outcome.verdict != Verdict::Fail => Verdict::Inconclusive,
            _ => outcome.verdict,
        };
        self.reason = trouble;
        self.outcome = Some(outcome);
        self.history = history;
    }
}

/// Whether a scenario can run in a place.
///
/// # Errors
/// Why not.
pub fn applicable(scenario: &Scenario, place: &Place) -> Result<(), String> {
    Plan::runs_in(scenario, place.arm())?;
    match place {
        Place::Sim => {}
        Place::Process(parts) => return able::applicable(scenario, parts),
        #[cfg(feature = "kube")]
        Place::Cluster(parts) => return cluster::able::applicable(scenario, parts),
    }
    let impossible = scenario.faults.iter().find_map(|timed| {
        let why = kms_sim::impossible(timed.fault.kind())?;
        Some(format!("{}: {why}", timed.id))
    });
    impossible.map_or(Ok(()), Err)
}

/// A plan with real processes: what happened, and what kept the harness from going on.
fn in_real_time(plan: &Plan, parts: &Parts) -> (Vec<Entry>, Option<Trouble>) {
    on_runtime(async |recorder| {
        let mut faults = plan.faults.iter();
        let stored = faults.any(|planned| able::needs_storage(&planned.fault));
        let world = ProcessWorld::start(&plan.world, parts, stored, recorder.clone())
            .await
            .map_err(|error| Trouble::new(format!("{error:#}")))?;
        let world: Arc<dyn World> = Arc::new(world);
        let ran = engine::run(plan, Arc::clone(&world), recorder).await;
        if ran.is_err() {
            // The first error is the one to tell.
            let _ = world.stop().await;
        }
        ran
    })
}

/// What a run on a runtime of its own recorded, and what kept the harness from going on.
fn on_runtime(
    run: impl AsyncFnOnce(Recorder) -> Result<(), Trouble>,
) -> (Vec<Entry>, Option<Trouble>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            return (
                Vec::new(),
                Some(Trouble::new(format!("no runtime: {error}"))),
            );
        }
    };
    runtime.block_on(async {
        let recorder = Recorder::start();
        let trouble = run(recorder.clone()).await.err();
        (recorder.take(), trouble)
    })
}

/// The outcome of a plan, for whoever needs nothing else; nothing if the run broke off.
pub fn outcome_of(plan: &Plan) -> Option<Outcome> {
    let ran = kms_sim::run::run(plan);
    ran.trouble.is_none().then(|| outcome(plan, &ran.history))
}

/// A history's text, one line an event.
pub fn text(history: &[Entry]) -> String {
    history.iter().fold(String::new(), |mut text, entry| {
        let _ = writeln!(text, "{entry}");
        text
    })
}

/// A job of a scenario's form, which must be right.
///
/// # Errors
/// Its problems.
pub fn job_of(text: &str, seed: u64, replay: String) -> Result<Job, String> {
    let scenario = language::read(text, None).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })?;
    Ok(Job {
        script: Script::Plugins(Arc::new(scenario)),
        place: Place::Sim,
        seed,
        replay,
    })
}
