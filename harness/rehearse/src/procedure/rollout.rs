//! Watching a rollout: the procedure's command again and again, shown whenever it prints something else.

use std::time::Duration;

use kms_apiserver_api::Trouble;

use crate::oc;
use crate::stage::{PATIENCE, Stage};
use crate::world::World;

/// The command that the procedure watches the rollout with.
pub const REVISIONS: &str = r#"oc get kubeapiserver cluster -o jsonpath='{.status.nodeStatuses}' | jq -r '.[] | "\(.nodeName | split(".")[0]): current=\(.currentRevision) target=\(.targetRevision)"'"#;

/// How a rollout went.
pub struct Rolled {
    /// Minutes until each component was done; nothing for those that were not.
    pub minutes: [Option<u64>; 3],
    /// Most nodes of kube-apiserver that were on their way at once.
    pub at_once: usize,
    /// Fewest of its pods that were ready.
    pub fewest: usize,
}

/// What movement there is to see.
fn movement(world: &World) -> String {
    let progress = world.plane.operands.iter().map(|operand| {
        let nodes = operand.nodes.iter();
        let nodes = nodes.map(|node| format!("{}/{}", node.current, node.target));
        nodes.collect::<Vec<_>>().join(" ")
    });
    let progress: Vec<String> = progress.collect();
    let keys = (0..progress.len()).flat_map(|component| world.keys(component));
    let keys: Vec<usize> = keys.map(|key| key.migrated.len()).collect();
    format!("{progress:?} {} {keys:?}", world.work.written)
}

/// Watches until everything is rewritten under the new key, or nothing moves any more.
///
/// # Errors
/// Never, so far as the cluster is concerned.
pub async fn watch(stage: &mut Stage) -> Result<Rolled, Trouble> {
    let began = stage.world.clock.since_epoch();
    let mut rolled = Rolled {
        minutes: [None; 3],
        at_once: 0,
        fewest: stage.world.plan.nodes,
    };
    let mut shown = oc::revisions(&stage.world);
    stage.command(REVISIONS, shown.clone());
    let mut last = (movement(&stage.world), began);
    loop {
        stage.world.tick().await;
        let world = &stage.world;
        let now = world.clock.since_epoch();
        for (component, minutes) in rolled.minutes.iter_mut().enumerate() {
            if minutes.is_none() && world.done(component) {
                *minutes = Some((now - began).as_secs() / 60);
            }
        }
        let nodes = world.plane.operands[0].nodes.iter();
        let on_their_way = nodes.filter(|node| node.target != 0).count();
        rolled.at_once = rolled.at_once.max(on_their_way);
        rolled.fewest = rolled.fewest.min(world.ready(0));
        let seen = movement(world);
        if seen != last.0 {
            last = (seen, now);
        }
        let now_shown = oc::revisions(world);
        if now_shown != shown {
            stage.command(REVISIONS, now_shown.clone());
            shown = now_shown;
        }
        if rolled.minutes.iter().all(Option::is_some) {
            // the status is written once more after the last node
            stage.world.pass(Duration::from_secs(60)).await;
            return Ok(rolled);
        }
        if now - last.1 > PATIENCE {
            let minutes = PATIENCE.as_secs() / 60;
            stage.note(format!(
                "nothing has moved for {minutes} minutes: no longer waited for"
            ));
            return Ok(rolled);
        }
    }
}

/// What the procedure says of a rollout, against how it went.
pub fn judge(stage: &mut Stage, rolled: &Rolled) {
    let minutes = |component: usize| {
        let found = rolled.minutes[component];
        found.map_or("not done".to_owned(), |minutes| {
            format!("{minutes} minutes")
        })
    };
    let within =
        |component: usize| rolled.minutes[component].is_some_and(|it| (1..=15).contains(&it));
    stage.expect(
        "openshift-apiserver and authentication are done within 5 to 10 minutes, give or take the resync",
        within(1) && within(2),
        format!("{}, {}", minutes(1), minutes(2)),
    );
    stage.expect(
        "kube-apiserver takes one node at a time, with the others serving",
        rolled.at_once <= 1 && rolled.fewest + 1 >= stage.world.plan.nodes,
        format!(
            "at most {} on the way, at least {} ready",
            rolled.at_once, rolled.fewest
        ),
    );
    stage.expect(
        "kube-apiserver gets there, which can take 30 minutes or longer",
        rolled.minutes[0].is_some(),
        minutes(0),
    );
}
