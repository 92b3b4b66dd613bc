//! kubectl: what the operators' procedure types, on either server.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use kms_apiserver_api::{ApiServer, Target};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::stored::Stored;
use crate::world::{Kind, PROVIDER, Parts, World};

/// Create, look into the store, read, rewrite, delete.
pub async fn what_operators_type(kind: Kind, parts: Parts) -> Result<()> {
    let kubectl = Kubectl {
        world: World::on_sim(kind, &parts).await?,
        parts,
    };
    let created = kubectl
        .run(
            "create secret generic test-secret --from-literal=key=value -n default",
            None,
        )
        .await?;
    ensure!(created.trim() == "secret/test-secret created", "{created}");
    let target = Target::secret("default", "test-secret");
    let stored = kubectl.world.server.stored(&target).await?;
    let stored = Stored::read(&stored.context("nothing is stored")?.bytes)?;
    ensure!(
        stored.prefix == format!("k8s:enc:kms:v2:{PROVIDER}:"),
        "{stored:?}"
    );
    let table = kubectl.run("get secrets -A", None).await?;
    ensure!(
        table.starts_with("NAMESPACE") && table.contains("test-secret"),
        "{table}"
    );
    let value = kubectl
        .run("get secret test-secret -o jsonpath={.data.key}", None)
        .await?;
    ensure!(value == "dmFsdWU=", "{value}");
    let all = kubectl.run("get secrets -n default -o json", None).await?;
    let replaced = kubectl
        // Validation wants an OpenAPI document, which the simulated server has not.
        .run("replace --validate=false -f -", Some(&all))
        .await?;
    ensure!(
        replaced.contains("secret/test-secret replaced"),
        "{replaced}"
    );
    let ready = kubectl.run("get --raw /readyz", None).await?;
    ensure!(ready == "ok", "{ready}");
    let deleted = kubectl
        .run("delete secret test-secret -n default", None)
        .await?;
    ensure!(deleted.contains("\"test-secret\" deleted"), "{deleted}");
    let gone = kubectl.world.server.get(&target).await?;
    ensure!(gone.code == 404, "{gone:?}");
    Ok(())
}

struct Kubectl {
    world: World,
    parts: Parts,
}

impl Kubectl {
    async fn run(&self, words: &str, input: Option<&str>) -> Result<String> {
        let program = self.parts.server.kubectl.as_ref().context("no kubectl")?;
        let mut child = Command::new(program)
            .arg("--kubeconfig")
            .arg(&self.world.server.files().kubeconfig)
            .args(words.split(' '))
            .env_clear()
            // Its cache of what the server can do.
            .env("HOME", self.world.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let mut stdin = child.stdin.take().context("no input")?;
        stdin
            .write_all(input.unwrap_or_default().as_bytes())
            .await?;
        drop(stdin);
        let output = child.wait_with_output().await?;
        ensure!(
            output.status.success(),
            "kubectl {words}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }
}
