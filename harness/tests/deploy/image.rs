//! `ci/image`: the same bytes every time, nothing in it that its bill does not name, and it serves with no rights at all.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kms_harness::bundle::sha256;
use kms_harness::subject::own;
use kms_harness::vault::VaultBackend;
use kms_harness::vault::container::{self, Container};
use kms_harness::vault::image::Image;
use kms_harness::vault::provision::{Access, Wanted};
use kms_report::model::Report;
use nix::unistd::Uid;
use serde_json::Value;
use tempfile::TempDir;
use testcontainers::core::{AccessMode, Mount};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};

use crate::common::kms::Kms;

/// Uid and gid that the image runs as.
const NOBODY: u32 = 65532;
/// A start with good credentials is good within this.
const START: Duration = Duration::from_secs(60);

/// The image, built twice, and what it runs beside.
#[derive(Clone)]
pub struct Parts {
    built: Arc<[Built; 2]>,
    vault: Image,
}

/// What `ci/image` prints, and the folder of its files.
struct Built {
    told: Value,
    _folder: TempDir,
}

impl Built {
    fn text(&self, name: &str) -> &str {
        self.told[name].as_str().unwrap_or_default()
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        fs::read(self.text(name)).with_context(|| format!("read its {name}"))
    }
}

impl Parts {
    /// Finds a daemon, and builds the image where there is one: here, and from a copy of the sources elsewhere.
    pub fn find() -> Result<Self, String> {
        let name = std::env::var("KMS_VAULT_IMAGE").unwrap_or_default();
        let vault: Image = name
            .parse()
            .map_err(|_| "no Vault in a container: run ci/docker, and set KMS_VAULT_IMAGE to what ci/docker --image prints")?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime
            .map_err(anyhow::Error::from)
            .and_then(|runtime| runtime.block_on(container::ready(&vault)))
            .map_err(|error| format!("{error:#}"))?;
        if !Uid::effective().is_root() {
            return Err("looking who is behind a container's socket needs root".into());
        }
        match build_twice() {
            Ok(built) => Ok(Self {
                built: Arc::new(built),
                vault,
            }),
            Err(error) => panic!("{error:#}"),
        }
    }

    fn image(&self) -> &Built {
        &self.built[0]
    }
}

fn build_twice() -> Result<[Built; 2]> {
    let sources = own::workspace().context("the checkout is gone")?;
    let here = build(&sources, None)?;
    // Another path, another target folder: nothing of the first build can be taken over, and no path may be in it.
    let elsewhere = tempfile::Builder::new().prefix("sources-").tempdir()?;
    let listed = run(Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(&sources))?;
    for name in listed
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        let name = std::str::from_utf8(name)?;
        let to = elsewhere.path().join(name);
        fs::create_dir_all(to.parent().context("a file has a folder")?)?;
        fs::copy(sources.join(name), to).with_context(|| format!("copy {name}"))?;
    }
    let there = build(elsewhere.path(), Some(&elsewhere.path().join("target")))?;
    Ok([here, there])
}

fn build(sources: &Path, target: Option<&Path>) -> Result<Built> {
    let folder = tempfile::tempdir()?;
    let mut command = Command::new(sources.join("ci/image"));
    command.arg("--out").arg(folder.path()).current_dir(sources);
    if target.is_none() {
        command.arg("--load");
    }
    if let Some(target) = target {
        command.env("CARGO_TARGET_DIR", target);
    }
    let told = serde_json::from_slice(&run(&mut command)?).context("what ci/image prints")?;
    Ok(Built {
        told,
        _folder: folder,
    })
}

