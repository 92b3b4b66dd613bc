//! Each way in which a run could hurt what is not its own, tried and stopped.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use kms_apiserver_api::{ApiServer, Call, Method};
use kms_proxy::{Accept, Rules, TcpProxy};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::world::{Cluster, Parts, Said, ended, signal, until};

/// The plugin's policy is without rights for far longer than a test takes.
const LONG: &str = r#"
title = "The policy is gone."
proves = ["KMS2-RT-01"]
arms = ["cluster"]

[phases]
settle = "5s"
baseline = "2s"
fault = "10m"
heal = "1s"
liveness = "30s"

[[fault]]
id = "policy"
kind = "vault-policy-removed"
at = "1s"

[[expect]]
sometimes = "writes-ok"
"#;

/// Faults that nothing undoes.
const LOST: &str = r#"
title = "The key is deleted."
proves = ["KMS2-RT-01"]
arms = ["cluster"]

[phases]
settle = "5s"
baseline = "2s"
fault = "5s"
heal = "1s"
liveness = "5s"

[[fault]]
id = "delete"
kind = "vault-delete-key"
at = "1s"

[[expect]]
sometimes = "writes-ok"
"#;

/// Another context, no context, a key without the mark, a key that is not there, a fault that cannot be undone, and a dry
/// run: nothing is made in the cluster or in Vault, and each says what to do.
pub async fn nothing_starts_where_it_should_not(parts: Parts) -> Result<()> {
    let cluster = Cluster::start(&parts).await?;
    let policy = cluster.policy().await?;
    let long = cluster.scenario("long", LONG)?;
    let lost = cluster.scenario("lost", LOST)?;
    let key = "--staging-vault-key=kms-key";

    let said = Said::of(cluster.chaos(&["--staging=production", key, &long])).await?;
    said.ended(2)?
        .tells(&["production", "\"staging\"", "nothing was done"])?;
    let said = Said::of(cluster.chaos(&[key, &long])).await?;
    said.ended(2)?.tells(&["--staging staging"])?;

    let other = ["--staging=staging", "--staging-vault-key=other", &long];
    let said = Said::of(cluster.chaos(&other)).await?;
    said.ended(2)?.tells(&["there is no key other"])?;
    cluster
        .admin()
        .write("transit/keys/other", Value::Null)
        .await?;
    let said = Said::of(cluster.chaos(&other)).await?;
    said.ended(2)?.tells(&[
        "not marked",
        "vault write -f transit/keys/other-kms-harness-staging",
    ])?;
    let said = Said::of(cluster.chaos(&["--staging=staging", &long])).await?;
    said.ended(2)?.tells(&["--staging-vault-key"])?;

    // Nothing could run: that is no pass, and the key is there.
    let said = Said::of(cluster.chaos(&cluster.staged(&[&lost]))).await?;
    said.ended(3)?
        .tells(&["not_applicable", "--allow-irreversible"])?;
    let there = cluster.admin().read("transit/keys/kms-key").await?;
    ensure!(there.status == 200, "the key is gone");

    let dry = cluster.staged(&["--dry-run", &long, &lost]);
    let said = Said::of(cluster.chaos(&dry)).await?.ended(0)?;
    said.tells(&[
        "vault-policy-removed",
        "until heal",
        "not applicable",
        "transit/keys/kms-key",
    ])?;

    // The mark is looked for once more before each fault: taken away meanwhile, nothing is done.
    let short = cluster.scenario("short", &LONG.replace("10m", "5s"))?;
    let run = cluster.chaos(&cluster.staged(&[&short])).spawn()?;
    until("a run's lease", async || {
        Ok(!cluster.objects().await?.is_empty())
    })
    .await?;
    let mark = "transit/keys/kms-key-kms-harness-staging";
    let config = serde_json::json!({"deletion_allowed": true});
    cluster
        .admin()
        .write(&format!("{mark}/config"), config)
        .await?;
    cluster.admin().delete(mark).await?;
    let said = Said::output(&run.wait_with_output().await?)?.ended(3)?;
    said.tells(&["\"refused\"", "not marked"])?;
    cluster.is_as_before(&policy).await
}

/// While one runs no other begins. Killed outright in the middle of a fault, it leaves what undoes it: no other run begins
/// before that was done.
pub async fn a_second_run_and_a_killed_one(parts: Parts) -> Result<()> {
    let cluster = Cluster::start(&parts).await?;
    let policy = cluster.policy().await?;
    let long = cluster.scenario("long", LONG)?;
    let words = cluster.staged(&[&long]);
    let first = cluster.chaos(&words).spawn()?;
    until("the fault", async || Ok(cluster.policy().await? != policy)).await?;
    let files = cluster.undo_files()?;
    let kept = files
        .iter()
        .any(|text| text.contains("\"policy\"") && text.contains("decrypt"));
    ensure!(kept, "the fault is there, and no file undoes it: {files:?}");

    // Elsewhere, so without that file: the lease alone keeps it away.
    let elsewhere = cluster.path("elsewhere").display().to_string();
    let mut second = words.clone();
    let option = format!("--undo={elsewhere}");
    second.push(&option);
    let mut command = cluster.chaos(&[]);
    replace_undo(&mut command, &cluster, &second);
    let said = Said::of(command).await?.ended(3)?;
    said.tells(&["another run works on this cluster"])?;
    ensure!(
        cluster.policy().await? != policy,
        "the second run healed the first"
    );
    // Nor may cleaning up take the objects of one that runs.
    let mut command = cluster.chaos(&[]);
    replace_undo(
        &mut command,
        &cluster,
        &["--staging=staging", "--cleanup", &option],
    );
    Said::of(command).await?.ended(3)?.tells(&["another run"])?;

    signal(&first, Signal::SIGKILL)?;
    first.wait_with_output().await?;
    ensure!(
        cluster.policy().await? != policy,
        "a killed run heals nothing"
    );
    ensure!(!cluster.objects().await?.is_empty());
    let said = Said::of(cluster.chaos(&words)).await?.ended(3)?;
    said.tells(&["--cleanup", "vault-policy-removed"])?;

    let said = Said::of(cluster.chaos(&["--staging=staging", "--cleanup"])).await?;
    said.ended(0)?.tells(&["2 undone"])?;
    cluster.is_as_before(&policy).await?;
    // And once more, when there is nothing to do.
    let said = Said::of(cluster.chaos(&["--staging=staging", "--cleanup"])).await?;
    said.ended(0)?.tells(&["0 undone"])
}

