//! What `plugin/deploy` ships for an API server: pods that it takes, and encryption configurations that are carried out.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kms_apiserver::config::Config;
use kms_apiserver::options::Options;
use kms_apiserver::version::Version;
use kms_apiserver_api::{ApiServer, ListOptions, Resource, Target};
use kms_harness::apiserver::etcd::Etcd;
use kms_harness::apiserver::launched::Launched;
use kms_harness::subject::own;
use kube::api::{Api, PostParams};
use tokio::process::Command;

use crate::life::{same, secret, stored};
use crate::world::{Keeper, Kind, Parts, READY, settings, sim};

const PREFIX: &str = "k8s:enc:kms:v2:vault:";
/// Where the shipped files have the socket.
const SOCKET: &str = "/var/run/kmsplugin/kms.sock";

fn folder() -> Result<PathBuf> {
    let workspace = own::workspace().context("the checkout is gone")?;
    Ok(workspace.join("plugin/deploy"))
}

/// A shipped file with its placeholders filled in.
fn shipped(name: &str) -> Result<String> {
    let text = fs::read_to_string(folder()?.join(name)).with_context(|| name.to_owned())?;
    let digest = "0123456789abcdef".repeat(4);
    let local = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    Ok(text
        .replace("<registry>", "registry.example")
        .replace("<digest>", &digest)
        .replace("<base64 of the 32 bytes in use>", local))
}

/// With strict validation and everything that a server checks before it stores: an unknown or misplaced field is refused.
pub async fn the_server_takes_each_pod(parts: Parts) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("kms-").tempdir()?;
    let place = folder.path();
    let etcd = Etcd::start(&parts.server.etcd, place).await?;
    let mut settings = settings(&etcd, None);
    // As every control plane has it.
    settings.more.push("--allow-privileged=true".to_owned());
    let program = Kind::Real.program(&parts);
    let server = Launched::start(&program, &settings, &place.join("server")).await?;
    server.ready(READY).await?;
    kubectl(
        &parts,
        &server,
        place,
        "create namespace openshift-kube-apiserver",
    )
    .await?;
    for name in [
        "static-pod.yaml",
        "static-pod-documented.yaml",
        "openshift-sidecar.yaml",
    ] {
        let file = place.join(name);
        let text = shipped(name)?;
        let apply = format!(
            "create --dry-run=server --validate=strict -o name -f {}",
            file.display()
        );
        fs::write(&file, &text)?;
        let said = kubectl(&parts, &server, place, &apply)
            .await
            .with_context(|| name.to_owned())?;
        ensure!(said.starts_with("pod/"), "{name}: {said}");
        // The server looks: a field of another name is told.
        fs::write(&file, text.replace("volumeMounts:", "volumeMount:"))?;
        let refused = kubectl(&parts, &server, place, &apply).await;
        let refused = refused
            .err()
            .with_context(|| format!("{name}: anything goes"))?;
        ensure!(
            format!("{refused:#}").contains("volumeMount"),
            "{refused:#}"
        );
    }
    Ok(())
}

