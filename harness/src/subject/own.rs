//! Our own plugin: built alone, and described as operators start it.
//!
//! The subject is the product: what is judged comes out of `cargo build --release --locked -p
//! vault-kubernetes-kms`, so that no feature which a workspace build unifies into shared
//! dependencies, and no test utility, is ever in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use super::file::{Readiness, Stop, SubjectFile, Template, Values};

/// Package and binary name.
pub const PACKAGE: &str = "vault-kubernetes-kms";

/// Limit for a binary to say its version.
const VERSION_LIMIT: Duration = Duration::from_secs(2);

/// The checkout that this harness was built from if it is still there, else the one around the
/// current folder.
pub fn workspace() -> Option<PathBuf> {
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?.to_owned();
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

/// What the binary says its version is, if it says so at once.
pub async fn version(plugin: &Path) -> Option<String> {
    let asked = Command::new(plugin)
        .arg("version")
        .env_clear()
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(VERSION_LIMIT, asked).await.ok()?.ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    // `vault-kubernetes-kms 0.1.0 …`
    let mut words = text.split_whitespace();
    (words.next()? == PACKAGE).then(|| words.next().map(str::to_owned))?
}

/// Whose words the plugin is started with, and so which credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vocabulary {
    /// The operators' static pod: userpass, `-socket`, `-transit-mount`, `-transit-key`.
    StaticPod,
    /// The same with a token from a file.
    StaticToken,
    /// OpenShift's sidecar: AppRole, `-listen-address`, `-vault-key-path`.
    Sidecar,
}

/// How `plugin` is started in these words. `values` decides what has to be said: a CA, a namespace,
/// an auth mount of another name.
pub fn describe(plugin: &Path, vocabulary: Vocabulary, values: &Values) -> SubjectFile {
    let mut words = match vocabulary {
        Vocabulary::StaticPod => vec![
            "-vault-address={vault}",
            "-auth-method=userpass",
            "-userpass-username={username}",
            "-userpass-password={password}",
            "-transit-mount={mount}",
            "-transit-key={key}",
            "-socket=unix://{socket}",
        ],
        Vocabulary::StaticToken => vec![
            "-vault-address={vault}",
            "-auth-method=token",
            "-token-path={token_file}",
            "-transit-mount={mount}",
            "-transit-key={key}",
            "-socket=unix://{socket}",
        ],
        Vocabulary::Sidecar => vec![
            "-listen-address=unix://{socket}",
            "-vault-address={vault}",
            "-vault-key-path={mount}/keys/{key}",
            "-approle-role-id={role_id}",
            "-approle-secret-id-path={secret_id_file}",
            "-metrics-port=0",
        ],
    };
    let differs = |name, plain: &str| values.get(name).is_some_and(|value| value != plain);
    let conditional = [
        ("-tls-ca-file={ca}", differs("ca", "")),
        ("-vault-namespace={namespace}", differs("namespace", "")),
        (
            "-userpass-mount={userpass_mount}",
            vocabulary == Vocabulary::StaticPod && differs("userpass_mount", "userpass"),
        ),
        (
            "-approle-mount={approle_mount}",
            vocabulary == Vocabulary::Sidecar && differs("approle_mount", "approle"),
        ),
    ];
    words.extend(
        conditional
            .iter()
            .filter(|(_, needed)| *needed)
            .map(|(word, _)| *word),
    );
    let plugin = plugin
        .display()
        .to_string()
        .replace('{', "{{")
        .replace('}', "}}");
    SubjectFile {
        name: PACKAGE.to_owned(),
        version: None,
        organization: None,
        url: None,
        command: std::iter::once(plugin.as_str())
            .chain(words)
            .map(known)
            .collect(),
        environment: BTreeMap::new(),
        readiness: Readiness::default(),
        stop: Stop::default(),
        restart: None,
    }
}

/// The same plugin without listeners for health and metrics, so that runs side by side do not meet.
pub fn without_listeners(mut subject: SubjectFile) -> SubjectFile {
    subject
        .command
        .extend(["-health-port=0", "-metrics-port=0"].map(known));
    subject
}

fn known(word: &str) -> Template {
    word.parse()
        .expect("our own words have known placeholders only")
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
    fn a_plugin_path_with_braces_is_taken_as_it_is() {
        let values = Values::from([("ca", "/ca.pem".to_owned()), ("namespace", String::new())]);
        let subject = describe(Path::new("/opt/{x}/kms"), Vocabulary::Sidecar, &values);
        assert_eq!(subject.command[0].fill(&values).unwrap(), "/opt/{x}/kms");
        assert_eq!(
            subject.command.last().unwrap().fill(&values).unwrap(),
            "-tls-ca-file=/ca.pem"
        );
    }

    #[test]
    fn the_workspace_is_found() {
        assert!(workspace().unwrap().join("plugin/Cargo.toml").is_file());
    }
}
