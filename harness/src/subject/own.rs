//! Our own plugin, described as operators start it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

pub use kms_process::own::{PACKAGE, build, workspace};
use tokio::process::Command;
use tokio::time::timeout;

use super::file::{MetricsPlace, Readiness, Stop, SubjectFile, Template, Values};

/// Limit for a binary to say its version.
const VERSION_LIMIT: Duration = Duration::from_secs(2);

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
        metrics: None,
        several: true,
    }
}

/// The same plugin with its metrics on a port of its own, and no listener for health.
pub fn with_metrics(mut subject: SubjectFile) -> SubjectFile {
    subject
        .command
        .retain(|word| !word.source().starts_with("-metrics-port"));
    subject
        .command
        .extend(["-health-port=0", "-metrics-port={metrics_port}"].map(known));
    subject.metrics = Some(MetricsPlace {
        url: known("http://127.0.0.1:{metrics_port}/metrics"),
    });
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
    fn a_plugin_path_with_braces_is_taken_as_it_is() {
        let values = Values::from([("ca", "/ca.pem".to_owned()), ("namespace", String::new())]);
        let subject = describe(Path::new("/opt/{x}/kms"), Vocabulary::Sidecar, &values);
        assert_eq!(subject.command[0].fill(&values).unwrap(), "/opt/{x}/kms");
        assert_eq!(
            subject.command.last().unwrap().fill(&values).unwrap(),
            "-tls-ca-file=/ca.pem"
        );
    }
}