async fn kubectl(parts: &Parts, server: &Launched, home: &Path, words: &str) -> Result<String> {
    let program = parts.server.kubectl.as_ref().context("no kubectl")?;
    let output = Command::new(program)
        .arg("--kubeconfig")
        .arg(&server.files().kubeconfig)
        .args(words.split(' '))
        .env_clear()
        .env("HOME", home)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    ensure!(
        output.status.success(),
        "kubectl {words}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// All of them parse and validate as an API server would have it, and each names the socket of the pods.
pub fn each_encryption_configuration_is_one() -> Result<()> {
    let mut seen = 0;
    for entry in fs::read_dir(folder()?.join("encryption"))? {
        let name = entry?.file_name().into_string().expect("a name in UTF-8");
        let text = shipped(&format!("encryption/{name}"))?;
        let mut options = Options::new(Version::NEWEST, name.as_str());
        options.reload = true;
        Config::parse(text.as_bytes(), &options).map_err(|why| anyhow::anyhow!("{name}: {why}"))?;
        ensure!(
            name == "1-plain.yaml" || text.contains(&format!("endpoint: unix://{SOCKET}")),
            "{name} names another socket"
        );
        seen += 1;
    }
    ensure!(seen == 7, "{seen} files");
    Ok(())
}

/// From clear text to nothing but the plugin, and back: at each step everything is readable, what is new is stored as
/// the step says, and the server is started with the file as it is shipped.
pub async fn each_encryption_step_is_carried_out(kind: Kind, parts: Parts) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("kms-").tempdir()?;
    let keeper = Keeper::start(&parts, sim(1).await?, folder.path()).await?;
    let etcd = Etcd::start(&parts.server.etcd, folder.path()).await?;
    let step = |name: &str| step(name, keeper.plugin.socket());
    let settings = settings(&etcd, Some(step("1-plain.yaml")?));
    let place = folder.path().join("server");
    let server = Launched::start(&kind.program(&parts), &settings, &place).await?;
    server.ready(READY).await?;
    let api: Api<Secret> = Api::namespaced(server.client(), "default");
    let mut written = BTreeMap::new();
    for (file, encrypts, migrates) in [
        ("1-plain.yaml", false, false),
        ("2-read.yaml", false, false),
        ("3-write.yaml", true, true),
        ("4-only.yaml", true, false),
        ("back.yaml", false, true),
        ("1-plain.yaml", false, false),
    ] {
        if !written.is_empty() {
            server.write_config(&step(file)?).await?;
            server.crash_and_start().await?;
            server.ready(READY).await.context(file)?;
        }
        same(&api, &written).await.context(file)?;
        let name = format!("at-{}", written.len());
        let made = secret(&name, &format!("value {name}"));
        let made = api.create(&PostParams::default(), &made).await?;
        written.insert(name.clone(), made);
        let is_encrypted = stored(&server, &name).await?.prefix == PREFIX;
        ensure!(
            is_encrypted == encrypts,
            "{file}: {name} is encrypted: {is_encrypted}"
        );
        if migrates {
            write_anew(&server).await?;
            for name in written.keys() {
                let now = stored(&server, name).await?;
                ensure!(
                    (now.prefix == PREFIX) == encrypts,
                    "{file}: {name} is {now:?}"
                );
            }
        }
        if file == "4-only.yaml" {
            planted_in_clear_is_refused(&server).await?;
        }
    }
    Ok(())
}

/// Storage migration, as the files say it: every Secret and ConfigMap of the whole cluster is read and written unchanged.
/// The server has some of its own.
pub async fn write_anew(server: &Launched) -> Result<()> {
    for resource in [Resource::Secrets, Resource::ConfigMaps] {
        let listed = server.list(resource, ListOptions::default()).await?;
        ensure!(listed.ok(), "{listed:?}");
        for object in listed.items() {
            let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default();
            let target = Target {
                resource,
                namespace: text("namespace").to_owned(),
                name: text("name").to_owned(),
            };
            let mut put = server.update(&target, object.clone()).await?;
            while put.code == 409 {
                // The server has changed its own meanwhile.
                let fresh = server.get(&target).await?;
                put = server.update(&target, fresh.json().clone()).await?;
            }
            ensure!(put.ok(), "{target}: {put:?}");
        }
    }
    Ok(())
}

/// Somebody who can write to etcd, and has no key.
async fn planted_in_clear_is_refused(server: &Launched) -> Result<()> {
    let target = Target::secret("default", "planted");
    let clear = b"k8s\0\x0a\x0c\x0a\x02v1\x12\x06Secret".to_vec();
    server.store(&target, Some(clear)).await?;
    let read = server.get(&target).await?;
    ensure!(read.code == 500, "{read:?}");
    server.store(&target, None).await?;
    Ok(())
}

fn step(name: &str, socket: &Path) -> Result<String> {
    let text = shipped(&format!("encryption/{name}"))?;
    Ok(text.replace(SOCKET, &socket.display().to_string()))
}
