//! A whole run: a plan, a world of its own, a history.

use std::future::Future;
use std::sync::Arc;

use kms_apiserver_api::Trouble;
use kms_history::chaos::Entry;
use kms_scenario::engine;
use kms_scenario::plan::Plan;
use kms_scenario::seed::Seed;
use kms_scenario::world::Recorder;
use tokio::runtime::{Builder, RngSeed};

use crate::{Between, SimWorld};

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Ran {
    /// What happened, to the end or to where it broke off.
    pub history: Vec<Entry>,
    /// Why the harness could not go on, if it could not.
    pub trouble: Option<Trouble>,
}

/// Carries a plan out in a runtime of its own. May be called on several threads at once: runs share nothing.
#[must_use]
pub fn run(plan: &Plan) -> Ran {
    run_between(plan, None)
}

/// The same with somebody between the plugins and their peers.
#[must_use]
pub fn run_between(plan: &Plan, between: Option<Arc<dyn Between>>) -> Ran {
    virtual_time(plan.seed, async {
        let recorder = Recorder::start();
        let carried_out = async {
            let world = SimWorld::start_between(&plan.world, &recorder, between).await?;
            engine::run(plan, Arc::new(world), recorder.clone()).await
        };
        let trouble = carried_out.await.err();
        Ran {
            history: recorder.take(),
            trouble,
        }
    })
}

/// Runs something in virtual time: one thread, no I/O, a clock that jumps to the next timer, and the runtime's own
/// choices from the seed.
pub fn virtual_time<T>(seed: u64, work: impl Future<Output = T>) -> T {
    let seed = Seed::root(seed).label("runtime");
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .rng_seed(RngSeed::from_bytes(&seed.bytes()))
        .build()
        .expect("a runtime without I/O needs nothing from the system");
    runtime.block_on(work)
}
