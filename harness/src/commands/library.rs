//! The scenarios that belong to a run, by its profile.
//!
//! * `core`: the library once in the simulation. That judges the plugin's source, so it is for ours alone.
//! * `production`: besides, every scenario that says how it runs in real time, with three seeds, on the built-in Vault
//!   and on a real one where one is found. That judges the binary.
//! * `chaos`: besides, scenarios drawn whole from seeds, in the simulation.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use kms_contract::Profile;
use kms_judge::scenario::{self, Facts};
use kms_judge::{CheckResult, CheckStatus};
use kms_report::model::{DeterminismCheck, Origin, ScenarioReport};
use kms_scenario::language::file::ArmName;
use kms_scenario::verdict::Verdict;
use kms_scenario::{language, swarm};
use tokio::sync::oneshot;

use super::chaos::runs::{self, Job, Place, Ran};
use super::chaos::{files, recorded, rejudge, row, show};
use super::choice::{Plugin, Vault};
use crate::apiserver::choice::Choice;
use crate::arm::process::subject::Subject;
use crate::arm::process::vault::make::Make;
use crate::arm::process::{Parts, able};
use crate::bundle::{Bundle, sha256};
use crate::console;
use crate::evidence::{Samples, scenario_latency};
use crate::exit::{Failure, OrUsage};
use crate::interrupt::Interrupt;
use crate::plan::Planned;
use crate::vault::family::Family;

/// The folder of a bundle with the runs' histories.
pub const RUNS: &str = "runs";
/// Seeds of each scenario in real time.
const SEEDS: u64 = 3;
/// Scenarios that the profile `chaos` draws.
const DRAWN: u64 = 500;
/// So many scenarios of the simulation run a second time.
const REPEATED: usize = 3;
/// Runs in real time for each core: they mostly wait.
const PER_CORE: usize = 12;
/// What a run in real time takes besides its phases: servers start, the store is looked through.
const BESIDES: Duration = Duration::from_secs(8);
/// The word for no scenario at all.
pub const NONE: &str = "none";

/// The scenarios of a run.
pub struct Library {
    simulated: Vec<Job>,
    drawn: Vec<Job>,
    real: Vec<Job>,
    ours: bool,
}

/// Why a scenario belongs to a run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Group {
    Library,
    Drawn,
    Real,
}

impl Group {
    fn words(self) -> &'static str {
        match self {
            Self::Library => "in the simulation",
            Self::Drawn => "drawn from seeds, in the simulation",
            Self::Real => "in real time",
        }
    }
}

/// What they showed.
#[derive(Default)]
pub struct Seen {
    /// Rows of the report.
    pub rows: Vec<ScenarioReport>,
    /// What they say to requirements.
    pub checks: Vec<CheckResult>,
    /// How long the harness's own calls took in them.
    pub latency: Samples,
    /// What they could not show.
    pub limits: Vec<String>,
    /// Whether some of the simulation's came out the same again.
    pub determinism: Option<DeterminismCheck>,
}

impl Seen {
    /// Digest of the scenarios that ran or could not; nothing where there were none.
    #[must_use]
    pub fn scenarios_digest(&self) -> Option<String> {
        let digests: BTreeSet<_> = self
            .rows
            .iter()
            .map(|row| row.spec_digest.as_str())
            .collect();
        let text = digests.into_iter().collect::<Vec<_>>().join("\n");
        (!text.is_empty()).then(|| format!("sha256:{}", sha256(text.as_bytes())))
    }
}

impl Library {
    /// What a run of this profile has, on this plugin. `paths` are those of `--scenarios`.
    pub fn choose(
        paths: &[PathBuf],
        profile: Profile,
        seed: u64,
        plugin: &Plugin,
        vault: &Vault,
        plan: &mut Planned,
    ) -> Result<Self, Failure> {
        let mut library = Self {
            simulated: Vec::new(),
            drawn: Vec::new(),
            real: Vec::new(),
            ours: !matches!(plugin, Plugin::Described(_)),
        };
        if paths == [Path::new(NONE)] {
            plan.option("scenarios", NONE);
            return Ok(library);
        }
        let chosen = match files::chosen(paths) {
            Ok(chosen) => chosen,
            Err(error) if !paths.is_empty() => return Err(error).or_usage(),
            Err(_) => {
                plan.set(
                    "scenarios",
                    "none: there is no library here",
                    Origin::Default,
                );
                return Ok(library);
            }
        };
        let texts = files::read_all(&chosen)?;
        plan.option("scenarios", format!("{} files", texts.len()));
        for text in &texts {
            library.simulated.push(Job {
                scenario: Arc::clone(&text.scenario),
                place: Place::Sim,
                seed,
                replay: format!(
                    "kms-harness replay {} --seed {seed}",
                    show::quoted(&text.path)
                ),
            });
        }
        if profile >= Profile::Production {
            // Each Vault has seeds of its own, so that a run is named by its scenario and its seed.
            let places = real_places(plugin, vault).or_usage()?;
            for (place, first) in places.iter().zip((seed..).step_by(SEEDS as usize)) {
                library.in_real_time(&texts, first, place);
            }
            plan.set("scenarios.real-time", library.real.len(), Origin::Default);
        }
        if profile >= Profile::Chaos && library.ours {
            library.draw(seed)?;
            plan.set("scenarios.drawn", DRAWN, Origin::Default);
        }
        Ok(library)
    }

