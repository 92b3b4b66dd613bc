//! Faults as guards: each has a task that injects it, waits, and undoes it, at the latest when heal begins. The world
//! has the same deadline and keeps it by itself.

use std::sync::Arc;
use std::time::Duration;

use kms_apiserver_api::Trouble;
use kms_history::chaos::FaultStep;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::{Run, Times, operator};
use crate::fault::Maker;
use crate::plan::PlannedFault;
use crate::world::Order;

/// How much later than planned the world undoes a fault by itself.
const MARGIN: Duration = Duration::from_secs(1);

pub(super) fn start(run: &Arc<Run>, times: Times, tasks: &mut JoinSet<Result<(), Trouble>>) {
    let keeper = Arc::new(operator::Keeper::default());
    for fault in &run.plan.faults {
        let (run, keeper, fault) = (Arc::clone(run), Arc::clone(&keeper), fault.clone());
        tasks.spawn(async move { live(&run, &keeper, &fault, times).await });
    }
}

async fn live(
    run: &Run,
    keeper: &operator::Keeper,
    fault: &PlannedFault,
    times: Times,
) -> Result<(), Trouble> {
    let start = times.fault + fault.at;
    let end = fault
        .length
        .map_or(times.heal, |length| (start + length).min(times.heal));
    sleep_until(start).await;
    match fault.fault.maker() {
        Maker::World => by_world(run, fault, end).await,
        Maker::Engine => by_engine(run, keeper, fault, end).await,
    }
}

async fn by_world(run: &Run, fault: &PlannedFault, end: Instant) -> Result<(), Trouble> {
    let order = Order {
        id: fault.id.clone(),
        fault: fault.fault.clone(),
        nodes: fault.nodes.clone(),
        deadline: end.saturating_duration_since(Instant::now()) + MARGIN,
    };
    if let Err(Trouble(why)) = run.world.inject(&order).await {
        run.fault(&fault.id, FaultStep::Refused(why));
        return Ok(());
    }
    run.fault(&fault.id, FaultStep::Injected);
    if fault.fault.lasts() {
        sleep_until(end).await;
        run.world.recover(&fault.id).await?;
    }
    run.fault(&fault.id, FaultStep::Recovered);
    Ok(())
}

async fn by_engine(
    run: &Run,
    keeper: &operator::Keeper,
    fault: &PlannedFault,
    end: Instant,
) -> Result<(), Trouble> {
    run.fault(&fault.id, FaultStep::Injected);
    match operator::make(run, keeper, fault).await {
        Err(Trouble(why)) => run.fault(&fault.id, FaultStep::Refused(why)),
        Ok(hits) => {
            if fault.fault.lasts() {
                sleep_until(end).await;
                operator::undo(run, keeper, fault).await?;
            }
            run.fault(&fault.id, FaultStep::Recovered);
            run.fault(&fault.id, FaultStep::Hits(hits));
        }
    }
    Ok(())
}
