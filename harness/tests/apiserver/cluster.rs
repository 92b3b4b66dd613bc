//! A server that is reached by kubeconfig alone, as `--apiserver KUBECONFIG` does.

use anyhow::{Context, Result, bail, ensure};
use kms_apiserver_api::{ApiServer, ListOptions, Resource, Target, Watching};
use kms_harness::apiserver::choice::Choice;
use kms_harness::apiserver::cluster::Cluster;
use serde_json::json;

use crate::world::{Kind, Parts, World};

/// Objects, health, metrics and a watch go through; what needs the machine is refused in words.
pub async fn a_kubeconfig_reaches_it(parts: Parts) -> Result<()> {
    let world = World::on_sim(Kind::Real, &parts).await?;
    let path = world.server.files().kubeconfig.display().to_string();
    let Choice::Cluster(kubeconfig) = Choice::read(&path)? else {
        bail!("{path} is no cluster");
    };
    let cluster: Box<dyn ApiServer> = Box::new(Cluster::connect(*kubeconfig).await?);
    let target = Target::secret("default", "one");
    let options = ListOptions {
        namespace: Some("default".into()),
        ..ListOptions::default()
    };
    let Watching::Open(mut events) = cluster.watch(Resource::Secrets, options).await? else {
        bail!("the watch was refused");
    };
    let made = cluster
        .create(&target, json!({"stringData": {"key": "value"}}))
        .await?;
    ensure!(made.code == 201, "{made:?}");
    let event = events.next().await?.context("the watch was closed")?;
    ensure!(event.kind == "ADDED" && event.name() == "one", "{event:?}");
    let again = cluster.create(&target, json!({})).await?;
    ensure!(
        again.code == 409 && again.reason() == "AlreadyExists",
        "{again:?}"
    );
    ensure!(cluster.health("/readyz").await?.text() == "ok");
    ensure!(
        cluster
            .metrics()
            .await?
            .contains("apiserver_envelope_encryption_")
    );
    let beyond = [
        cluster.restart().await.err(),
        cluster.write_config("").await.err(),
        cluster.stored(&target).await.err(),
        cluster.store(&target, None).await.err(),
    ];
    for refusal in beyond {
        let refusal = refusal.context("a kubeconfig gave access to the machine")?;
        ensure!(refusal.to_string().contains("kubeconfig"), "{refusal}");
    }
    Ok(())
}
