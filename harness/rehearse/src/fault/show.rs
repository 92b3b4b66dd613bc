//! Looking for a fault: the signs on the cluster that its file names, and what the procedure's commands show.

use std::time::Duration;

use kms_apiserver_api::{Target, Trouble};
use kms_controlplane::plane::COMPONENTS;

use super::{Happened, expectation};
use crate::oc::{self, ask};
use crate::report::{Detected, Expectation};
use crate::scenario::form::SignName;
use crate::scenario::{Detection, Sign};
use crate::world::state::providers;
use crate::world::{World, config_of};

/// Waits until a fault can be seen, then looks for its signs.
pub async fn look(world: &mut World, happened: &Happened) -> Vec<Expectation> {
    world.pass(happened.row.look_after()).await;
    let mut all = Vec::new();
    for sign in &happened.row.seen {
        all.push(sign_of(world, happened, sign).await);
    }
    all
}

/// Gives the commands of a fault's file.
///
/// # Errors
/// A store does not answer.
pub async fn ask(world: &World, happened: &Happened) -> Result<Vec<Detected>, Trouble> {
    let mut all = Vec::new();
    for detection in &happened.row.detected {
        all.push(detect(world, detection).await?);
    }
    Ok(all)
}

/// One of them: on each node until it shows what is looked for.
async fn detect(world: &World, detection: &Detection) -> Result<Detected, Trouble> {
    let nodes = match detection.node {
        Some(node) => node..node + 1,
        None if detection.ask.of_a_node() => 0..world.plan.nodes,
        None => 0..1,
    };
    let mut found = None;
    let mut unwanted = None;
    let mut last = (nodes.start, String::new());
    for node in nodes {
        let output = detection.ask.answer(world, node).await?;
        let has = |text: &String| output.contains(text.as_str());
        unwanted = unwanted.or_else(|| detection.lacks.iter().find(|text| has(text)).cloned());
        if found.is_none() && detection.contains.iter().all(has) {
            found = Some((node, output.clone()));
        }
        last = (node, output);
    }
    let held = found.is_some() && unwanted.is_none();
    let (node, output) = found.unwrap_or(last);
    let quoted = |texts: &[String]| {
        let texts: Vec<String> = texts.iter().map(|text| format!("`{text}`")).collect();
        texts.join(" and ")
    };
    let mut text = String::from("it shows");
    if !detection.contains.is_empty() {
        text.push_str(&format!(" {}", quoted(&detection.contains)));
    }
    if !detection.lacks.is_empty() {
        let and = if detection.contains.is_empty() {
            ""
        } else {
            " and"
        };
        text.push_str(&format!("{and} no {}", quoted(&detection.lacks)));
    }
    Ok(Detected {
        command: detection.ask.on(node),
        output: ask::excerpt(&output, &detection.contains),
        expectation: expectation(text, held, unwanted.unwrap_or_default()),
    })
}

