//! Pages whose blocks are run as they stand.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kms_harness::subject::own;
use tokio::process::Command;
use tokio::time::timeout;

/// Limit for one block.
const BLOCK: Duration = Duration::from_secs(300);

/// `plugin/deploy`.
pub fn folder() -> Result<PathBuf> {
    let workspace = own::workspace().context("the checkout is gone")?;
    Ok(workspace.join("plugin/deploy"))
}

/// The shell blocks below a heading of a page, in order; none is an error.
pub fn blocks(page: &str, heading: &str) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(folder()?.join(page))?;
    let title = format!("## {heading}\n");
    let (_, rest) = text
        .split_once(&title)
        .with_context(|| format!("{page} has no {title}"))?;
    let section = rest.split("\n## ").next().unwrap_or(rest);
    let blocks: Vec<String> = section
        .split("```sh\n")
        .skip(1)
        .filter_map(|block| block.split_once("```").map(|(code, _)| code.to_owned()))
        .collect();
    ensure!(!blocks.is_empty(), "{page}, {heading}: no block to run");
    Ok(blocks)
}

/// Runs a block in a folder; each of its commands has to work. What it printed.
pub async fn run(block: &str, folder: &Path, variables: &[(&str, String)]) -> Result<String> {
    let ended = Command::new("bash")
        .args(["-euo", "pipefail", "-c", block])
        .current_dir(folder)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(BLOCK, ended)
        .await
        .with_context(|| format!("{block}\nhas not ended after {} s", BLOCK.as_secs()))??;
    ensure!(
        output.status.success(),
        "{block}\nended with {}:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
