//! Faults of any cluster, one after the other in one: each is made, named by the doctor, and mended.

use anyhow::{Context, Result, ensure};
use kms_apiserver_api::{ApiServer, Target};
use serde_json::json;

use super::Parts;
use super::world::{LIMIT, World, shows};
use crate::common::kms::Kms;
use crate::doctor::said::say;
use crate::doctor::vault::Fault;

/// Those that Vault's part in it can have. Where the plugin stays sick between two, nobody waits for the API server to ask
/// it again.
const OF_VAULT: [Fault; 6] = [
    Fault::Sealed,
    Fault::NoKeyRead,
    Fault::NoEncrypt,
    Fault::NoDecrypt,
    Fault::TokenRevoked,
    Fault::SoftDeleted,
];

/// Well; what Vault refuses; flags that are wrong; data that is damaged; a version too old; the plugin gone; the key
/// gone and made anew; nobody there.
pub async fn of_vault_and_plugin(parts: Parts) -> Result<()> {
    let mut world = World::start(&parts).await?;
    let plugin = world.plugin.as_ref().context("it was started")?;
    let socket = plugin.socket().to_owned();
    let (look, all) = (world.doctor(), world.with_everything(&socket));
    let canary = Target::secret("default", "canary");
    let written = world
        .server
        .create(&canary, json!({"data": {"key": "dmFsdWU="}}))
        .await?;
    ensure!(written.ok(), "{written:?}");
    let with_socket = world.with_socket(&socket);
    for args in [&look, &with_socket, &all] {
        say(args)
            .await?
            .found(&[])
            .context("a cluster that is well")?;
    }

    damaged_data(&world, &canary)
        .await
        .context("damaged data")?;
    wrong_flags(&world).await.context("wrong flags")?;
    for fault in OF_VAULT {
        world.scene.make(fault).await?;
        world.look_again()?;
        shows(&all, fault.ids())
            .await
            .with_context(|| format!("{fault:?}, everything looked at"))?;
        // what the API server tells of its plugin is enough
        shows(&look, fault.ids())
            .await
            .with_context(|| format!("{fault:?}, by the kubeconfig alone"))?;
        world.scene.mend(fault).await?;
    }
    world.look_again()?;
    shows(&all, &[]).await.context("mended")?;

    sealed_after_a_refusal(&mut world, &look, &all)
        .await
        .context("sealed after a refusal")?;
    too_old(&mut world).await.context("a version too old")?;
    key_gone(&mut world, &all)
        .await
        .context("the key is gone")?;
    plugin_gone(&mut world, &look, &with_socket)
        .await
        .context("the plugin is gone")?;
    world.server.stop(LIMIT).await?;
    let said = say(&look).await?;
    ensure!(
        said.code == Some(3) && said.err.contains("reach the cluster"),
        "{:?} {}",
        said.code,
        said.err
    );
    Ok(())
}

/// A value with a flipped bit, and one of a provider that nobody has, each put past the server.
async fn damaged_data(world: &World, canary: &Target) -> Result<()> {
    let value = world
        .server
        .stored(canary)
        .await?
        .context("it was written")?;
    let mut damaged = value.bytes.clone();
    *damaged.last_mut().context("a value has bytes")? ^= 1;
    let foreign = [b"k8s:enc:kms:v2:9_secrets:".as_slice(), b"x"].concat();
    for (bytes, id) in [(damaged, "OCP-FAULT-22"), (foreign, "OCP-FAULT-25")] {
        world.server.store(canary, Some(bytes)).await?;
        shows(&world.doctor(), &[id]).await?;
    }
    world.server.store(canary, Some(value.bytes)).await?;
    shows(&world.doctor(), &[]).await.map(drop)
}

