//! A healthy cluster gives no finding, at no moment of a procedure.

use std::time::Duration;

use kms_rehearse::options::Mode;
use kms_rehearse::world::{Plan, World};
use serde_json::Value;
use sim_vault::Flavour;

use crate::gather;
use crate::share::whole;

async fn cluster(mode: Mode, nodes: usize) -> Box<World> {
    let plan = Plan {
        mode,
        nodes,
        objects: 60,
        seed: 1,
        flavour: Flavour::Vault,
    };
    World::start(plan).await.unwrap()
}

/// Lets time pass until everything is done, and looks each minute, or each third where a share is played.
async fn quiet_until_done(world: &mut World, what: &str) {
    let minutes = if whole() { 1 } else { 3 };
    for _ in 0..6 * 60 / minutes {
        world.pass(Duration::from_secs(57) * minutes).await;
        let at = world.clock.now();
        assert_eq!(
            gather::ids(world).await,
            Vec::<String>::new(),
            "{what} at {at}"
        );
        if world.all_done() {
            return;
        }
    }
    panic!("{what} does not end");
}

async fn procedures(mode: Mode, nodes: usize) {
    let mut world = cluster(mode, nodes).await;
    assert_eq!(
        gather::ids(&world).await,
        Vec::<String>::new(),
        "never encrypted"
    );
    world.set_type("aescbc");
    quiet_until_done(&mut world, "to aescbc").await;
    world.deploy().unwrap();
    // the plugins have not answered yet
    assert_eq!(
        gather::ids(&world).await,
        Vec::<String>::new(),
        "just deployed"
    );
    world.pass(Duration::from_secs(30)).await;
    world.set_type("KMS");
    quiet_until_done(&mut world, "to KMS").await;
    world
        .vault
        .admin("POST", "transit/keys/kms-key/rotate", &Value::Null);
    for second in (0..360).step_by(15) {
        world.pass(Duration::from_secs(15)).await;
        assert_eq!(
            gather::ids(&world).await,
            Vec::<String>::new(),
            "{second} s after a rotation"
        );
    }
    world.restart(0, Some(0));
    for _ in 0..4 {
        world.pass(Duration::from_secs(15)).await;
        assert_eq!(gather::ids(&world).await, Vec::<String>::new(), "a restart");
    }
    world.set_type("identity");
    quiet_until_done(&mut world, "to identity").await;
    world.set_type("KMS");
    quiet_until_done(&mut world, "back to KMS").await;
}

#[test]
fn no_procedure_of_the_seed_s_operators_gives_a_finding() {
    kms_sim::run::virtual_time(1, Box::pin(procedures(Mode::Seed, 3)));
}

#[test]
fn no_procedure_of_their_successors_gives_a_finding() {
    kms_sim::run::virtual_time(1, Box::pin(procedures(Mode::V2, 3)));
}

#[test]
fn no_procedure_on_a_single_node_gives_a_finding() {
    kms_sim::run::virtual_time(1, Box::pin(procedures(Mode::Seed, 1)));
}