fn run(command: &mut Command) -> Result<Vec<u8>> {
    let output = command
        .output()
        .with_context(|| format!("run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} ended with {}:\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}

/// Equal digests; otherwise it says which bytes are others.
pub fn two_builds_give_equal_bytes(parts: &Parts) -> Result<()> {
    let [here, there] = &*parts.built;
    for name in ["sbom", "archive"] {
        let (one, other) = (here.read(name)?, there.read(name)?);
        if one != other {
            let differ = one.iter().zip(&other).filter(|(a, b)| a != b).count();
            let first = one.iter().zip(&other).position(|(a, b)| a != b);
            bail!(
                "the {name} differs: {} and {} bytes long, {differ} of them others, the first at {first:?}; the program's \
                 digests are {} and {}",
                one.len(),
                other.len(),
                here.text("binary"),
                there.text("binary")
            );
        }
    }
    ensure!(
        here.text("digest") == there.text("digest"),
        "the digests differ"
    );
    ensure!(
        here.text("imageId") == there.text("imageId"),
        "the image ids differ"
    );
    Ok(())
}

/// Crates leave their paths in the binary, where their panics would say. Each of them is in the bill, with the lock
/// file's checksum, and nothing that runs in tests or builds alone is.
pub fn its_bill_has_what_is_in_it(parts: &Parts) -> Result<()> {
    let bill: Value = serde_json::from_slice(&parts.image().read("sbom")?)?;
    let components = bill["components"].as_array().context("no components")?;
    let billed: BTreeSet<String> = components
        .iter()
        .map(|one| {
            let text = |name: &str| one[name].as_str().unwrap_or_default();
            format!("{}-{}", text("name"), text("version"))
        })
        .collect();
    // The archive's layer is not compressed: what is in the binary is in it.
    let archive = parts.image().read("archive")?;
    let text = String::from_utf8_lossy(&archive);
    let registry = "/cargo/registry/src/";
    let inside: BTreeSet<&str> = text
        .match_indices(registry)
        .filter_map(|(at, _)| text[at + registry.len()..].split('/').nth(1))
        .collect();
    ensure!(inside.len() > 20, "{inside:?}");
    for name in &inside {
        ensure!(
            billed.contains(*name),
            "{name} is in the image and not in its bill"
        );
    }
    ensure!(
        !text.contains("/root/"),
        "a path of this machine is in the image"
    );
    for (name, wanted) in [
        ("rustls", true),
        ("glibc", true),
        ("proptest", false),
        ("syn", false),
        ("cc", false),
    ] {
        let has = billed.iter().any(|one| {
            one.strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('-'))
                .is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()))
        });
        ensure!(has == wanted, "{name} in the bill: {has}");
    }
    for one in components {
        let purl = one["purl"].as_str().unwrap_or_default();
        let ours = ["pkg:cargo/kms-authority@", "pkg:cargo/kms-v2-api@"];
        let own = ours.iter().any(|ours| purl.starts_with(ours));
        ensure!(
            own || !purl.starts_with("pkg:cargo/") || one["hashes"][0]["content"].is_string(),
            "{one}"
        );
        ensure!(one["licenses"][0]["expression"] != "NOASSERTION", "{one}");
    }
    Ok(())
}

/// The plugin in its container, on a Vault in another. Fields are dropped in this order.
struct Scene {
    plugin: ContainerAsync<GenericImage>,
    vault: Container,
    access: Access,
    folder: TempDir,
}

impl Scene {
    async fn start(parts: &Parts) -> Result<Self> {
        let vault = Box::pin(Container::dev(&parts.vault)).await?;
        let folder = tempfile::Builder::new().prefix("kms-").tempdir()?;
        let credentials = folder.path().join("credentials");
        let sockets = folder.path().join("kmsplugin");
        for place in [&credentials, &sockets] {
            fs::DirBuilder::new().mode(0o700).create(place)?;
        }
        let access = Wanted::default()
            .create(&vault.admin(), &credentials)
            .await?;
        chown(&sockets, Some(NOBODY), Some(NOBODY))?;
        chown(&credentials, Some(NOBODY), Some(NOBODY))?;
        for file in fs::read_dir(&credentials)? {
            chown(file?.path(), Some(NOBODY), Some(NOBODY))?;
        }
        // By name: a static binary that could not look one up would only fail at the user's.
        let address = vault
            .addresses()
            .remove(0)
            .replace("127.0.0.1", "localhost");
        let (name, tag) = parts
            .image()
            .text("name")
            .split_once(':')
            .context("no tag")?;
        let mount = |from: &Path, to: &str| Mount::bind_mount(from.display().to_string(), to);
        let plugin = GenericImage::new(name, tag)
            .with_cmd([
                format!("-vault-address={address}"),
                format!("-approle-role-id={}", access.role_id),
                "-approle-secret-id-path=/etc/vault-kms/secret-id".to_owned(),
                "-transit-key=kms-key".to_owned(),
                "-health-address=off".to_owned(),
                "-metrics-address=off".to_owned(),
            ])
            .with_network("host")
            .with_readonly_rootfs(true)
            .with_cap_drop("ALL")
            .with_security_opt("no-new-privileges")
            .with_mount(mount(&sockets, "/var/run/kmsplugin"))
            .with_mount(
                mount(&credentials, "/etc/vault-kms").with_access_mode(AccessMode::ReadOnly),
            )
            .with_startup_timeout(START)
            .start()
            .await?;
        let scene = Self {
            plugin,
            vault,
            access,
            folder,
        };
        if let Err(error) = scene.good().await {
            let said = scene.plugin.stderr_to_vec().await.unwrap_or_default();
            return Err(error.context(String::from_utf8_lossy(&said).into_owned()));
        }
        Ok(scene)
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("kmsplugin/kms.sock")
    }

