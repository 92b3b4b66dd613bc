//! Carries out a plan on a world, phase by phase, and leaves the history.
//!
//! The engine decides nothing: what it saw is judged afterwards.
//!
//! Reading order: this file, `load`, `probe`, `faults`, `operator`, `audit`.

mod audit;
mod faults;
mod load;
mod operator;
mod probe;
mod stored;

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kms_apiserver_api::{Answer, Target, Trouble};
use kms_history::chaos::{Digested, Event, FaultStep, OpEnd, OpKind, Phase};
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::fault::Provider;
use crate::plan::Plan;
use crate::seed::Seed;
use crate::world::{Recorder, World};

/// How long a client waits for an answer.
const CALL_LIMIT: Duration = Duration::from_secs(15);

/// How long tasks may go on after the time at which they should have ended, before the harness gives up.
const OVERTIME: Duration = Duration::from_secs(120);

/// What all parts of a run share.
struct Run {
    plan: Plan,
    seed: Seed,
    world: Arc<dyn World>,
    recorder: Recorder,
    ops: AtomicU64,
    /// Objects whose creation was acknowledged.
    created: Mutex<BTreeSet<String>>,
    /// Objects that may be stored.
    written: Mutex<BTreeSet<String>>,
    /// The encryption configuration of each node.
    configured: Mutex<Vec<Vec<Provider>>>,
    /// Begins every value.
    canary: String,
}

/// When phases end.
#[derive(Clone, Copy)]
struct Times {
    settled: Instant,
    fault: Instant,
    heal: Instant,
    liveness: Instant,
    end: Instant,
}

/// Runs a plan to its end. What happened is in the recorder.
///
/// # Errors
/// The harness could not do its job.
pub fn run(
    plan: &Plan,
    world: Arc<dyn World>,
    recorder: Recorder,
) -> Pin<Box<dyn Future<Output = Result<(), Trouble>> + Send + '_>> {
    // Boxed: it is compiled here, and not in each crate that runs it.
    Box::pin(carry_out(plan, world, recorder))
}

async fn carry_out(plan: &Plan, world: Arc<dyn World>, recorder: Recorder) -> Result<(), Trouble> {
    let seed = Seed::root(plan.seed);
    let run = Arc::new(Run {
        seed,
        canary: format!("canary-{:016x}", seed.label("canary").u64()),
        configured: Mutex::new(vec![
            plan.world.providers.clone();
            usize::try_from(plan.world.nodes).unwrap_or_default()
        ]),
        plan: plan.clone(),
        world,
        recorder,
        ops: AtomicU64::new(0),
        created: Mutex::default(),
        written: Mutex::default(),
    });
    let phases = plan.phases;
    let start = Instant::now();
    let settled = start + phases.settle;
    let fault = settled + phases.baseline;
    let heal = fault + phases.fault;
    let liveness = heal + phases.heal;
    let times = Times {
        settled,
        fault,
        heal,
        liveness,
        end: liveness + phases.liveness,
    };
    run.announce();
    run.note(Event::Phase(Phase::Settle));
    run.settle(settled).await?;

    let mut tasks = JoinSet::new();
    run.note(Event::Phase(Phase::Baseline));
    load::start(&run, times, &mut tasks);
    probe::start(&run, times, &mut tasks);
    sleep_until(times.fault).await;
    run.note(Event::Phase(Phase::Fault));
    let mut breaking = JoinSet::new();
    faults::start(&run, times, &mut breaking);
    sleep_until(times.heal).await;
    run.note(Event::Phase(Phase::Heal));
    let healed = timeout(OVERTIME, join(&mut breaking));
    sleep_until(times.liveness).await;
    healed
        .await
        .map_err(|_| Trouble::new("faults could not be undone in time"))??;
    run.note(Event::Phase(Phase::Liveness));
    sleep_until(times.end).await;
    timeout(OVERTIME, join(&mut tasks))
        .await
        .map_err(|_| Trouble::new("the load did not end"))??;
    run.world.note_vault_calls();
    run.note(Event::Phase(Phase::Audit));
    audit::audit(&run).await?;
    for fault in &run.plan.faults {
        let hits = run.world.hits(&fault.id);
        if fault.fault.maker() == crate::fault::Maker::World {
            run.fault(&fault.id, FaultStep::Hits(hits));
        }
    }
    run.world.stop().await
}