/// The same command with another folder of undo files.
fn replace_undo(command: &mut tokio::process::Command, cluster: &Cluster, more: &[&str]) {
    let old = format!("--undo={}", cluster.undo().display());
    let args: Vec<_> = command.as_std().get_args().map(ToOwned::to_owned).collect();
    let env: Vec<_> = command
        .as_std()
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect();
    let mut again = tokio::process::Command::new(env!("CARGO_BIN_EXE_kms-harness"));
    again
        .args(args.into_iter().filter(|arg| **arg != *old))
        .args(more)
        .envs(env)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true);
    *command = again;
}

/// The way to the API server is lost in the middle of a fault: Vault is healed, what is left in the cluster is told, and
/// cleaned up later.
pub async fn a_lost_connection_heals_and_is_told(parts: Parts) -> Result<()> {
    let cluster = Cluster::start(&parts).await?;
    let policy = cluster.policy().await?;
    let long = cluster.scenario("long", LONG)?;
    let text = std::fs::read_to_string(cluster.path("staging.kubeconfig"))?;
    let config: Value = serde_json::from_str(&text)?;
    let address = config["clusters"][0]["cluster"]["server"].as_str();
    let address = address.and_then(|url| url.strip_prefix("https://"));
    let far: SocketAddr = address.context("no address")?.parse()?;
    let way = TcpProxy::start(far, 1).await?;
    let through = text.replace(&far.to_string(), &way.address().to_string());
    std::fs::write(cluster.path("staging.kubeconfig"), through)?;

    let run = cluster.chaos(&cluster.staged(&[&long])).spawn()?;
    until("the fault", async || Ok(cluster.policy().await? != policy)).await?;
    way.set(Rules {
        accept: Accept::Refuse,
        ..Rules::default()
    });
    way.reset();
    until("Vault is healed", async || {
        Ok(cluster.policy().await? == policy)
    })
    .await?;
    let said = Said::output(&run.wait_with_output().await?)?.ended(3)?;
    said.tells(&["stopped and healed", "left to --cleanup"])?;
    ensure!(!cluster.objects().await?.is_empty(), "who took them away?");
    way.set(Rules::default());
    let said = Said::of(cluster.chaos(&["--staging=staging", "--cleanup"])).await?;
    said.ended(0)?.tells(&["1 undone"])?;
    cluster.is_as_before(&policy).await
}

/// Something outside of the run's namespace suffers, or a signal comes: everything is healed at once and taken away.
pub async fn the_guard_and_a_signal_stop_and_heal(parts: Parts) -> Result<()> {
    let cluster = Cluster::start(&parts).await?;
    let policy = cluster.policy().await?;
    let long = cluster.scenario("long", LONG)?;
    let words = cluster.staged(&[&long, "--seeds=2"]);
    let run = cluster.chaos(&words).spawn()?;
    until("the fault", async || Ok(cluster.policy().await? != policy)).await?;
    let canary = "/api/v1/namespaces/kms-harness-beside/secrets/kms-harness-canary";
    let gone = cluster
        .server
        .call(Call::new(Method::Delete, canary))
        .await?;
    ensure!(gone.ok(), "{gone:?}");
    let said = ended(run).await?.ended(3)?;
    said.tells(&["suffers", "kms-harness-canary", "not begun"])?;
    cluster.is_as_before(&policy).await?;

    let run = cluster.chaos(&words).spawn()?;
    until("the fault", async || Ok(cluster.policy().await? != policy)).await?;
    signal(&run, Signal::SIGTERM)?;
    ended(run).await?.ended(130)?;
    cluster.is_as_before(&policy).await?;
    a_guard_that_sees_no_errors_stops(&cluster, &long).await
}

/// A guard that cannot see the errors of others knows nothing, and that is no reason to go on: without the right to the
/// metrics, everything else is as it was.
async fn a_guard_that_sees_no_errors_stops(cluster: &Cluster, long: &str) -> Result<()> {
    let policy = cluster.policy().await?;
    let run = cluster.chaos(&cluster.staged(&[long])).spawn()?;
    until("the fault", async || Ok(cluster.policy().await? != policy)).await?;
    let binding = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/kms-harness";
    let gone = cluster
        .server
        .call(Call::new(Method::Delete, binding))
        .await?;
    ensure!(gone.ok(), "{gone:?}");
    let said = ended(run).await?.ended(3)?;
    said.tells(&["suffers", "the errors that others get", "/metrics"])?;
    cluster.is_as_before(&policy).await
}
