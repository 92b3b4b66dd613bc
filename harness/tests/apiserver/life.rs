//! What operators do, on a whole system: encrypt, rotate, rewrite, restart, and read everything again.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kms_apiserver_api::{ApiServer, Target};
use kms_harness::apiserver::launched::Launched;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::time::{Instant, sleep};

use crate::stored::Stored;
use crate::world::{PROVIDER, READY, World};

/// Secrets that are written before the rotation.
const SECRETS: usize = 20;
/// A rotation is taken up within the plugin's own look at the key (20 s), the good answer's cache (20 s, KMS2-STATUS-11)
/// and the machine's slack.
const TAKEN_UP: Duration = Duration::from_secs(120);
/// How often the server's health is asked meanwhile, as a kubelet does.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// The whole story.
pub async fn rotate_rewrite_restart(mut world: World) -> Result<()> {
    let api: Api<Secret> = Api::namespaced(world.server.client(), "default");
    let mut written = BTreeMap::new();
    for number in 0..SECRETS {
        let secret = secret(&format!("before-{number}"), &format!("value {number}"));
        let made = api.create(&PostParams::default(), &secret).await?;
        written.insert(name(&made), made);
    }

    let first = stored(&world.server, "before-0").await?;
    println!("    stored as {}", first.shown());
    ensure!(
        first.prefix == format!("k8s:enc:kms:v2:{PROVIDER}:"),
        "stored under {:?}",
        first.prefix
    );
    ensure!(
        !first.holds(b"value 0"),
        "the stored value shows what it should hide"
    );
    same(&api, &written).await?;

    let admin = world.keeper.vault.admin();
    world.keeper.access.rotate(&admin).await?;
    let (new_id, took) = taken_up(&world, &api, &first.key_id, &mut written).await?;
    println!(
        "    the new key_id was taken up after {:.1} s",
        took.as_secs_f32()
    );

    // Rewriting is a read and an unchanged write of every object (KMS2-STALE-04): exactly the old ones change.
    let changed = rewrite(&api).await?;
    ensure!(changed >= SECRETS, "only {changed} objects were rewritten");
    for name in written.keys() {
        let now = stored(&world.server, name).await?;
        ensure!(
            now.key_id == new_id,
            "{name} is still stored under {:?}",
            now.key_id
        );
    }
    ensure!(
        rewrite(&api).await? == 0,
        "a second rewriting changed objects"
    );
    let read = same(&api, &written).await.context("after the rewriting")?;

    restart_everything(&mut world).await?;
    let again = same(&api, &written).await.context("after the restart")?;
    ensure!(read == again, "resource versions moved by a restart");
    let made = api
        .create(&PostParams::default(), &secret("after", "new"))
        .await?;
    let after = stored(&world.server, &name(&made)).await?;
    ensure!(
        after.key_id == new_id && after.seed != first.seed,
        "after the restart it writes under {:?}",
        after.key_id
    );
    keeps_secrets(&world)
}

pub fn secret(name: &str, value: &str) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(name.into()),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(
            "key".into(),
            ByteString(value.as_bytes().to_vec()),
        )])),
        ..Secret::default()
    }
}

fn name(secret: &Secret) -> String {
    secret.metadata.name.clone().unwrap_or_default()
}

pub async fn stored(server: &Launched, name: &str) -> Result<Stored> {
    let target = Target::secret("default", name);
    let value = server.stored(&target).await?;
    let value = value.with_context(|| format!("{target} is not in the store"))?;
    Stored::read(&value.bytes).with_context(|| format!("the stored value of {target}"))
}

/// Every Secret reads as it was written; their resource versions.
pub async fn same(
    api: &Api<Secret>,
    written: &BTreeMap<String, Secret>,
) -> Result<BTreeMap<String, Option<String>>> {
    let mut versions = BTreeMap::new();
    for (name, secret) in written {
        let read = api.get(name).await.with_context(|| format!("get {name}"))?;
        ensure!(read.data == secret.data, "{name} reads as something else");
        versions.insert(name.clone(), read.metadata.resource_version);
    }
    let listed = api.list(&kube::api::ListParams::default()).await?;
    ensure!(
        listed.items.len() >= written.len(),
        "only {} Secrets are listed",
        listed.items.len()
    );
    Ok(versions)
}

/// Probes and writes until a new object carries another key_id.
async fn taken_up(
    world: &World,
    api: &Api<Secret>,
    old_id: &str,
    written: &mut BTreeMap<String, Secret>,
) -> Result<(String, Duration)> {
    let start = Instant::now();
    for number in 0.. {
        let health = world.server.health("/readyz").await?;
        ensure!(health.code == 200, "readyz during a rotation: {health:?}");
        let secret = secret(&format!("during-{number}"), "x");
        let made = api.create(&PostParams::default(), &secret).await?;
        let seen = stored(&world.server, &name(&made)).await?;
        written.insert(name(&made), made);
        if seen.key_id != old_id {
            return Ok((seen.key_id, start.elapsed()));
        }
        ensure!(
            start.elapsed() < TAKEN_UP,
            "no new key_id after {} s",
            TAKEN_UP.as_secs()
        );
        sleep(PROBE_EVERY).await;
    }
    unreachable!("the loop ends by time")
}

/// Reads and writes back every Secret; how many changed in the store.
async fn rewrite(api: &Api<Secret>) -> Result<usize> {
    let mut changed = 0;
    for secret in api.list(&kube::api::ListParams::default()).await?.items {
        let name = name(&secret);
        let before = secret.metadata.resource_version.clone();
        let put = api.replace(&name, &PostParams::default(), &secret).await?;
        changed += usize::from(put.metadata.resource_version != before);
    }
    Ok(changed)
}

/// Vault first and the server last, as a machine boots; each is stopped before the first comes back.
async fn restart_everything(world: &mut World) -> Result<()> {
    world.keeper.plugin.stop().await?;
    world.keeper.vault.stop().await?;
    world.keeper.vault.start().await?;
    world.keeper.plugin.restart().await.context("the plugin")?;
    world.etcd.restart().await?;
    world.server.crash_and_start().await?;
    let took = world.server.ready(READY).await?;
    println!("    ready {:.1} s after the restart", took.as_secs_f32());
    Ok(())
}

/// No credential and no value in any log (KMS2-SEC-01).
fn keeps_secrets(world: &World) -> Result<()> {
    for file in [world.keeper.plugin.log(), world.server.log()] {
        let log = std::fs::read_to_string(file)?;
        for secret in world.keeper.access.secrets() {
            ensure!(
                !log.contains(secret),
                "{} holds a credential",
                file.display()
            );
        }
    }
    Ok(())
}