    fn in_real_time(&mut self, texts: &[files::ScenarioText], seed: u64, place: &Place) {
        // A server's own fault says nothing about a plugin.
        let texts = texts
            .iter()
            .filter(|text| text.scenario.form.scale.is_some() && text.scenario.upstream.is_empty());
        let Place::Process(parts) = place else { return };
        for text in texts {
            for seed in (0..SEEDS).map(|more| seed.wrapping_add(more)) {
                let path = show::quoted(&text.path);
                self.real.push(Job {
                    scenario: Arc::clone(&text.scenario),
                    place: place.clone(),
                    seed,
                    replay: format!(
                        "kms-harness chaos {path} --arm process --vault {} --seed {seed}",
                        parts.vault.word()
                    ),
                });
            }
        }
    }

    fn draw(&mut self, seed: u64) -> Result<(), Failure> {
        for seed in (0..DRAWN).map(|more| seed.wrapping_add(more)) {
            let text = language::write(&swarm::draw(seed)).map_err(|error| anyhow!(error))?;
            let replay = format!("kms-harness swarm --seeds 1 --seed {seed}");
            let job = runs::job_of(&text, seed, replay).map_err(|error| anyhow!(error))?;
            self.drawn.push(job);
        }
        Ok(())
    }

    /// Says how long it will take, if that is long.
    pub fn announce(&self) {
        if self.real.is_empty() {
            return;
        }
        let minutes = self.lasts().as_secs_f64() / 60.0;
        console::tell(&format!(
            "{} runs in real time, {} at once: about {minutes:.0} minutes",
            self.real.len(),
            at_once()
        ));
    }

    /// How long the runs in real time take: each begins where one ended, in their order.
    fn lasts(&self) -> Duration {
        let mut lanes = vec![Duration::ZERO; at_once()];
        for job in &self.real {
            let applies = match &job.place {
                Place::Process(parts) => able::applicable(&job.scenario, parts).is_ok(),
                _ => false,
            };
            if applies {
                let plan = runs::plan(&job.scenario, job.place.arm(), job.seed);
                let first = lanes.iter_mut().min().expect("there is a lane");
                *first += plan.phases.total() + BESIDES;
            }
        }
        lanes.into_iter().max().unwrap_or_default()
    }

    /// Runs them, and keeps in the bundle the histories of real runs and of what did not pass. `binary` is ours, once it
    /// was built.
    pub async fn run(
        mut self,
        binary: Option<&Path>,
        bundle: &Bundle,
        interrupt: &Interrupt,
    ) -> Result<Seen, Failure> {
        let mut seen = Seen::default();
        if !self.ours && !self.simulated.is_empty() {
            seen.limits.push(format!(
                "the {} scenarios of the simulation run another plugin's source: they do not apply",
                self.simulated.len()
            ));
            for job in self.simulated.drain(..) {
                let ran = Ran::never(&job, "the simulation runs vault-kubernetes-kms alone");
                seen.rows.push(row::row(&ran, String::new())?);
            }
        }
        if let Some(binary) = binary {
            for job in &mut self.real {
                job.place.take_binary(binary);
            }
        }
        let groups = [
            (Group::Library, self.simulated),
            (Group::Drawn, self.drawn),
            (Group::Real, self.real),
        ];
        for (group, jobs) in groups {
            if jobs.is_empty() {
                continue;
            }
            console::tell(&format!("{} scenarios {}", jobs.len(), group.words()));
            let folder = bundle.folder().join(RUNS);
            let work = apart(move || all(&jobs, group, &folder));
            let part = interrupt.or(work).await??;
            seen.rows.extend(part.rows);
            seen.checks.extend(part.checks);
            for (key, mut samples) in part.latency {
                seen.latency.entry(key).or_default().append(&mut samples);
            }
            seen.determinism = seen.determinism.or(part.determinism);
        }
        Ok(seen)
    }
}

/// The process arm on this plugin: with the Vault of the run, and on a real one besides where it is the built-in one.
fn real_places(plugin: &Plugin, vault: &Vault) -> Result<Vec<Place>> {
    let subject = match plugin {
        // It stands for the binary that is not built yet.
        Plugin::Checkout(_) => Subject::Own(PathBuf::new()),
        Plugin::Binary(path, _) => Subject::Own(path.clone()),
        Plugin::Described(file) => Subject::Described(file.clone()),
    };
    let real = |family: Family| anyhow::Ok(Make::Real(family, family.part().find()?));
    let makes = match vault {
        Vault::Sim(_) => {
            let found = real(Family::OpenBao).or_else(|_| real(Family::Vault)).ok();
            [Some(Make::Simulated), found]
                .into_iter()
                .flatten()
                .collect()
        }
        Vault::Server(family, binary) => vec![Make::Real(*family, binary.clone())],
        #[cfg(feature = "container")]
        Vault::Container(image) => vec![Make::Container(image.clone())],
        Vault::External {
            addresses,
            ca,
            token,
        } => vec![Make::Theirs {
            addresses: addresses.clone(),
            ca: ca.clone(),
            token: token.clone(),
        }],
    };
    let place = |vault| {
        Place::Process(Arc::new(Parts {
            vault,
            subject: subject.clone(),
            apiserver: Choice::Simulated,
        }))
    };
    Ok(makes.into_iter().map(place).collect())
}