    async fn good(&self) -> Result<()> {
        let deadline = tokio::time::Instant::now() + START;
        while tokio::net::UnixStream::connect(self.socket())
            .await
            .is_err()
        {
            ensure!(tokio::time::Instant::now() < deadline, "no socket");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let kms = Kms::connect(&self.socket()).await?;
        kms.wait_good(START).await?;
        Ok(())
    }

    /// `kms-harness check` on its socket, with the image that is said to run there: exit code, output, what it told.
    async fn check(&self, archive: &str) -> Result<(Option<i32>, Value, String)> {
        let docker = "docker restart --time 10";
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_kms-harness"))
            .args(["check", "--format", "json", "--image", archive])
            .arg("--socket")
            .arg(format!("unix://{}", self.socket().display()))
            .arg("--restart-command")
            .arg(format!("{docker} {} >/dev/null", self.plugin.id()))
            .arg("--out")
            .arg(self.folder.path().join("out"))
            .kill_on_drop(true)
            .output()
            .await?;
        Ok((
            output.status.code(),
            serde_json::from_slice(&output.stdout).unwrap_or_default(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ))
    }
}

/// Read-only root, no capabilities, nobody's uid, only the socket's folder to write to: it passes the suite, and the
/// statement about it names the digest that `ci/image` printed.
pub async fn it_serves_without_rights_and_is_what_the_report_names(parts: Parts) -> Result<()> {
    let scene = Scene::start(&parts).await?;
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(scene.socket())?);
    ensure!(owner == NOBODY, "the socket belongs to {owner}");
    let (code, report, told) = scene.check(parts.image().text("archive")).await?;
    ensure!(code == Some(0), "{code:?}: {told}\n{report}");
    let digest = parts.image().text("digest").trim_start_matches("sha256:");
    let artifact = &report["subject"]["artifacts"][0];
    ensure!(
        artifact["kind"] == "image" && artifact["digest"]["sha256"] == digest,
        "{artifact}"
    );
    // A checkout with changes in it earns no statement; what it would say is the same.
    let mut report: Report = serde_json::from_value(report)?;
    report
        .suite
        .git_commit
        .get_or_insert_with(|| "0".repeat(40));
    report.suite.dirty = Some(false);
    for statement in [
        kms_report::test_result_statement(&report)?,
        kms_report::report_statement(&report)?,
    ] {
        let statement: Value = serde_json::from_str(&statement)?;
        let subject = &statement["subject"][0];
        ensure!(subject["digest"]["sha256"] == digest, "{subject}");
        ensure!(subject["name"] == parts.image().text("name"), "{subject}");
    }
    let log = scene.plugin.stderr_to_vec().await?;
    ensure!(
        !kms_harness::bundle::holds(&log, &scene.access.secrets()),
        "the log holds a credential"
    );
    ensure!(!scene.vault.addresses().is_empty());
    Ok(())
}

/// An image that does not run behind the socket gets no report.
pub async fn another_program_is_not_reported_as_it(parts: Parts) -> Result<()> {
    let scene = Scene::start(&parts).await?;
    // The same but for one byte of its program.
    let other = scene.folder.path().join("other");
    fs::copy(other_program(&parts, scene.folder.path())?, &other)?;
    let out = scene.folder.path().join("other-image");
    let sources = own::workspace().context("the checkout is gone")?;
    let told: Value = serde_json::from_slice(&run(Command::new(sources.join("ci/image"))
        .current_dir(&sources)
        .arg("--binary")
        .arg(&other)
        .arg("--out")
        .arg(&out))?)?;
    ensure!(told["digest"] != parts.image().text("digest"), "{told}");
    let archive = told["archive"].as_str().context("no archive")?;
    let (code, _, told) = scene.check(archive).await?;
    ensure!(code == Some(3), "{code:?}: {told}");
    ensure!(
        told.contains("does not run the program of the image"),
        "{told}"
    );
    Ok(())
}

/// The image's program with another version in it.
fn other_program(parts: &Parts, folder: &Path) -> Result<PathBuf> {
    let archive = parts.image().read("archive")?;
    let tar = folder.join("layer");
    fs::write(&tar, archive)?;
    let mut files = tar::Archive::new(fs::File::open(&tar)?);
    let wanted = parts.image().text("binary").to_owned();
    for blob in files.entries()? {
        let blob = blob?;
        if blob.size() < 1_000_000 {
            continue;
        }
        for file in tar::Archive::new(blob).entries()? {
            let mut file = file?;
            if file.path()?.as_os_str() != own::PACKAGE {
                continue;
            }
            let mut program = Vec::new();
            std::io::Read::read_to_end(&mut file, &mut program)?;
            ensure!(
                sha256(&program) == wanted,
                "another program is in the image"
            );
            program.push(0);
            let path = folder.join("program");
            fs::write(&path, program)?;
            return Ok(path);
        }
    }
    bail!("no program in the image")
}
