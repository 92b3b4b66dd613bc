//! Looking for a fault's signs, by what the procedure's commands show.

use std::time::Duration;

use kms_apiserver_api::Target;
use kms_controlplane::object::Status;
use kms_controlplane::plane::COMPONENTS;

use super::signs::{
    degraded, lost_provider, no_key, operator_says, plugin_says, progressing, quiet, server_says,
    unready, write, write_refused,
};
use super::{Happened, expectation};
use crate::oc;
use crate::report::Expectation;
use crate::world::state::providers;
use crate::world::{World, config_of};

/// How long it is waited for a fault to show.
fn patience(id: &str) -> Duration {
    Duration::from_secs(match id {
        // what is lost must be put back before a node is replaced
        "OCP-FAULT-27" | "OCP-TRAP-03" | "OCP-TRAP-08" | "OCP-TRAP-09" | "OCP-TRAP-10"
        | "OCP-TRAP-11" => 5,
        "OCP-FAULT-14" => 120,
        "OCP-FAULT-29" => 25 * 60,
        "OCP-TRAP-01" => 40 * 60,
        "OCP-TRAP-07" => 3600,
        _ => 300,
    })
}

/// Waits until a fault can be seen, then looks for its signs.
pub async fn look(world: &mut World, happened: &Happened) -> Vec<Expectation> {
    let id = happened.row.id;
    world.pass(patience(id)).await;
    let nodes = world.plan.nodes;
    let mut all = happened.kept.evidence.clone();
    match id {
        "OCP-FAULT-01" => all.push(expectation(
            "nothing was rolled out and no key was made",
            world.keys(0).is_empty(),
            "",
        )),
        "OCP-FAULT-02" => {
            all.push(no_key(world));
            all.push(degraded(
                world,
                "EncryptionKeyControllerDegraded",
                "vault-approle",
            ));
            all.push(operator_says(
                world,
                "kms\\|validation\\|error",
                "vault-approle",
            ));
        }
        "OCP-FAULT-03" | "OCP-FAULT-04" => {
            let stuck = &world.plane.operands[0].nodes[0];
            all.push(expectation(
                "the first node stays on its way, the others run what they ran",
                stuck.target != 0
                    && world.plane.operands[0].nodes[1..]
                        .iter()
                        .all(|it| it.current == 1),
                oc::revisions(world).replace('\n', ", "),
            ));
            all.push(quiet(world));
            if id == "OCP-FAULT-03" {
                all.push(server_says(world, "kms-kye"));
            } else {
                let listing = oc::socket(world, 0);
                all.push(expectation(
                    "no socket on that node",
                    !listing.starts_with('s'),
                    "",
                ));
            }
        }
        "OCP-FAULT-05" => {
            all.push(unready(world, 1));
            let pods = oc::plugin_pods(world);
            all.push(expectation(
                "the pod list shows the restarts",
                pods.contains("CrashLoopBackOff"),
                "",
            ));
        }
        "OCP-FAULT-06" | "OCP-FAULT-07" => {
            all.push(unready(world, nodes));
            all.push(plugin_says(world, &["permission denied on transit/"]));
        }
        "OCP-FAULT-08" | "OCP-FAULT-09" | "OCP-FAULT-10" | "OCP-FAULT-13" => {
            all.push(unready(world, nodes));
            all.push(write_refused(world).await);
            all.push(plugin_says(
                world,
                match id {
                    "OCP-FAULT-08" => &["permission denied on transit/keys"],
                    "OCP-FAULT-09" => &["the credential is rejected"],
                    "OCP-FAULT-10" => &["key not found"],
                    _ => &["sealed"],
                },
            ));
            all.push(quiet(world));
        }
        "OCP-FAULT-11" => {
            all.push(unready(world, 1));
            all.push(plugin_says(world, &["too old"]));
        }
        "OCP-FAULT-12" => {
            all.push(plugin_says(world, &["soft-deleted", "soft_deleted"]));
            let key = world.vault.key();
            all.push(expectation("the key can still be read", key.is_some(), ""));
            all.push(unready(world, nodes));
        }
        "OCP-FAULT-14" => {
            let status = world.vault.health();
            let standby = [429, 472, 473, 503].contains(&status);
            let text = "sys/health says that the node does not lead";
            all.push(expectation(text, standby, format!("{status}")));
            let written = write(world, "without-leader").await;
            all.push(expectation(
                "writes go on with the seed that is there",
                written.is_ok(),
                written.err().unwrap_or_default(),
            ));
        }
        "OCP-FAULT-15" => {
            let count = world.vault.answered(&[429]);
            all.push(expectation(
                "Vault has answered 429",
                count > 0,
                format!("{count} times"),
            ));
            all.push(plugin_says(world, &["http 429", "rate limit"]));
        }
        "OCP-FAULT-16" => {
            all.push(server_says(world, "DeadlineExceeded"));
            all.push(unready(world, nodes));
        }
        "OCP-FAULT-17" => {
            all.push(plugin_says(world, &["no such host"]));
            all.push(unready(world, nodes));
        }
        "OCP-FAULT-18" => {
            all.push(plugin_says(world, &["certificate"]));
            all.push(unready(world, nodes));
        }
        "OCP-FAULT-19" => {
            all.push(unready(world, 1));
            all.push(quiet(world));
            let written = write(world, "while-one-is-cut-off").await;
            all.push(expectation(
                "the other nodes write",
                written.is_ok(),
                written.err().unwrap_or_default(),
            ));
        }
        "OCP-FAULT-20" => {}
        "OCP-FAULT-21" => {
            all.push(unready(world, 1));
            all.push(plugin_says(world, &["decrypt"]));
        }
        "OCP-FAULT-22" => {
            let at_hand = world.plane.migrator.at_hand().map(|(gr, _)| gr.to_string());
            all.push(expectation(
                "a migration stands still",
                at_hand.is_some() && world.work.trouble.is_some(),
                world.work.trouble.clone().unwrap_or_default(),
            ));
            all.push(progressing(world));
            all.push(quiet(world));
        }
        "OCP-FAULT-23" => {
            let before = world.work.written;
            let done = world.all_done();
            world.pass(Duration::from_secs(60)).await;
            all.push(expectation(
                "the migration moves, or has got there in the end",
                done || world.work.written > before,
                format!("{} objects so far", world.work.written),
            ));
        }
        "OCP-FAULT-24" => {
            let running: Vec<String> = (0..nodes).map(|node| world.running(0, node)).collect();
            let mut distinct = running.clone();
            distinct.dedup();
            all.push(expectation(
                "nodes write with different keys",
                distinct.len() > 1,
                running.join(" | "),
            ));
            all.push(quiet(world));
        }
        "OCP-FAULT-25" => {
            let target = Target::secret("default", "secret-00000");
            let place = world.place(0, 0);
            let found = match world.servers[place].api().get(&target).await {
                Ok(answer) => answer.message().to_owned(),
                Err(trouble) => trouble.to_string(),
            };
            all.push(expectation(
                "that node's API server cannot read",
                found.contains("no matching prefix found"),
                found,
            ));
        }
        "OCP-FAULT-26" => {
            all.push(unready(world, nodes));
            let listed = providers(world.target(0).as_ref());
            all.push(expectation(
                "the configuration still lists a kms provider",
                listed.contains("kms:"),
                listed,
            ));
        }
        "OCP-FAULT-27" | "OCP-TRAP-08" | "OCP-TRAP-10" => all.push(lost_provider(world)),
        "OCP-FAULT-28" => {
            all.push(unready(world, nodes));
            all.push(plugin_says(world, &["decrypt"]));
        }
        "OCP-FAULT-29" => {
            let condition = world.condition(0, "StaticPodFallbackRevisionDegraded");
            all.push(expectation(
                "the pod fell back to the revision before",
                condition.status == Status::True,
                condition.message,
            ));
        }
        trap => show_trap(world, trap, &mut all),
    }
    all
}

