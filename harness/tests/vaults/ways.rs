//! The way to a real server, and what changes on it while the plugin serves: a proxy, an authority, a password.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kms_harness::secret_file;
use kms_harness::subject::file::SubjectFile;
use kms_harness::subject::own::{self, Vocabulary};
use kms_harness::subject::running::Running;
use kms_harness::subject::values;
use kms_harness::vault::certificates::Certificates;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::kind::Setup;
use super::logins::Scene;
use super::world::Parts;
use crate::common::kms::Kms;

/// A start with good credentials, or a file that is right at last, is good within this.
const GOOD: Duration = Duration::from_secs(60);
/// Longest head of a request to the proxy, in bytes.
const HEAD: usize = 4096;

/// `HTTPS_PROXY` and `NO_PROXY`, with TLS to the server inside.
pub async fn through_a_proxy(parts: Parts) -> Result<()> {
    let scene = Scene::new(&parts, Setup::Raft(1)).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let proxy = format!("http://{}", listener.local_addr()?);
    let tunnels = Arc::new(AtomicUsize::new(0));
    let serving = tokio::spawn(tunnel(listener, Arc::clone(&tunnels)));
    for (excepted, goes_through) in [("", true), ("127.0.0.1", false)] {
        tunnels.store(0, Ordering::Relaxed);
        let mut subject = describe(&parts, &scene);
        for (name, value) in [("HTTPS_PROXY", proxy.as_str()), ("NO_PROXY", excepted)] {
            subject.environment.insert(name.to_owned(), value.parse()?);
        }
        let (mut plugin, kms) = start(&scene, subject).await?;
        kms.wait_good(GOOD).await?;
        kms.round_trip(&[1; 32]).await?;
        let seen = tunnels.load(Ordering::Relaxed);
        ensure!(
            (seen > 0) == goes_through,
            "NO_PROXY={excepted}: {seen} tunnels"
        );
        plugin.stop().await?;
    }
    // Without the proxy there is no way, and the plugin does not find one by itself.
    serving.abort();
    let _ = serving.await;
    let mut subject = describe(&parts, &scene);
    subject
        .environment
        .insert("HTTPS_PROXY".to_owned(), proxy.parse()?);
    let (_plugin, kms) = start(&scene, subject).await?;
    kms.wait_status("a Status that names the way", GOOD, |seen| {
        seen.as_ref()
            .is_err_and(|status| status.message().contains("proxy"))
    })
    .await
    .map(drop)
}

/// The CA file of another authority, then the right one: no restart, no signal.
pub async fn an_authority_that_is_replaced_is_taken_up(parts: Parts) -> Result<()> {
    let scene = Scene::new(&parts, Setup::Raft(1)).await?;
    let right = std::fs::read_to_string(scene.vault.ca().context("no CA")?)?;
    let other = scene.folder.path().join("other");
    std::fs::create_dir(&other)?;
    let other = std::fs::read_to_string(Certificates::create(&other)?.ca)?;
    let file = scene.file("authority.pem", &other)?;
    let mut subject = describe(&parts, &scene);
    subject
        .command
        .retain(|word| !word.source().starts_with("-tls-ca-file="));
    subject
        .command
        .push(format!("-tls-ca-file={file}").parse()?);
    let (mut plugin, kms) = start(&scene, subject).await?;
    kms.wait_status("a Status that names TLS", GOOD, |seen| {
        seen.as_ref()
            .is_err_and(|status| status.message().contains("TLS"))
    })
    .await?;
    secret_file::replace(Path::new(&file), &right)?;
    kms.wait_good(GOOD).await?;
    let sealed = kms.round_trip(&[1; 32]).await?;
    ensure!(plugin.child().exited().is_none(), "the plugin ended");
    kms.opens(&sealed).await
}

/// Vault's password changes, every token of the old one goes, and the file comes later: nobody touches the plugin.
pub async fn a_password_that_is_changed_is_taken_up(parts: Parts) -> Result<()> {
    let scene = Scene::new(&parts, Setup::Dev).await?;
    let values = values(scene.vault.as_ref(), &scene.access, scene.folder.path());
    let mut subject = own::describe(&parts.plugin, Vocabulary::StaticPod, &values);
    subject
        .command
        .retain(|word| !word.source().starts_with("-userpass-password="));
    for word in [
        "-userpass-password-path={password_file}",
        "-health-address=off",
        "-metrics-address=off",
    ] {
        subject.command.push(word.parse()?);
    }
    let (_plugin, kms) = start(&scene, subject).await?;
    kms.wait_good(GOOD).await?;
    let sealed = kms.round_trip(&[1; 32]).await?;

    let admin = scene.vault.admin();
    let mount = &scene.access.userpass_mount;
    let user = format!("auth/{mount}/users/{}/password", scene.access.username);
    let password = "another one";
    admin.write(&user, json!({"password": password})).await?;
    let prefix = format!("sys/leases/revoke-prefix/auth/{mount}/login");
    admin.write(&prefix, json!({})).await?;
    kms.wait_status("a refused credential in Status", GOOD, |seen| {
        seen.as_ref()
            .is_err_and(|status| status.message().contains("login"))
    })
    .await?;
    secret_file::replace(&scene.access.password_file, password)?;
    kms.wait_good(GOOD).await?;
    kms.opens(&sealed).await
}

fn describe(parts: &Parts, scene: &Scene) -> SubjectFile {
    let values = values(scene.vault.as_ref(), &scene.access, scene.folder.path());
    let mut subject = own::describe(&parts.plugin, Vocabulary::StaticToken, &values);
    for word in ["-health-address=off", "-metrics-address=off"] {
        subject
            .command
            .push(word.parse().expect("a word without placeholders"));
    }
    subject
}

/// Starts it and waits for its socket, not for a good Status.
async fn start(scene: &Scene, subject: SubjectFile) -> Result<(Running, Kms)> {
    let values = values(scene.vault.as_ref(), &scene.access, scene.folder.path());
    let log = scene.folder.path().join("plugin.log");
    let mut plugin = Running::spawn(subject, values, log)?;
    plugin.wait_listening(GOOD).await;
    let kms = Kms::connect(plugin.socket()).await?;
    Ok((plugin, kms))
}

/// A proxy that makes tunnels and counts them. Dropped, all of them end.
async fn tunnel(listener: TcpListener, tunnels: Arc<AtomicUsize>) {
    let mut running = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        running.spawn(one(client, Arc::clone(&tunnels)));
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a proxy of this test is no plugin: it has real sockets"
)]
async fn one(mut client: TcpStream, tunnels: Arc<AtomicUsize>) -> Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(head.len() < HEAD, "an endless head");
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8(head)?;
    let target = head
        .strip_prefix("CONNECT ")
        .and_then(|rest| rest.split(' ').next())
        .context("no CONNECT")?;
    let mut server = TcpStream::connect(target).await?;
    tunnels.fetch_add(1, Ordering::Relaxed);
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
