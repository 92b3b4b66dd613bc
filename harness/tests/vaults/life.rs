//! A plugin's ordinary life: round trips, a rotation, a restart, and the loss of its token.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kms_harness::subject::own::Vocabulary;
use serde_json::json;

use super::world::World;
use crate::common::kms::Kms;

/// A rotation shows within one probe and its round trip (KMS2-ROT-01).
const ROTATION_SHOWS: Duration = Duration::from_secs(25);

pub async fn whole_life(mut world: World) -> Result<()> {
    let kms = world.kms().await?;
    let first = kms.round_trip(&[7; 32]).await.context("at start")?;
    binds_its_key_id(&kms).await?;
    many_at_once(&kms).await?;

    let old_id = first.answer.key_id.clone();
    world.access.rotate(&world.vault.admin()).await?;
    kms.wait_status("a new key_id", ROTATION_SHOWS, |seen| {
        seen.as_ref()
            .is_ok_and(|status| status.healthz == "ok" && status.key_id != old_id)
    })
    .await?;
    let second = kms
        .round_trip(&[8; 32])
        .await
        .context("after the rotation")?;
    ensure!(
        second.answer.key_id != old_id,
        "Encrypt still uses the old key_id after Status showed a new one"
    );
    kms.opens(&first)
        .await
        .context("old data after the rotation")?;

    world.plugin.restart().await.context("restart")?;
    let kms = world.kms().await?;
    kms.opens(&first)
        .await
        .context("data of before the rotation, after a restart")?;
    kms.opens(&second)
        .await
        .context("data of after the rotation, after a restart")?;
    world
        .plugin
        .crash_and_start()
        .await
        .context("start after kill -9")?;
    let kms = world.kms().await?;
    kms.opens(&second).await.context("after kill -9")?;

    lose_tokens(&world).await?;
    kms.opens(&first)
        .await
        .context("the first call after its token was revoked")?;
    kms.round_trip(&[9; 32])
        .await
        .context("after its token was revoked")?;
    keeps_secrets(&world)
}

/// Another key_id or other annotations never decrypt (KMS2-DEC-05).
async fn binds_its_key_id(kms: &Kms) -> Result<()> {
    let good = kms.encrypt(&[1; 32]).await?;
    let mut other_id = good.clone();
    other_id.answer.key_id = format!("v1.{}", "A".repeat(43));
    ensure!(
        kms.decrypt(&other_id).await.is_err(),
        "a foreign key_id decrypts"
    );
    let mut other_text = good;
    let mut bytes = other_text.answer.ciphertext.to_vec();
    let last = bytes.len() - 5;
    bytes[last] ^= 1;
    other_text.answer.ciphertext = bytes.into();
    ensure!(
        kms.decrypt(&other_text).await.is_err(),
        "a damaged ciphertext decrypts"
    );
    Ok(())
}

/// A cold start's worth of distinct Decrypts at once: all of them succeed.
async fn many_at_once(kms: &Kms) -> Result<()> {
    let mut sealed = Vec::new();
    for number in 0..100_u8 {
        sealed.push(kms.encrypt(&[number; 32]).await?);
    }
    let mut calls = tokio::task::JoinSet::new();
    for one in sealed {
        let kms = kms.clone();
        calls.spawn(async move { kms.opens(&one).await });
    }
    calls
        .join_all()
        .await
        .into_iter()
        .collect::<Result<Vec<()>>>()
        .context("100 Decrypts at once")?;
    Ok(())
}

/// Revokes every token the plugin has. A static one is replaced in its file first, as a Secret's
/// rotation does.
async fn lose_tokens(world: &World) -> Result<()> {
    let admin = world.vault.admin();
    let logins = match world.vocabulary {
        Vocabulary::StaticPod => &world.access.userpass_mount,
        Vocabulary::Sidecar => &world.access.approle_mount,
        Vocabulary::StaticToken => {
            let fresh = world.access.new_token(&admin).await?;
            let file = world.folder.path().join("token.new");
            kms_harness::secret_file::write(&file, &fresh)?;
            std::fs::rename(&file, &world.access.token_file)?;
            admin
                .write("auth/token/revoke", json!({"token": *world.access.token}))
                .await?;
            return Ok(());
        }
    };
    let accessors = admin.read("auth/token/accessors?list=true").await?.ok()?;
    let accessors = accessors["data"]["keys"].as_array();
    let mut revoked = 0;
    for accessor in accessors.context("no list of accessors")? {
        let accessor = json!({"accessor": accessor});
        let token = admin
            .write("auth/token/lookup-accessor", accessor.clone())
            .await?;
        let path = token["data"]["path"].as_str().unwrap_or_default();
        if path.starts_with(&format!("auth/{logins}/login")) {
            admin.write("auth/token/revoke-accessor", accessor).await?;
            revoked += 1;
        }
    }
    ensure!(revoked > 0, "the plugin has no token by a login");
    Ok(())
}

/// KMS2-SEC-01, for the log of all its starts.
fn keeps_secrets(world: &World) -> Result<()> {
    let log = std::fs::read_to_string(world.plugin.log())?;
    ensure!(!log.is_empty(), "the plugin logged nothing");
    for secret in world.access.secrets() {
        ensure!(!log.contains(secret), "the plugin's log holds a credential");
    }
    Ok(())
}
