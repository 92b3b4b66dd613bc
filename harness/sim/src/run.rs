//! A whole run: a plan, a world of its own, a history.

use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use kms_apiserver_api::Trouble;
use kms_history::chaos::Entry;
use kms_scenario::engine;
use kms_scenario::plan::Plan;
use kms_scenario::seed::Seed;
use kms_scenario::world::Recorder;
use tokio::runtime::{Builder, RngSeed, Runtime};

use crate::{Between, SimWorld};

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Ran {
    /// What happened, to the end or to where it broke off.
    pub history: Vec<Entry>,
    /// Why the harness could not go on, if it could not.
    pub trouble: Option<Trouble>,
    /// Packets and handshakes that the network carried.
    pub hops: u64,
}

/// Who else takes part in a run: nobody, if nothing is said.
#[derive(Clone, Default)]
pub struct Company {
    /// Stands between the plugins and their peers.
    pub between: Option<Arc<dyn Between>>,
    /// Looks on.
    pub onlooker: Option<Arc<dyn Onlooker>>,
}

/// Told whenever code of a run gets and gives back the thread, for measurements. Changes nothing of the run.
pub trait Onlooker: Send + Sync {
    /// A task that was spawned there goes on.
    fn begins(&self, spawned: &'static Location<'static>);

    /// It stops for now.
    fn ends(&self);
}

/// Carries a plan out in a runtime of its own. May be called on several threads at once: runs share nothing.
#[must_use]
pub fn run(plan: &Plan) -> Ran {
    run_with(plan, Company::default())
}

/// The same in company.
#[must_use]
pub fn run_with(plan: &Plan, company: Company) -> Ran {
    let Company { between, onlooker } = company;
    let mut builder = builder(plan.seed);
    if let Some(onlooker) = onlooker.clone() {
        let other = Arc::clone(&onlooker);
        builder
            .on_before_task_poll(move |task| onlooker.begins(task.spawned_at()))
            .on_after_task_poll(move |_| other.ends());
    }
    let main = async {
        let recorder = Recorder::start();
        let mut net = None;
        let carried_out = async {
            let world = SimWorld::start_between(&plan.world, &recorder, between).await?;
            net = Some(world.net().clone());
            engine::run(plan, Arc::new(world), recorder.clone()).await
        };
        let trouble = carried_out.await.err();
        Ran {
            history: recorder.take(),
            trouble,
            hops: net.map_or(0, |net| net.hops()),
        }
    };
    build(&mut builder).block_on(Seen {
        onlooker,
        main: Box::pin(main),
    })
}

/// Runs something in virtual time: one thread, no I/O, a clock that jumps to the next timer, and the runtime's own
/// choices from the seed.
pub fn virtual_time<T>(seed: u64, work: impl Future<Output = T>) -> T {
    build(&mut builder(seed)).block_on(work)
}

fn builder(seed: u64) -> Builder {
    let seed = Seed::root(seed).label("runtime");
    let mut builder = Builder::new_current_thread();
    builder
        .enable_time()
        .start_paused(true)
        .rng_seed(RngSeed::from_bytes(&seed.bytes()));
    builder
}

fn build(builder: &mut Builder) -> Runtime {
    builder
        .build()
        .expect("a runtime without I/O needs nothing from the system")
}

/// The main future, which is no task: an onlooker is told of it here.
struct Seen<'a, T> {
    onlooker: Option<Arc<dyn Onlooker>>,
    main: Pin<Box<dyn Future<Output = T> + 'a>>,
}

impl<T> Future for Seen<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        if let Some(onlooker) = &self.onlooker {
            onlooker.begins(Location::caller());
        }
        let polled = self.main.as_mut().poll(cx);
        if let Some(onlooker) = &self.onlooker {
            onlooker.ends();
        }
        polled
    }
}
