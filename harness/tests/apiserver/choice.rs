//! What `--apiserver` can mean, each behind the same trait.

use anyhow::{Context, Result, bail, ensure};
use kms_apiserver_api::{ApiServer, ListOptions, Resource, Target, Watching};
use kms_harness::apiserver::choice::Choice;
use kms_harness::apiserver::cluster::Cluster;
use kms_harness::apiserver::ready::ready;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::world::{self, Keeper, Kind, PROVIDER, Parts, READY, World};

/// `sim`, `real` and a path give servers of which all can be asked: encrypted values, a restart, the same data after it.
pub async fn each_choice_serves(parts: Parts) -> Result<()> {
    let path = parts.server.kube_apiserver.display().to_string();
    for word in ["sim", "real", &path] {
        let folder = tempfile::Builder::new().prefix("kms-").tempdir()?;
        let vault = world::sim(1).await?;
        let keeper = Keeper::start(&parts, vault, folder.path()).await?;
        let encryption = world::encryption(keeper.plugin.socket());
        let started = Choice::read(word)?
            .start(&encryption, folder.path())
            .await?;
        asked(started.server())
            .await
            .with_context(|| format!("--apiserver {word}"))?;
    }
    Ok(())
}

async fn asked(server: &dyn ApiServer) -> Result<()> {
    let target = Target::secret("default", "one");
    let made = server
        .create(&target, json!({"data": {"key": "dmFsdWU="}}))
        .await?;
    ensure!(made.code == 201, "{made:?}");
    let stored = server.stored(&target).await?.context("nothing is stored")?;
    let prefix = format!("k8s:enc:kms:v2:{PROVIDER}:");
    ensure!(stored.prefix() == prefix.as_bytes(), "{stored:?}");
    server.restart().await?;
    ready(server, READY).await.context("after its restart")?;
    let read = server.get(&target).await?;
    ensure!(read.field("/data/key") == "dmFsdWU=", "{read:?}");
    Ok(())
}

/// Objects, health, metrics and a watch go through; what needs the machine is refused in words.
pub async fn a_kubeconfig_reaches_a_cluster(parts: Parts) -> Result<()> {
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

/// `run --apiserver PATH`: Secrets through a real server outlive rotation, rewriting and restarts, and the report says so.
pub async fn a_run_puts_a_real_one_in_front(parts: Parts) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let output = Command::new(env!("CARGO_BIN_EXE_kms-harness"))
        .args(["run", "--format", "json", "--scenarios", "none", "--plugin"])
        .arg(&*parts.plugin)
        .arg("--apiserver")
        .arg(&parts.server.kube_apiserver)
        .arg("--out")
        .arg(folder.path().join("out"))
        .kill_on_drop(true)
        .output()
        .await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", output.status);
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let rows = report["requirements"].as_array().context("no rows")?;
    let mut judged = 0;
    for row in rows {
        let checks = row["checks"].as_array().context("no checks")?;
        for check in checks {
            if check["checkId"] == "through-an-apiserver" {
                ensure!(check["status"] == "pass", "{}: {check}", row["id"]);
                judged += 1;
            }
        }
    }
    ensure!(judged == 4, "{judged} results");
    Ok(())
}
