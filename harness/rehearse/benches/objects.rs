//! Migrates 39,000 objects on three nodes from aescbc to KMS, and prints how long that took on the wall.
//!
//! ```text
//! cargo bench -p kms-rehearse --bench objects -- [OBJECTS]
//! ```

#![expect(
    clippy::disallowed_methods,
    reason = "it measures real time beside the cluster's"
)]

use std::error::Error;
use std::io::Write;
use std::time::{Duration, Instant};

use kms_apiserver_api::Trouble;
use kms_rehearse::options::Mode;
use kms_rehearse::world::{Plan, World};
use sim_vault::Flavour;

async fn measure(objects: u64) -> Result<String, Trouble> {
    let plan = Plan {
        mode: Mode::Seed,
        nodes: 3,
        objects,
        seed: 1,
        flavour: Flavour::Vault,
    };
    let began = Instant::now();
    let mut world = World::start(plan).await?;
    let loaded = began.elapsed();
    world.settled_in("aescbc").await?;
    let settled = began.elapsed();
    world.deploy()?;
    world.set_type("KMS");
    let limit = Duration::from_secs(12 * 3600);
    world.until(limit, |world| world.migrating(0)).await;
    let (rolled, on_the_cluster) = (began.elapsed(), world.clock.since_epoch());
    let done = world.until(limit, World::all_done).await;
    let migrated = began.elapsed() - rolled;
    let simulated = world.clock.since_epoch() - on_the_cluster;
    let failed = world.audit().await;
    Ok(format!(
        "loaded   {objects} objects in {loaded:.1?}\n\
         aescbc   everything in it after {settled:.1?}\n\
         rollout  to KMS after {rolled:.1?}\n\
         migrated in {migrated:.1?} of wall time, {simulated:.0?} on the cluster's clock\n\
         done {done}, {failed} reads failed, {} invariants broken\n",
        world.broken.len()
    ))
}

fn main() -> Result<(), Box<dyn Error>> {
    let objects = std::env::args()
        .skip(1)
        .find(|word| !word.starts_with('-'))
        .map_or(Ok(39_000), |word| word.parse())?;
    let text = kms_sim::run::virtual_time(1, measure(objects))?;
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}