fn at_once() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get) * PER_CORE
}

/// In a thread of its own. A runtime's blocking task would be waited for after an interrupt.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let (done, result) = oneshot::channel();
    thread::Builder::new()
        .name("scenarios".to_owned())
        .spawn(move || done.send(work()))
        .context("start a thread for the scenarios")?;
    result.await.context("the scenarios broke off")?
}

fn all(jobs: &[Job], group: Group, folder: &Path) -> Result<Seen> {
    let seen = Mutex::new((Vec::new(), Vec::new(), Samples::new()));
    let threads = (group == Group::Real).then(at_once);
    let threads = threads.map(|threads| u16::try_from(threads).unwrap_or(u16::MAX));
    runs::all(jobs, threads, |ran| {
        let kept = keep(ran, folder)?;
        let mut row = row::row(ran, kept)?;
        // What is drawn whole need not meet.
        if group == Group::Drawn && row.verdict == CheckStatus::Inconclusive && ran.reason.is_none()
        {
            row.verdict = CheckStatus::Warn;
        }
        let facts = facts(ran);
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        scenario_latency(row.arm, &ran.history, &mut seen.2);
        seen.0.push(row);
        seen.1.extend(facts);
        Ok(())
    })?;
    let (rows, facts, samples) = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Seen {
        determinism: (group == Group::Library).then(|| repeated(jobs, &rows)),
        rows,
        checks: checks(facts),
        latency: samples,
        limits: Vec::new(),
    })
}

/// The shortest runs of the simulation again: the same history to the last event?
fn repeated(jobs: &[Job], rows: &[ScenarioReport]) -> DeterminismCheck {
    let mut rows: Vec<_> = rows
        .iter()
        .filter(|row| !row.trace_digest.is_empty())
        .collect();
    rows.sort_by_key(|row| (row.sim_duration_ns, &row.scenario_id));
    rows.truncate(REPEATED);
    let differs = |row: &&&ScenarioReport| {
        let job = jobs
            .iter()
            .find(|job| job.scenario.form.id == row.scenario_id);
        let again = job.and_then(|job| runs::one(job).outcome);
        again.is_none_or(|outcome| outcome.digest != row.trace_digest)
    };
    let first = rows.iter().find(differs).map(|row| row.run_id.clone());
    DeterminismCheck {
        checked: !rows.is_empty(),
        seed: jobs.first().map_or(0, |job| job.seed),
        runs: 2 * rows.len() as u64,
        trace_digests_equal: first.is_none(),
        first_divergence: first,
    }
}

/// Where the bundle keeps the history; empty where it does not. What passed in the simulation comes out the same again.
fn keep(ran: &Ran, folder: &Path) -> Result<String> {
    let again = ran.arm == ArmName::Sim && matches!(ran.verdict, Verdict::Pass | Verdict::NotShown);
    if again || ran.history.is_empty() {
        return Ok(String::new());
    }
    std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    let name = recorded::name(ran);
    recorded::write(&folder.join(&name), ran)?;
    Ok(format!("{RUNS}/{name}"))
}

/// A run on a binary speaks for it.
fn facts(ran: &Ran) -> Option<Facts> {
    let real = ran.arm == ArmName::Process && ran.outcome.is_some();
    real.then(|| Facts::of(row::run_id(ran), &ran.history))
}

fn checks(mut facts: Vec<Facts>) -> Vec<CheckResult> {
    facts.sort_by(|a, b| a.run.cmp(&b.run));
    if facts.is_empty() {
        Vec::new()
    } else {
        scenario::results(&facts)
    }
}

/// The scenarios of a bundle, judged again where it keeps their histories; those go into the new bundle as well.
pub fn again(folder: &Path, rows: Vec<ScenarioReport>, bundle: &Bundle) -> Result<Seen> {
    let mut seen = Seen::default();
    let mut of_binary = Vec::new();
    for row in rows {
        if row.history_ref.is_empty() {
            seen.rows.push(row);
            continue;
        }
        // A report may come from anywhere: only a plain name below the folder of runs is one of ours.
        let name = row.history_ref.strip_prefix(&format!("{RUNS}/"));
        let name = name
            .filter(|name| !name.contains('/'))
            .with_context(|| format!("historyRef {:?} is no file of {RUNS}/", row.history_ref))?;
        let ran = rejudge::again(&folder.join(RUNS).join(name))?;
        let kept = keep(&ran, &bundle.folder().join(RUNS))?;
        of_binary.extend(facts(&ran));
        let row = row::row(&ran, kept)?;
        scenario_latency(row.arm, &ran.history, &mut seen.latency);
        seen.rows.push(row);
    }
    seen.checks = checks(of_binary);
    Ok(seen)
}