/// Plugins that were told the wrong thing, beside the one that the server uses.
async fn wrong_flags(world: &World) -> Result<()> {
    let (key, mount) = ("kms-kye".to_owned(), "transitt".to_owned());
    let nobody = "http://127.0.0.1:9".to_owned();
    let plugins = [
        (
            "key",
            world
                .started_with("key", |it| drop(it.insert("key", key)))
                .await?,
            "OCP-FAULT-08",
        ),
        (
            "mount",
            world
                .started_with("mount", |it| drop(it.insert("mount", mount)))
                .await?,
            "OCP-FAULT-08",
        ),
        (
            "address",
            world
                .started_with("address", |it| drop(it.insert("vault", nobody)))
                .await?,
            "OCP-FAULT-19",
        ),
    ];
    for (name, plugin, id) in &plugins {
        shows(&world.with_socket(plugin.socket()), &[id])
            .await
            .with_context(|| format!("another {name}"))?;
    }
    Ok(())
}

/// What Vault refused before it was sealed is not what has to be done now, and shows again when it is unsealed.
async fn sealed_after_a_refusal(world: &mut World, look: &[String], all: &[String]) -> Result<()> {
    for (step, ids) in [
        (Fault::SoftDeleted, Fault::SoftDeleted.ids()),
        (Fault::Sealed, Fault::Sealed.ids()),
    ] {
        world.scene.make(step).await?;
        world.look_again()?;
        shows(look, ids)
            .await
            .with_context(|| format!("{step:?}, by the kubeconfig alone"))?;
        shows(all, ids).await.with_context(|| format!("{step:?}"))?;
    }
    world.scene.mend(Fault::Sealed).await?;
    shows(look, Fault::SoftDeleted.ids())
        .await
        .context("unsealed")?;
    world.scene.mend(Fault::SoftDeleted).await?;
    shows(all, &[]).await.map(drop)
}

/// Data under a version that Vault opens no more. An API server that runs has it in memory; one that starts has not.
async fn too_old(world: &mut World) -> Result<()> {
    let admin = world.scene.vault.admin();
    world.scene.access.rotate(&admin).await?;
    let config = format!(
        "{}/keys/{}/config",
        world.scene.access.mount, world.scene.access.key
    );
    admin
        .write(&config, json!({"min_decryption_version": 2}))
        .await?;
    world.server.crash_and_start().await?;
    let plugin = world.plugin.as_ref().context("it runs")?;
    let mut look = world.with_socket(plugin.socket());
    shows(&look, &["OCP-FAULT-11"])
        .await
        .context("lists tell it")?;
    look.extend([
        "--plugin-log".to_owned(),
        plugin.log().display().to_string(),
    ]);
    shows(&look, &["OCP-FAULT-11"])
        .await
        .context("so does the log")?;
    admin
        .write(&config, json!({"min_decryption_version": 1}))
        .await?;
    shows(&world.doctor(), &[]).await.map(drop)
}

/// Deleted; then another one of its name is there.
async fn key_gone(world: &mut World, all: &[String]) -> Result<()> {
    world.scene.make(Fault::KeyDeleted).await?;
    world.look_again()?;
    shows(all, Fault::KeyDeleted.ids()).await?;
    shows(&world.doctor(), Fault::KeyDeleted.ids()).await?;
    let admin = world.scene.vault.admin();
    let key = format!(
        "{}/keys/{}",
        world.scene.access.mount, world.scene.access.key
    );
    admin.write(&key, json!({})).await?;
    world.look_again()?;
    shows(all, &["OCP-FAULT-28"]).await?;
    shows(&world.doctor(), &["OCP-FAULT-28"]).await.map(drop)
}

/// Killed, its socket's file stays; then that goes, too.
async fn plugin_gone(world: &mut World, look: &[String], with_socket: &[String]) -> Result<()> {
    let plugin = world.plugin.take().context("it runs")?;
    let socket = plugin.socket().to_owned();
    drop(plugin);
    ensure!(Kms::connect(&socket).await.is_err(), "it still answers");
    ensure!(
        socket.exists(),
        "a plugin that is killed takes its socket along"
    );
    shows(with_socket, &["OCP-FAULT-05"]).await?;
    shows(look, &["OCP-FAULT-05"]).await?;
    std::fs::remove_file(&socket)?;
    shows(with_socket, &["OCP-FAULT-04"]).await?;
    shows(look, &["OCP-FAULT-04"]).await.map(drop)
}
