//! `vault.md` on real servers: its commands as they stand, then the plugin with each login that they made, then what each
//! policy allows and denies.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::Method;
use kms_harness::subject::file::{SubjectFile, Values};
use kms_harness::subject::running::Running;
use kms_harness::vault::VaultBackend;
use kms_harness::vault::admin::Admin;
use kms_harness::vault::family::Family;
use kms_harness::vault::server::Server;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::page;
use crate::common::kms::Kms;

/// The plugin's own test data: a signer's key and JWTs of it.
const JWT: &str = include_str!("../../../plugin/tests/data/jwt.json");
/// A start with good credentials is good within this.
const START: Duration = Duration::from_secs(60);

/// A server and the plugin.
#[derive(Clone)]
pub struct Parts {
    pub family: Family,
    pub server: PathBuf,
    pub plugin: Arc<PathBuf>,
}

/// A Vault that the page has set up. Fields are dropped in this order.
struct Scene {
    vault: Server,
    plugin: PathBuf,
    folder: TempDir,
}

impl Scene {
    /// Runs every block of the page in a folder that has the files it names.
    async fn set_up(parts: &Parts) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("kms-").tempdir()?;
        let place = folder.path();
        let vault = Server::raft(parts.family, &parts.server, place, 1).await?;
        for entry in fs::read_dir(page::folder()?)? {
            let path = entry?.path();
            if path.extension().is_some_and(|kind| kind == "hcl") {
                fs::copy(&path, place.join(path.file_name().context("a name")?))?;
            }
        }
        fs::write(place.join("password"), "correct horse battery staple")?;
        let jwt: Value = serde_json::from_str(JWT)?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        fs::write(place.join("issuer.pem"), text(&jwt["public_key"]))?;
        fs::write(place.join("jwt"), text(&jwt["jwts"][0]))?;
        certificates(place)?;
        // The page says `vault`, whichever it is.
        let programs = place.join("programs");
        fs::create_dir(&programs)?;
        std::os::unix::fs::symlink(&parts.server, programs.join("vault"))?;
        let path = std::env::var("PATH").unwrap_or_default();
        let admin = vault.admin();
        let ca = vault.ca().context("no CA")?.display().to_string();
        let variables = [
            ("PATH", format!("{}:{path}", programs.display())),
            ("HOME", place.display().to_string()),
            ("VAULT_ADDR", vault.addresses().remove(0)),
            ("VAULT_TOKEN", admin.token().to_owned()),
            ("VAULT_CACERT", ca),
        ];
        for heading in [
            "Key",
            "Rights",
            "User and password",
            "AppRole",
            "JWT",
            "Certificate",
            "Token",
        ] {
            for block in page::blocks("vault.md", heading)? {
                page::run(&block, place, &variables).await?;
            }
        }
        Ok(Self {
            vault,
            plugin: parts.plugin.to_path_buf(),
            folder,
        })
    }

    /// The plugin with the arguments that the page has below a heading, `which` of them.
    async fn serves(&self, heading: &str, which: usize) -> Result<(Running, Kms)> {
        let text = fs::read_to_string(page::folder()?.join("vault.md"))?;
        let (_, rest) = text
            .split_once(&format!("## {heading}\n"))
            .context("no such heading")?;
        let section = rest.split("\n## ").next().unwrap_or(rest);
        let mut lines = section
            .lines()
            .filter_map(|line| line.strip_prefix("`-")?.strip_suffix('`'));
        let words = lines.nth(which).context("no arguments on the page")?;
        let place = self.folder.path();
        let words = format!("-{words}")
            .split(' ')
            .map(|word| match word.split_once('=') {
                // Paths on the page are relative to the folder.
                Some((name, file)) if name.ends_with("-path") || name.starts_with("-tls-") => {
                    format!("{name}={}", place.join(file).display())
                }
                _ => word.to_owned(),
            })
            .collect::<Vec<_>>();
        let subject: SubjectFile = toml_subject(&self.plugin, &words)?;
        let values = Values::from([
            ("socket", place.join("kms.sock").display().to_string()),
            ("vault", self.vault.addresses().remove(0)),
            (
                "ca",
                self.vault.ca().context("no CA")?.display().to_string(),
            ),
        ]);
        let plugin = Running::start(subject, values, place.join("plugin.log"))
            .await
            .with_context(|| format!("with {words:?}"))?;
        let kms = Kms::connect(plugin.socket()).await?;
        kms.wait_good(START).await?;
        Ok((plugin, kms))
    }

    fn read(&self, name: &str) -> Result<String> {
        Ok(fs::read_to_string(self.folder.path().join(name))?
            .trim()
            .to_owned())
    }
}

fn toml_subject(plugin: &Path, words: &[String]) -> Result<SubjectFile> {
    let mut command = vec![
        plugin.display().to_string(),
        "-socket=unix://{socket}".to_owned(),
        "-vault-address={vault}".to_owned(),
        "-tls-ca-file={ca}".to_owned(),
        "-transit-key=kms-key".to_owned(),
        "-health-address=off".to_owned(),
        "-metrics-address=off".to_owned(),
    ];
    command.extend_from_slice(words);
    let command = serde_json::to_string(&command)?;
    SubjectFile::parse(&format!("name = \"plugin\"\ncommand = {command}"))
}

fn certificates(place: &Path) -> Result<()> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let mut client = CertificateParams::default();
    client
        .distinguished_name
        .push(DnType::CommonName, "kms-plugin");
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate()?;
    let client = client.signed_by(&key, &authority)?;
    fs::write(place.join("client-ca.pem"), authority.pem())?;
    fs::write(place.join("client.pem"), client.pem())?;
    kms_harness::secret_file::write(&place.join("client.key"), &key.serialize_pem())
}