async fn join(tasks: &mut JoinSet<Result<(), Trouble>>) -> Result<(), Trouble> {
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|error| Trouble::new(format!("a task of the run failed: {error}")))??;
    }
    Ok(())
}

impl Run {
    fn note(&self, event: Event) {
        self.recorder.note(None, event);
    }

    fn fault(&self, id: &str, step: FaultStep) {
        let id = id.to_owned();
        self.note(Event::Fault { id, step });
    }

    /// Says which faults will come.
    fn announce(&self) {
        let before = self.plan.phases.settle + self.plan.phases.baseline;
        for fault in &self.plan.faults {
            let step = FaultStep::Planned {
                at: before + fault.at,
                length: fault.length,
                what: fault.words(),
                nodes: fault.nodes.clone(),
                key_changes: fault.key_changes(),
                hinders_rpcs: fault.hinders_rpcs(),
            };
            self.fault(&fault.id, step);
        }
    }

    /// Waits until all API servers are ready, and until settling is over.
    async fn settle(&self, until: Instant) -> Result<(), Trouble> {
        for node in 0..self.plan.world.nodes {
            let server = self.world.apiserver(node);
            while !server
                .health("/readyz")
                .await
                .is_ok_and(|answer| answer.ok())
            {
                if Instant::now() >= until {
                    return Err(Trouble::new(format!(
                        "the API server of node {node} was not ready within phases.settle"
                    )));
                }
                sleep(Duration::from_millis(500)).await;
            }
        }
        sleep_until(until).await;
        Ok(())
    }

    /// Notes the beginning of an operation; its number.
    fn invoked(&self, node: u32, kind: OpKind, object: &str, value: Option<Digested>) -> u64 {
        let op = self.ops.fetch_add(1, Ordering::Relaxed);
        let event = Event::Invoked {
            op,
            kind,
            object: object.to_owned(),
            value,
        };
        self.recorder.note(Some(node), event);
        op
    }

    fn ended(&self, node: u32, op: u64, end: OpEnd) {
        self.recorder.note(Some(node), Event::Ended { op, end });
    }
}

/// An answer, or none within [`CALL_LIMIT`].
async fn answered(call: impl Future<Output = Result<Answer, Trouble>>) -> Result<Answer, Trouble> {
    match timeout(CALL_LIMIT, call).await {
        Ok(answer) => answer,
        Err(_) => Err(Trouble::new("no answer in time")),
    }
}

/// What an answer that is no success says of an operation.
fn unsuccessful(answer: &Result<Answer, Trouble>) -> OpEnd {
    match answer {
        Ok(answer) => {
            let code = answer.code;
            let message = answer.message().chars().take(160).collect();
            // a refusal is certain; of a failure nobody knows how far it went
            if (400..500).contains(&code) && code != 408 && code != 429 {
                OpEnd::Failed { code, message }
            } else {
                OpEnd::Indeterminate { code, message }
            }
        }
        Err(Trouble(text)) => OpEnd::Indeterminate {
            code: 0,
            message: text.chars().take(160).collect(),
        },
    }
}

/// A value as the history has it.
fn digested(value: &[u8]) -> Digested {
    let hash = Sha256::digest(value);
    let first = hash.first_chunk().copied().unwrap_or_default();
    Digested {
        sha256: format!("{:016x}", u64::from_be_bytes(first)),
        len: u32::try_from(value.len()).unwrap_or(u32::MAX),
    }
}

/// The Secret of an object's name.
fn target(object: &str) -> Target {
    Target::secret("default", object)
}

/// The name of a node's object.
fn object_name(node: u32, number: u32) -> String {
    format!("n{node}-{number:04}")
}

/// What a lock guards, whoever panicked with it.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
