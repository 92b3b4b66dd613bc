//! Each fault in Vault that lasts, made on a real server, seen there, and undone.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::world::{Cluster, Parts, Said, until};

const SCENARIO: &str = r#"
title = "One after another."
proves = ["KMS2-RT-01"]
arms = ["cluster"]

[phases]
settle = "5s"
baseline = "2s"
fault = "110s"
heal = "1s"
liveness = "20s"

[[fault]]
id = "rotate"
kind = "vault-rotate"
at = "1s"
times = 2

[[fault]]
id = "decryption-floor"
kind = "vault-min-decryption-version"
at = "3s"
for = "17s"

[[fault]]
id = "encryption-floor"
kind = "vault-min-encryption-version"
version = 2
at = "22s"
for = "17s"

[[fault]]
id = "login"
kind = "login-refused"
at = "41s"
for = "17s"

[[fault]]
id = "auth"
kind = "vault-disable-auth"
at = "60s"
for = "17s"

[[fault]]
id = "seal"
kind = "vault-seal"
at = "85s"
for = "17s"

[[expect]]
sometimes = "writes-ok"
"#;

/// Floors, the role's id, the mount and the seal: each is seen in Vault while it is there, and is as before afterwards.
pub async fn each_in_vault_is_made_and_undone(parts: Parts) -> Result<()> {
    let cluster = Cluster::start(&parts).await?;
    let policy = cluster.policy().await?;
    let log = std::fs::read_to_string(cluster.vault.log_of(0))?;
    let key = log
        .lines()
        .find_map(|line| line.trim().strip_prefix("Unseal Key: "))
        .context("the server printed no unseal key")?;
    let file = cluster.path("unseal-key");
    std::fs::write(&file, key)?;
    let unseal = format!("--staging-vault-unseal-key-path={}", file.display());
    let scenario = cluster.scenario("each", SCENARIO)?;
    let relayed = cluster.relayed();
    let words = cluster.staged(&[
        "--allow-irreversible",
        "--staging-vault-role=auth/approle/role/kms-plugin",
        &unseal,
        &relayed[0],
        &relayed[1],
        &scenario,
    ]);
    let admin = cluster.admin();
    let of = async |path: &str, pointer: &str| -> Result<Value> {
        let answer = admin.read(path).await?;
        Ok(answer.body.pointer(pointer).cloned().unwrap_or_default())
    };
    let (transit, role) = (
        "transit/keys/kms-key",
        "auth/approle/role/kms-plugin/role-id",
    );
    let id = of(role, "/data/role_id").await?;
    ensure!(id == cluster.access.role_id.as_str(), "{id}");

    let run = cluster.chaos(&words).spawn()?;
    until("the floor of decryption", async || {
        Ok(of(transit, "/data/min_decryption_version").await? == 3)
    })
    .await?;
    until("the floor of encryption", async || {
        Ok(of(transit, "/data/min_encryption_version").await? == 2)
    })
    .await?;
    ensure!(of(transit, "/data/min_decryption_version").await? == 1);
    until("another role id", async || {
        Ok(of(role, "/data/role_id").await? != id)
    })
    .await?;
    until("the mount is away", async || {
        let away = admin.read("sys/auth/approle-kms-harness-away").await?;
        Ok(away.status == 200)
    })
    .await?;
    until("the seal", async || {
        Ok(of("sys/seal-status", "/sealed").await? == true)
    })
    .await?;
    let said = Said::output(&run.wait_with_output().await?)?;
    ensure!(matches!(said.code, Some(0 | 3)), "{said:?}");
    ensure!(!said.out.contains("\"refused\""), "{}", said.out);
    ensure!(!said.out.contains("\"reason\""), "{}", said.out);

    ensure!(of("sys/seal-status", "/sealed").await? == false);
    ensure!(of(role, "/data/role_id").await? == id);
    ensure!(of(transit, "/data/min_decryption_version").await? == 1);
    ensure!(of(transit, "/data/min_encryption_version").await? == 0);
    cluster.is_as_before(&policy).await
}