/// Each login of the page serves, and what one wrote the next one reads.
pub async fn every_login_of_the_page_serves(parts: Parts) -> Result<()> {
    let scene = Scene::set_up(&parts).await?;
    let mut last = None;
    for (heading, which) in [
        ("User and password", 0),
        ("AppRole", 0),
        ("AppRole", 1),
        ("JWT", 0),
        ("Certificate", 0),
        ("Token", 0),
    ] {
        let (mut plugin, kms) = scene.serves(heading, which).await?;
        if let Some(sealed) = &last {
            kms.opens(sealed).await.context(heading)?;
        }
        last = Some(kms.round_trip(&[7; 32]).await.context(heading)?);
        plugin.stop().await?;
    }
    // Somebody else has had the secret id: that is said, and not taken for a wrong one.
    let told = scene.serves("AppRole", 1).await.map(drop);
    let told = format!("{:#}", told.err().context("a wrapping token worked twice")?);
    ensure!(told.contains("wrapping token"), "{told}");
    let log = fs::read(scene.folder.path().join("plugin.log"))?;
    for file in ["password", "secret-id", "wrapped", "jwt", "token"] {
        let secret = scene.read(file)?;
        ensure!(
            !kms_harness::bundle::holds(&log, &[&secret]),
            "the log holds the {file}"
        );
    }
    Ok(())
}

/// What a depth allows and what it denies, asked of the server with a token that has nothing else.
pub async fn each_policy_allows_what_it_must_and_no_more(parts: Parts) -> Result<()> {
    let scene = Scene::set_up(&parts).await?;
    let root = scene.vault.admin();
    let sealed = root
        .write("transit/encrypt/kms-key", json!({"plaintext": "AAAA"}))
        .await?;
    let sealed = &sealed["data"]["ciphertext"];
    let [post, get] = [Method::POST, Method::GET];
    let calls: [(&str, &Method, &str, Value); 14] = [
        (
            "encrypt",
            &post,
            "transit/encrypt/kms-key",
            json!({"plaintext": "AAAA"}),
        ),
        (
            "decrypt",
            &post,
            "transit/decrypt/kms-key",
            json!({"ciphertext": sealed}),
        ),
        ("read", &get, "transit/keys/kms-key", Value::Null),
        ("own token", &get, "auth/token/lookup-self", Value::Null),
        (
            "another key",
            &post,
            "transit/encrypt/kms-kye",
            json!({"plaintext": "AAAA"}),
        ),
        ("make a key", &post, "transit/keys/other", json!({})),
        ("list", &get, "transit/keys?list=true", Value::Null),
        ("rotate", &post, "transit/keys/kms-key/rotate", json!({})),
        (
            "lowest version",
            &post,
            "transit/keys/kms-key/config",
            json!({"min_decryption_version": 1}),
        ),
        (
            "allow deletion",
            &post,
            "transit/keys/kms-key/config",
            json!({"deletion_allowed": true}),
        ),
        ("back up", &get, "transit/backup/kms-key", Value::Null),
        (
            "export",
            &get,
            "transit/export/encryption-key/kms-key",
            Value::Null,
        ),
        (
            "secret id",
            &post,
            "auth/approle/role/kms-plugin/secret-id",
            json!({}),
        ),
        ("policies", &get, "sys/policies/acl?list=true", Value::Null),
    ];
    let plugin = ["encrypt", "decrypt", "read"];
    for (policy, allowed) in [
        ("kms-plugin-minimal", plugin.to_vec()),
        ("kms-plugin", [&plugin[..], &["own token"]].concat()),
        (
            "kms-operator",
            vec!["read", "list", "rotate", "lowest version", "secret id"],
        ),
    ] {
        let admin = with_policy(&root, policy).await?;
        for (what, method, path, body) in &calls {
            let answer = admin.call((*method).clone(), path, body.clone()).await?;
            let denied = answer.status == 403;
            ensure!(
                denied != allowed.contains(what),
                "{policy}, {what} ({path}): HTTP {} {}",
                answer.status,
                answer.body
            );
            ensure!(denied || answer.ok().is_ok(), "{policy}, {what} ({path})");
        }
    }
    let keys = root.read("transit/keys?list=true").await?.ok()?;
    ensure!(keys["data"]["keys"] == json!(["kms-key"]), "{keys}");
    Ok(())
}

/// The least policy is enough to serve, through a rotation by somebody who cannot read anything.
pub async fn the_least_policy_serves_through_an_operators_rotation(parts: Parts) -> Result<()> {
    let scene = Scene::set_up(&parts).await?;
    let root = scene.vault.admin();
    let least = with_policy(&root, "kms-plugin-minimal").await?;
    kms_harness::secret_file::replace(&scene.folder.path().join("token"), least.token())?;
    let (_plugin, kms) = scene.serves("Token", 0).await?;
    let old = kms.round_trip(&[1; 32]).await?;
    let operator = with_policy(&root, "kms-operator").await?;
    operator
        .write("transit/keys/kms-key/rotate", json!({}))
        .await?;
    kms.wait_status("a new key_id", START, |seen| {
        seen.as_ref()
            .is_ok_and(|status| status.healthz == "ok" && status.key_id != old.answer.key_id)
    })
    .await?;
    kms.opens(&old).await?;
    kms.round_trip(&[2; 32]).await?;
    Ok(())
}

async fn with_policy(root: &Admin, policy: &str) -> Result<Admin> {
    let wanted =
        json!({"policies": [policy], "no_default_policy": true, "no_parent": true, "ttl": "1h"});
    let made = root.write("auth/token/create", wanted).await?;
    let token = made["auth"]["client_token"].as_str().context("no token")?;
    Ok(root.clone().with_token(Zeroizing::new(token.to_owned())))
}
