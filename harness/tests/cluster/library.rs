//! Scenarios of the library on a real cluster: each passes, as in the other arms. One cluster serves several in a row.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::world::{Cluster, Parts, Said};

/// What runs on one cluster, one after another.
pub const GROUPS: [(&str, &[&str]); 7] = [
    (
        "quota_and_half_closed",
        &["transit/quota", "network/half-closed"],
    ),
    (
        "noticed_and_revoked",
        &[
            "rotation/noticed-within-a-poll",
            "auth/token-revoked-under-load",
        ],
    ),
    (
        "ten_rotations_and_a_long_way",
        &["rotation/ten-at-once", "network/long-way"],
    ),
    (
        "many_rotations_and_resets",
        &[
            "rotation/again-and-again-under-writes",
            "network/connections-reset",
        ],
    ),
    (
        "right_to_read_lost",
        &["transit/right-to-read-the-key-lost"],
    ),
    ("soft_deleted", &["transit/key-soft-deleted"]),
    ("rights_lost", &["auth/identity-without-rights"]),
];

/// Each of them passes, and nothing is left.
pub async fn pass(parts: Parts, ids: &[&str]) -> Result<()> {
    let cluster = Cluster::start(&parts).await?;
    let policy = cluster.policy().await?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let files: Vec<String> = ids
        .iter()
        .map(|id| folder.join(format!("{id}.toml")).display().to_string())
        .collect();
    let relayed = cluster.relayed();
    let out = format!("--out={}", cluster.path("out").display());
    let mut words = cluster.staged(&[&relayed[0], &relayed[1], &out]);
    words.push("--staging-vault-role=auth/approle/role/kms-plugin");
    words.extend(files.iter().map(String::as_str));
    let said = Said::of(cluster.chaos(&words)).await?;
    let result: Value = serde_json::from_str(&said.out)
        .with_context(|| format!("{:?}: {}", said.code, said.err))?;
    let rows = result["scenarios"].as_array().context("no scenarios")?;
    ensure!(rows.len() == ids.len(), "{result}");
    for row in rows {
        ensure!(
            row["verdict"] == "pass" && row["arm"] == "cluster",
            "{}: {}\n{}\n{}",
            row["id"],
            row["verdict"],
            serde_json::to_string_pretty(row)?,
            said.err
        );
    }
    said.ended(0)?;
    // What was recorded can be judged again.
    let mut again = tokio::process::Command::new(env!("CARGO_BIN_EXE_kms-harness"));
    again.arg("judge").arg(cluster.path("out"));
    Said::of(again).await?.ended(0)?;
    cluster.is_as_before(&policy).await
}