fn show_trap(world: &World, id: &str, all: &mut Vec<Expectation>) {
    let green = world.condition(0, "Encrypted").status == Status::True;
    let broken = |word: &str| world.broken.iter().any(|it| it.text.contains(word));
    match id {
        "OCP-TRAP-01" => {
            all.push(expectation("Encrypted is green", green, ""));
            all.push(expectation(
                "while servers write plain text",
                broken("NoPlainText"),
                "",
            ));
        }
        "OCP-TRAP-02" => all.push(operator_says(
            world,
            "targetsecretdeleted",
            "TargetSecretDeleted",
        )),
        "OCP-TRAP-03" => {
            all.push(degraded(
                world,
                "EncryptionKeyControllerDegraded",
                "unknown encryption mode configured: KMS",
            ));
            all.push(lost_provider(world));
        }
        "OCP-TRAP-04" => {
            all.push(expectation("Encrypted is green", green, ""));
            all.push(degraded(
                world,
                "EncryptionKeyControllerDegraded",
                "unknown encryption mode",
            ));
        }
        "OCP-TRAP-05" => all.push(expectation(
            "Encrypted is False without a reason",
            !green,
            "",
        )),
        "OCP-TRAP-06" => all.push(degraded(
            world,
            "EncryptionKeyControllerDegraded",
            "is invalid, new keys cannot be created",
        )),
        "OCP-TRAP-07" => {
            let namespace = COMPONENTS[0].0;
            let twice = (1..=world.plane.operands[0].latest).any(|revision| {
                let config = config_of(&world.plane, namespace, &revision.to_string());
                providers(config.as_ref()).contains("identity,identity")
            });
            all.push(expectation(
                "a revision was rolled out in which identity stands twice",
                twice,
                providers(world.target(0).as_ref()),
            ));
        }
        "OCP-TRAP-09" => {
            all.push(degraded(
                world,
                "EncryptionKeyControllerDegraded",
                "unsupported KMS provider type",
            ));
            all.push(operator_says(world, "panic", "index out of range"));
        }
        "OCP-TRAP-11" => {
            all.push(operator_says(world, "panic", "index out of range"));
            let listed = providers(world.target(0).as_ref());
            all.push(expectation(
                "the configuration stays",
                listed.contains("kms:1"),
                listed,
            ));
        }
        _ => all.push(degraded(
            world,
            "EncryptionKMSPreflightControllerDegraded",
            "OOMKilled",
        )),
    }
}
