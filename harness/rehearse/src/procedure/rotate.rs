//! `rotate`: a new version of the Transit key.

use std::collections::BTreeSet;
use std::time::Duration;

use kms_apiserver_api::{Target, Trouble};

use crate::fault::make::key_id;
use crate::oc;
use crate::options::Mode;
use crate::report::Part;
use crate::stage::Stage;
use crate::world::World;

/// Plays it.
///
/// # Errors
/// The rehearsal could not go on.
pub async fn play(mut stage: Stage) -> Result<Part, Trouble> {
    let before = written(&mut stage.world, "before-the-rotation").await?;
    let rewritten = stage.world.rewritten;

    stage
        .begin("rotate", "A new version of the Transit key")
        .await?;
    let (output, rotated) = oc::vault_rotate(&stage.world);
    stage.command("vault write -f transit/keys/kms-key/rotate", output);
    stage.expect("Vault makes a new version", rotated, "");

    stage.begin("read", "The newest version").await?;
    let (output, version) = oc::vault_key(&stage.world);
    stage.command("vault read transit/keys/kms-key", output);
    stage.expect("latest_version is 2", version == Some(2), "");

    stage
        .begin("settle", "Plugins and API servers notice")
        .await?;
    stage.world.pass(Duration::from_secs(300)).await;
    let after = written(&mut stage.world, "after-the-rotation").await?;
    stage.expect(
        "five minutes later every node writes under one key_id, which is a new one",
        after.len() == 1 && after.is_disjoint(&before),
        format!("{} before, {} after", before.len(), after.len()),
    );
    if stage.world.plan.mode == Mode::Newest {
        rewrite(&mut stage, rewritten).await;
    }

    stage
        .begin("secrets", "Existing Secrets can be read")
        .await?;
    let (output, count) = oc::secrets(&mut stage.world).await;
    stage.command("oc get secret -A", output);
    let expected = stage
        .world
        .acknowledged
        .iter()
        .filter(|(component, target)| {
            *component == 0 && target.resource == kms_apiserver_api::Resource::Secrets
        });
    let expected = expected.count();
    stage.expect(
        "all Secrets are readable without errors",
        count == Some(expected),
        format!("{} of {expected}", count.unwrap_or(0)),
    );

    stage.begin("etcd", "What was rewritten").await?;
    let target = Target::secret("default", "secret-00000");
    let line = oc::etcd_value(&stage.world, 0, &target).await?;
    let command = format!(
        "oc exec -n openshift-etcd {} -- etcdctl get /kubernetes.io/secrets/default/secret-00000 --print-value-only | hexdump -C | head -1",
        oc::etcd_pod_name()
    );
    stage.command(command, line);
    let stored = stage.world.stored(0, &target).await?;
    let old = stored
        .as_ref()
        .and_then(key_id)
        .is_some_and(|id| before.contains(&id));
    let by_itself = stage.world.plan.mode == Mode::Newest;
    let keys = stage.world.keys(0).len();
    if by_itself {
        stage.expect("it lies under the new version of the remote key", !old, "");
    } else {
        stage.expect(
            "it still lies under the version that it was written with",
            old,
            "",
        );
    }
    stage.expect(
        "the operator has made no new key",
        keys == 1,
        format!("{keys}"),
    );
    stage.note("a backup made before needs the old version for as long as it is kept: min_decryption_version must not pass it");
    stage.end("").await
}

/// Writes a Secret on each node, past the load balancer; the key_ids that they lie under.
async fn written(world: &mut World, name: &str) -> Result<BTreeSet<String>, Trouble> {
    let mut ids = BTreeSet::new();
    for node in 0..world.plan.nodes {
        let target = Target::secret("default", &format!("{name}-{node}"));
        if world.write_on(0, node, &target).await.is_ok() {
            let stored = world.stored(0, &target).await?;
            ids.extend(stored.as_ref().and_then(key_id));
        }
    }
    Ok(ids)
}

/// The newest operators: once all nodes have reported the same new key_id for five minutes, everything is rewritten.
async fn rewrite(stage: &mut Stage, before: u64) {
    let began = stage.world.clock.since_epoch();
    let limit = Duration::from_secs(12 * 3600);
    let done = stage
        .world
        .until(limit, |world| {
            world.rewritten > before && world.remote_key_is_settled()
        })
        .await;
    stage.expect(
        "the operators see one new key_id on all nodes and rewrite everything by themselves",
        done,
        "",
    );
    let took = (stage.world.clock.since_epoch() - began).as_secs();
    let count = stage.world.rewritten - before;
    stage.note(format!(
        "they wait until all nodes have reported it for five minutes: {count} objects were rewritten {} later, without a new key and without a roll-out",
        crate::report::span(took)
    ));
}