async fn sign_of(world: &mut World, happened: &Happened, sign: &Sign) -> Expectation {
    let nodes = world.plan.nodes;
    match sign.name {
        SignName::PodsNotReady => {
            let count = sign.count.flatten().unwrap_or(nodes);
            let ready = world.ready(0);
            expectation(
                format!("{count} of kube-apiserver's pods are not ready"),
                nodes - ready == count,
                format!("{ready} of {nodes} ready"),
            )
        }
        SignName::NotDegraded => {
            let degraded = world.degraded();
            let kinds: Vec<&str> = degraded.iter().map(|(_, kind, _)| kind.as_str()).collect();
            let text = "no operator is Degraded over it";
            expectation(text, degraded.is_empty(), kinds.join(", "))
        }
        SignName::NoKey => {
            let keys = (0..COMPONENTS.len()).map(|it| world.keys(it).len());
            let keys = keys.sum::<usize>();
            expectation("no key is made", keys == 0, keys.to_string())
        }
        SignName::NoFurtherKey => {
            let keys = (0..COMPONENTS.len()).map(|it| world.keys(it).len());
            let keys: Vec<usize> = keys.collect();
            let text = "no operator has made another key";
            expectation(text, keys == happened.kept.keys, format!("{keys:?}"))
        }
        SignName::FirstNodeStuck => first_node_stuck(world),
        SignName::WriteRefused => {
            let refusal = write(world, "refused").await.err();
            expectation(
                "a write is refused, past the load balancer too",
                refusal.is_some(),
                refusal.unwrap_or_default(),
            )
        }
        SignName::WriteAccepted => {
            let refusal = write(world, "accepted").await.err();
            let text = "the last node's API server writes";
            expectation(text, refusal.is_none(), refusal.unwrap_or_default())
        }
        SignName::ReadRefused => read_refused(world, &sign.text).await,
        SignName::VaultHealth => {
            let status = world.vault.health();
            let held = sign.status.contains(&status);
            expectation(
                format!("sys/health of Vault answers {}", words(&sign.status)),
                held,
                status.to_string(),
            )
        }
        SignName::VaultAnswered => {
            let count = world.vault.answered(&sign.status);
            expectation(
                format!("Vault has answered {}", words(&sign.status)),
                count > 0,
                format!("{count} times"),
            )
        }
        SignName::MigrationStuck => {
            let at_hand = world.plane.migrator.at_hand().is_some();
            expectation(
                "a migration stands still",
                at_hand && world.work.trouble.is_some(),
                world.work.trouble.clone().unwrap_or_default(),
            )
        }
        SignName::MigrationMoves => {
            let before = world.work.written;
            let done = world.all_done();
            world.pass(Duration::from_secs(60)).await;
            expectation(
                "the migration moves, or has got there in the end",
                done || world.work.written > before,
                format!("{} objects so far", world.work.written),
            )
        }
        SignName::MixedWriters => {
            let running: Vec<String> = (0..nodes).map(|node| world.running(0, node)).collect();
            let mut distinct = running.clone();
            distinct.dedup();
            let text = "nodes write with different keys";
            expectation(text, distinct.len() > 1, running.join(" | "))
        }
        SignName::AtOnce => happened.kept.evidence.clone().unwrap_or_else(|| {
            expectation(
                "it shows at once",
                false,
                "this fault shows nothing at once",
            )
        }),
        SignName::Migrated => expectation(
            "everything is rewritten under the newest key before anybody does something",
            world.all_done(),
            "",
        ),
        SignName::RevisionListed => {
            let namespace = COMPONENTS[0].0;
            let listed = (1..=world.plane.operands[0].latest).any(|revision| {
                let config = config_of(&world.plane, namespace, &revision.to_string());
                providers(config.as_ref()).contains(&sign.text)
            });
            expectation(
                format!("a revision was rolled out with {}", sign.text),
                listed,
                providers(world.target(0).as_ref()),
            )
        }
        SignName::ConditionUntouched => {
            let now = oc::encrypted(world);
            let held = Some(&now) == happened.kept.condition.as_ref();
            let text = "Encrypted has neither changed nor been set again";
            expectation(text, held, if held { String::new() } else { now })
        }
    }
}

fn words(statuses: &[u16]) -> String {
    let statuses: Vec<String> = statuses.iter().map(u16::to_string).collect();
    statuses.join(" or ")
}

fn first_node_stuck(world: &World) -> Expectation {
    let nodes = &world.plane.operands[0].nodes;
    let (first, others) = (&nodes[0], &nodes[1..]);
    let held = first.target != 0
        && others
            .iter()
            .all(|it| it.current < first.target && it.target == 0);
    expectation(
        "the first node stays on its way, the others run what they ran",
        held,
        oc::revisions(world).replace('\n', ", "),
    )
}

async fn read_refused(world: &World, wanted: &str) -> Expectation {
    let target = Target::secret("default", "secret-00000");
    let place = world.place(0, 0);
    let found = match world.servers[place].api().get(&target).await {
        Ok(answer) => answer.message().to_owned(),
        Err(trouble) => trouble.to_string(),
    };
    let text = format!("the first node's API server cannot read: {wanted}");
    expectation(text, found.contains(wanted), found)
}

/// Writes a Secret past the load balancer, on the last node.
async fn write(world: &mut World, name: &str) -> Result<(), String> {
    let name = format!("looked-for-{name}-{}", world.clock.since_epoch().as_secs());
    let target = Target::secret("default", &name);
    world.write_on(0, world.plan.nodes - 1, &target).await
}
