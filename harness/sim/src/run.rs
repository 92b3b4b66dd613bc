//! The runtime of a simulated run.

use std::future::Future;

use kms_scenario::seed::Seed;
use tokio::runtime::{Builder, RngSeed};

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
