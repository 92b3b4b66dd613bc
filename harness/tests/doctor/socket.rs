//! The plugin's own socket, and the bundle of a real system.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kms_harness::child::find_program;
use kms_harness::subject::own::{self, Vocabulary};
use kms_harness::subject::running::Running;
use kms_harness::subject::values;
use serde_json::json;
use tokio::process::Command;

use super::said::{run, say};
use super::vault::{Parts, Scene};
use crate::common::kms::Kms;

/// A state shows within this, on a machine that does much else.
const SHOWS: Duration = Duration::from_secs(120);

async fn plugin(parts: &Parts, scene: &Scene) -> Result<Running> {
    let folder = scene.folder.path();
    let values = values(scene.vault.as_ref(), &scene.access, folder);
    let subject = own::describe(&parts.plugin, Vocabulary::StaticPod, &values);
    Running::start(subject, values, folder.join("plugin.log")).await
}

fn url(socket: &Path) -> String {
    format!("unix://{}", socket.display())
}

/// A plugin that is well, whose old data is cut off, whose Vault is sealed, that was killed, whose socket is gone.
pub async fn from_healthy_to_gone(parts: Parts) -> Result<()> {
    let mut scene = Scene::new(&parts).await?;
    let plugin = plugin(&parts, &scene).await?;
    let socket = plugin.socket().to_owned();
    let url = url(&socket);
    let doctor = || say(["doctor", "--socket", &url]);
    doctor().await?.found(&[])?;

    let kms = Kms::connect(&socket).await?;
    kms.wait_good(SHOWS).await?;
    let old = kms.round_trip(b"under the first version").await?;
    let admin = scene.vault.admin();
    scene.access.rotate(&admin).await?;
    let key = format!("{}/keys/{}/config", scene.access.mount, scene.access.key);
    admin
        .write(&key, json!({"min_decryption_version": 2}))
        .await?;
    ensure!(
        kms.decrypt(&old).await.is_err(),
        "the old version still decrypts"
    );
    // Status is good: its log alone has it
    doctor().await?.found(&[])?;
    let log = scene.folder.path().join("plugin.log").display().to_string();
    say(["doctor", "--plugin-log", &log])
        .await?
        .found(&["OCP-FAULT-11"])?;
    admin
        .write(&key, json!({"min_decryption_version": 1}))
        .await?;

    scene.vault.seal().await?;
    let sick = |seen: &Result<_, tonic::Status>| seen.is_err();
    kms.wait_status("a Status that tells of it", SHOWS, sick)
        .await?;
    doctor().await?.found(&["OCP-FAULT-13"])?;
    scene
        .doctor(&["--socket".into(), url.clone()])
        .await?
        .found(&["OCP-FAULT-13"])?;

    may_not_be_used(&socket, &url).await?;
    // killed, it leaves its socket's file
    drop(plugin);
    if socket.exists() {
        doctor().await?.found(&["OCP-FAULT-05"])?;
        fs::remove_file(&socket)?;
    }
    doctor().await?.found(&["OCP-FAULT-04"])?;
    fs::write(&socket, "no socket")?;
    doctor().await?.found(&["OCP-FAULT-04"])
}

/// A socket without permission, for somebody without privilege: root itself with all of its capabilities given up.
async fn may_not_be_used(socket: &Path, url: &str) -> Result<()> {
    let Some(setpriv) = find_program(Path::new("setpriv")) else {
        return Ok(());
    };
    let before = fs::metadata(socket)?.permissions();
    fs::set_permissions(socket, fs::Permissions::from_mode(0o000))?;
    let mut command = Command::new(setpriv);
    if nix::unistd::geteuid().is_root() {
        command.args(["--bounding-set=-all", "--inh-caps=-all"]);
    }
    command.arg(env!("CARGO_BIN_EXE_kms-harness"));
    let said = run(command, ["doctor", "--socket", url]).await?;
    fs::set_permissions(socket, before)?;
    said.found(&["OCP-FAULT-04"])?;
    ensure!(said.out.contains("may not be used"), "{}", said.out);
    Ok(())
}

/// A bundle of a real plugin and Vault has none of their secrets, says the same as the doctor, and reads back.
pub async fn nothing_of_a_real_system_leaks(parts: Parts) -> Result<()> {
    let mut scene = Scene::new(&parts).await?;
    let plugin = plugin(&parts, &scene).await?;
    let kms = Kms::connect(plugin.socket()).await?;
    let sealed = kms.round_trip(b"a plaintext of this very test").await?;
    scene.vault.seal().await?;
    let sick = |seen: &Result<_, tonic::Status>| seen.is_err();
    kms.wait_status("a Status that tells of it", SHOWS, sick)
        .await?;
    let folder = scene.folder.path();
    let secrets = folder.join("words");
    let ciphertext = String::from_utf8_lossy(&sealed.answer.ciphertext).into_owned();
    let words: Vec<String> = [
        scene.access.token.as_str(),
        scene.access.secret_id.as_str(),
        scene.access.role_id.as_str(),
        scene.access.password.as_str(),
        scene.vault.admin().token(),
        sealed.answer.key_id.as_str(),
        "a plaintext of this very test",
        &ciphertext.replace('\n', ""),
    ]
    .into_iter()
    // what is shorter is found everywhere
    .filter(|word| word.len() >= 6)
    .map(str::to_owned)
    .collect();
    fs::write(&secrets, words.join("\n"))?;
    let out = folder.join("bundle");
    let mut args: Vec<String> = vec!["collect".into()];
    args.extend(scene.look());
    args.extend([
        "--socket".into(),
        url(plugin.socket()),
        "--plugin-log".into(),
        folder.join("plugin.log").display().to_string(),
        "--secrets".into(),
        secrets.display().to_string(),
        "--out".into(),
        out.display().to_string(),
    ]);
    let said = say(&args).await?;
    ensure!(
        said.code == Some(1),
        "{:?} {}{}",
        said.code,
        said.out,
        said.err
    );
    ensure!(
        said.json["secrets_searched"].as_u64() >= Some(words.len() as u64),
        "{}",
        said.out
    );
    for name in [
        "cluster.json",
        "vault.json",
        "manifest.json",
        "timeline.json",
        "SHA256SUMS",
    ] {
        ensure!(out.join(name).is_file(), "no {name}");
    }
    let bundle = out.display().to_string();
    say(["doctor", "--bundle", &bundle])
        .await?
        .found(&["OCP-FAULT-13"])?;
    // the same folder a second time is refused, and so is one that was changed
    let again = say(&args).await?;
    ensure!(
        again.code == Some(2) && again.err.contains("--out"),
        "{:?} {}",
        again.code,
        again.err
    );
    let vault = out.join("vault.json");
    let text = fs::read_to_string(&vault).context("read vault.json")?;
    fs::write(&vault, text.replace("true", "false"))?;
    let changed = say(["doctor", "--bundle", &bundle]).await?;
    ensure!(
        changed.code == Some(2) && changed.err.contains("vault.json"),
        "{:?} {}",
        changed.code,
        changed.err
    );
    // a word that the bundle must have is a hit, and nothing is written
    fs::write(&secrets, "sealed or not")?;
    let last = args.len() - 1;
    args[last] = folder.join("never").display().to_string();
    let refused = say(&args).await?;
    ensure!(
        refused.code == Some(3) && refused.err.contains("line 1"),
        "{:?} {}",
        refused.code,
        refused.err
    );
    ensure!(!refused.err.contains("sealed or not") && !folder.join("never").exists());
    Ok(())
}
