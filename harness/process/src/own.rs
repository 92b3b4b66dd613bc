//! Our own plugin, built alone.
//!
//! The subject is the product: what is judged or measured comes out of `cargo build --release
//! --locked -p vault-kubernetes-kms`, so that no feature which a workspace build unifies into
//! shared dependencies, and no test utility, is ever in it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::process::Command;

/// Package and binary name.
pub const PACKAGE: &str = "vault-kubernetes-kms";

/// The checkout that this harness was built from if it is still there, else the one around the
/// current folder.
pub fn workspace() -> Option<PathBuf> {
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)?
        .to_owned();
    let here = std::env::current_dir().ok();
    let around = here
        .iter()
        .flat_map(|folder| folder.ancestors())
        .map(Path::to_owned);
    std::iter::once(built_in)
        .chain(around)
        .find(|folder| is_workspace(folder))
}

fn is_workspace(folder: &Path) -> bool {
    folder.join("Cargo.lock").is_file()
        && std::fs::read_to_string(folder.join("plugin/Cargo.toml"))
            .is_ok_and(|manifest| manifest.contains(&format!("name = \"{PACKAGE}\"")))
}

/// Builds the plugin alone and gives its path. Runs in the workspace's folder, so that its
/// `.cargo/config.toml` gives both builds the same flags; `CARGO_TARGET_DIR` is respected.
pub async fn build(workspace: &Path) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(&cargo)
        .args([
            "build",
            "--release",
            "--locked",
            "-p",
            PACKAGE,
            "--message-format=json-render-diagnostics",
        ])
        .current_dir(workspace)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("run {}", cargo.display()))?;
    ensure!(
        output.status.success(),
        "building the plugin alone failed ({})",
        output.status
    );
    executable(&output.stdout).context("cargo did not say where it put the plugin")
}

/// The binary's path in cargo's messages, one JSON object a line.
fn executable(messages: &[u8]) -> Option<PathBuf> {
    messages
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == PACKAGE)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_among_cargos_messages() {
        let messages = concat!(
            "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"bytes\"},\"executable\":null}\n",
            "not json\n",
            "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"vault-kubernetes-kms\"},\"executable\":\"/t/release/vault-kubernetes-kms\"}\n",
        );
        assert_eq!(
            executable(messages.as_bytes()),
            Some("/t/release/vault-kubernetes-kms".into())
        );
        assert_eq!(executable(b"{\"reason\":\"build-finished\"}"), None);
    }

    #[test]
    fn the_workspace_is_found() {
        assert!(workspace().unwrap().join("plugin/Cargo.toml").is_file());
    }
}
