//! The signs by which a fault shows, each as an expectation.

use kms_apiserver_api::Target;
use kms_controlplane::object::Status;
use kms_controlplane::plane::COMPONENTS;

use super::expectation;
use crate::oc::{self, logs};
use crate::report::Expectation;
use crate::world::World;
use crate::world::state::providers;

/// The configuration of kube-apiserver has lost its first KMS key.
pub(super) fn lost_provider(world: &World) -> Expectation {
    let listed = providers(world.target(0).as_ref());
    expectation(
        "the configuration has lost the provider kms:1",
        !listed.contains("kms:1"),
        listed,
    )
}

/// No component has a key.
pub(super) fn no_key(world: &World) -> Expectation {
    let keys = (0..COMPONENTS.len())
        .map(|it| world.keys(it).len())
        .sum::<usize>();
    expectation("no key is made", keys == 0, format!("{keys}"))
}

/// A condition of kube-apiserver is True and says that.
pub(super) fn degraded(world: &World, kind: &str, text: &str) -> Expectation {
    let condition = world.condition(0, kind);
    expectation(
        format!("{kind} says it"),
        condition.status == Status::True && condition.message.contains(text),
        format!("{} {}", condition.status.as_str(), condition.message),
    )
}

/// The operator's log has that text in the lines that the procedure's `grep` finds.
pub(super) fn operator_says(world: &World, pattern: &str, text: &str) -> Expectation {
    let lines = oc::shell::grep(&logs::operator(world, 0), pattern);
    let count = lines.iter().filter(|line| line.contains(text)).count();
    expectation(
        format!("the operator's log has it under grep -i \"{pattern}\""),
        count > 0,
        format!("{count} lines"),
    )
}

/// No operator is Degraded, though something is wrong.
pub(super) fn quiet(world: &World) -> Expectation {
    let degraded = world.degraded();
    let kinds: Vec<&str> = degraded.iter().map(|(_, kind, _)| kind.as_str()).collect();
    expectation(
        "and no operator is Degraded over it",
        degraded.is_empty(),
        kinds.join(", "),
    )
}

/// A migration is reported.
pub(super) fn progressing(world: &World) -> Expectation {
    let condition = world.condition(0, "EncryptionMigrationControllerProgressing");
    expectation(
        "Progressing says Migrating",
        condition.reason == "Migrating",
        condition.message,
    )
}

/// So many pods of kube-apiserver are not ready.
pub(super) fn unready(world: &World, count: usize) -> Expectation {
    let ready = world.ready(0);
    expectation(
        format!("{count} of kube-apiserver's pods are not ready"),
        world.plan.nodes - ready == count,
        format!("{ready} of {} ready", world.plan.nodes),
    )
}

/// The newest line of any plugin's log with one of these words in it.
pub(super) fn plugin_says(world: &World, words: &[&str]) -> Expectation {
    let fits = |line: &&str| words.iter().any(|word| line.to_lowercase().contains(word));
    let logs: Vec<String> = world.plugins.iter().map(|it| it.log.text()).collect();
    let mut lines = logs.iter().rev().flat_map(|log| log.lines().rev());
    let found = lines.clone().find(fits);
    // what it says instead helps whoever wonders
    let shown = found.or_else(|| lines.next()).unwrap_or_default();
    expectation("a plugin's log says it", found.is_some(), shown)
}

/// The newest line of a kube-apiserver's log with that word in it.
pub(super) fn server_says(world: &World, word: &str) -> Expectation {
    let mut servers = world
        .servers
        .iter()
        .rev()
        .filter(|server| server.component == 0);
    let found = servers.find_map(|server| {
        let text = server.log.text();
        text.lines()
            .find(|line| line.contains(word))
            .map(str::to_owned)
    });
    expectation(
        "an API server's log says it",
        found.is_some(),
        found.unwrap_or_default(),
    )
}

/// Writes a Secret past the load balancer, on the last node.
pub(super) async fn write(world: &mut World, name: &str) -> Result<(), String> {
    let target = Target::secret("default", name);
    world.write_on(0, world.plan.nodes - 1, &target).await
}

/// A write is refused, five minutes after.
pub(super) async fn write_refused(world: &mut World) -> Expectation {
    let written = write(world, "after-three-minutes").await;
    expectation(
        "five minutes later a write is refused, past the load balancer too",
        written.is_err(),
        written.err().unwrap_or_default(),
    )
}
