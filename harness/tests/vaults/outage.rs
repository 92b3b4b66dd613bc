//! Outages of the server that the plugin must tell truthfully and outlive without a restart.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kms_harness::subject::own::Vocabulary;
use tokio::time::Instant;

use super::kind::Setup;
use super::world::{Parts, World};
use crate::common::kms::{Kms, Sealed};

/// An idle plugin notices an outage with its next probe and the one after.
const OUTAGE_SHOWS: Duration = Duration::from_secs(30);
/// From the heal to a good Status (KMS2-AVAIL-01).
const HEALS: Duration = Duration::from_secs(20);
/// A three-node cluster's election, and then the plugin's own recovery.
const FAILS_OVER: Duration = Duration::from_secs(40);

pub async fn sealed_and_unsealed(parts: Parts) -> Result<()> {
    let mut world = World::start(&parts, Setup::Raft(1), Vocabulary::StaticPod, true).await?;
    let before = lives_through(&mut world, Outage::Sealed).await?;
    let kms = world.kms().await?;
    kms.round_trip(&[2; 32]).await.context("after unsealing")?;
    kms.opens(&before).await.context("old data after unsealing")
}

pub async fn server_restarted(parts: Parts) -> Result<()> {
    let mut world = World::start(&parts, Setup::Raft(1), Vocabulary::Sidecar, false).await?;
    lives_through(&mut world, Outage::Stopped).await.map(drop)
}

/// Connections stay open and nobody answers: a paused container, a suspended machine.
pub async fn server_frozen(parts: Parts) -> Result<()> {
    let mut world = World::start(&parts, Setup::Raft(1), Vocabulary::StaticToken, true).await?;
    lives_through(&mut world, Outage::Frozen).await.map(drop)
}

#[derive(Clone, Copy, Debug)]
enum Outage {
    Sealed,
    Stopped,
    Frozen,
}

/// What every outage has in common; the data of before it, which opens after it.
async fn lives_through(world: &mut World, outage: Outage) -> Result<Sealed> {
    let kms = world.kms().await?;
    let before = kms.round_trip(&[1; 32]).await?;
    match outage {
        Outage::Sealed => world.vault.seal().await?,
        Outage::Stopped => world.vault.stop().await?,
        Outage::Frozen => world.vault.freeze().await?,
    }
    refuses_in_time(&kms).await?;
    shows(&kms).await?;
    match outage {
        Outage::Sealed => world.vault.unseal().await?,
        Outage::Stopped => world.vault.start().await?,
        Outage::Frozen => world.vault.thaw().await?,
    }
    kms.wait_good(HEALS)
        .await
        .with_context(|| format!("after the end of {outage:?}"))?;
    kms.opens(&before)
        .await
        .with_context(|| format!("old data after the end of {outage:?}"))?;
    Ok(before)
}

pub async fn one_of_three_nodes_lost(parts: Parts) -> Result<()> {
    let mut world = World::start(&parts, Setup::Raft(3), Vocabulary::Sidecar, true).await?;
    let kms = world.kms().await?;
    let before = kms.round_trip(&[1; 32]).await?;
    world.vault.lose_leader().await?;
    let lost = Instant::now();
    while let Err(error) = kms.opens(&before).await {
        ensure!(
            lost.elapsed() < FAILS_OVER,
            "still no Decrypt {} s after the leader was lost: {error:#}",
            FAILS_OVER.as_secs()
        );
    }
    kms.wait_good(HEALS).await.context("after the election")?;
    kms.round_trip(&[2; 32])
        .await
        .context("on two of three nodes")?;
    world
        .plugin
        .restart()
        .await
        .context("restart on two of three nodes")?;
    world
        .kms()
        .await?
        .opens(&before)
        .await
        .context("old data on two of three nodes")
}

/// Calls fail inside their deadline, whatever the server does (KMS2-AVAIL-03).
async fn refuses_in_time(kms: &Kms) -> Result<()> {
    let start = Instant::now();
    ensure!(
        kms.encrypt(&[3; 32]).await.is_err(),
        "Encrypt works without a server"
    );
    ensure!(
        start.elapsed() < Duration::from_millis(3200),
        "Encrypt took {:?} of 3 s",
        start.elapsed()
    );
    Ok(())
}

/// Status stops being good (KMS2-AVAIL-10), and never with a sick `healthz` beside a key_id
/// (KMS2-STATUS-13).
async fn shows(kms: &Kms) -> Result<()> {
    kms.wait_status("an outage in Status", OUTAGE_SHOWS, |seen| {
        seen.as_ref().map_or(true, |status| status.healthz != "ok")
    })
    .await?;
    ensure!(
        kms.status().await.is_err(),
        "Status answers during an outage, with a healthz other than ok"
    );
    Ok(())
}
