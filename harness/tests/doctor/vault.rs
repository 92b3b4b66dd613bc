//! Faults of a Vault, each made on a running server and found by its address.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use kms_harness::vault::Breakable;
use kms_harness::vault::family::Family;
use kms_harness::vault::provision::{Access, Wanted};
use kms_harness::vault::server::Server;
use kms_harness::vault::sim::{Front, Sim};
use serde_json::{Value, json};
use sim_vault::Flavour;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use super::said::{Said, say};

/// A token of a second ends within this, on a machine that does much else.
const ENDS: Duration = Duration::from_secs(120);

/// A kind of Vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The simulation, in this process.
    Sim(Flavour),
    /// A real server's binary.
    Server(Family),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sim(_) => f.write_str("sim"),
            Self::Server(family) => family.fmt(f),
        }
    }
}

impl Kind {
    /// Looks for the part; why it is not there.
    pub fn find(self) -> Result<PathBuf, String> {
        match self {
            Self::Sim(_) => Ok(PathBuf::new()),
            Self::Server(family) => family.part().find().map_err(|error| format!("{error:#}")),
        }
    }
}

/// What a test starts.
#[derive(Clone)]
pub struct Parts {
    pub kind: Kind,
    pub binary: PathBuf,
    pub plugin: Arc<PathBuf>,
}

impl Parts {
    /// A Vault of its own. A port that was free a moment ago may not be any more: then it is started on another one.
    pub async fn vault(&self, folder: &Path) -> Result<Box<dyn Breakable>> {
        let family = match self.kind {
            Kind::Sim(flavour) => return Ok(Box::new(Sim::start(1, flavour, Front::Own).await?)),
            Kind::Server(family) => family,
        };
        let mut attempt = 1;
        loop {
            let folder = folder.join(format!("vault-{attempt}"));
            std::fs::create_dir(&folder)?;
            match Server::dev(family, &self.binary, &folder).await {
                Ok(server) => return Ok(Box::new(server)),
                Err(error) if attempt < 5 && format!("{error:#}").contains("already in use") => {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// What goes wrong in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Nothing,
    KeyDeleted,
    SoftDeleted,
    Sealed,
    NoEncrypt,
    NoDecrypt,
    NoKeyRead,
    TokenRevoked,
    TokenExpired,
}

impl Fault {
    pub const ALL: [Self; 9] = [
        Self::Nothing,
        Self::KeyDeleted,
        Self::SoftDeleted,
        Self::Sealed,
        Self::NoEncrypt,
        Self::NoDecrypt,
        Self::NoKeyRead,
        Self::TokenRevoked,
        Self::TokenExpired,
    ];

    /// Whether there is such a thing there.
    pub fn is_known_to(self, kind: Kind) -> bool {
        self != Self::SoftDeleted
            || matches!(
                kind,
                Kind::Sim(Flavour::OpenBao) | Kind::Server(Family::OpenBao)
            )
    }

    pub fn ids(self) -> &'static [&'static str] {
        match self {
            Self::Nothing => &[],
            Self::KeyDeleted => &["OCP-FAULT-10"],
            Self::SoftDeleted => &["OCP-FAULT-12"],
            Self::Sealed => &["OCP-FAULT-13"],
            Self::NoEncrypt => &["OCP-FAULT-06"],
            Self::NoDecrypt => &["OCP-FAULT-07"],
            Self::NoKeyRead => &["OCP-FAULT-08"],
            Self::TokenRevoked | Self::TokenExpired => &["OCP-FAULT-09"],
        }
    }
}

/// A Vault with what a plugin needs in it. Fields are dropped in this order.
pub struct Scene {
    pub vault: Box<dyn Breakable>,
    pub access: Access,
    pub folder: TempDir,
}

impl Scene {
    pub async fn new(parts: &Parts) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("kms-").tempdir()?;
        let vault = parts.vault(folder.path()).await?;
        let wanted = Wanted::default();
        let access = wanted.create(&vault.admin(), folder.path()).await?;
        let token = folder.path().join("admin-token");
        kms_harness::secret_file::write(&token, vault.admin().token())?;
        Ok(Self {
            vault,
            access,
            folder,
        })
    }

    pub fn address(&self) -> String {
        self.vault.addresses()[0].clone()
    }

    pub fn admin_token(&self) -> PathBuf {
        self.folder.path().join("admin-token")
    }

    /// Where the doctor looks for this Vault, with an administrator's and the plugin's token.
    pub fn look(&self) -> Vec<String> {
        let shown = |path: &Path| path.display().to_string();
        vec![
            "--vault".into(),
            self.address(),
            "--vault-token-path".into(),
            shown(&self.admin_token()),
            "--plugin-token-path".into(),
            shown(&self.access.token_file),
        ]
    }

    pub async fn doctor(&self, more: &[String]) -> Result<Said> {
        let mut args = vec!["doctor".to_owned()];
        args.extend(self.look());
        args.extend(more.iter().cloned());
        say(args).await
    }

    /// The policy without what is on this path.
    async fn policy_without(&self, word: &str) -> Result<()> {
        let text = Wanted::default().policy_text();
        let kept: String = text
            .split_inclusive("}\n")
            .filter(|rule| !rule.contains(word))
            .collect();
        let path = format!("sys/policies/acl/{}", self.access.policy);
        self.vault
            .admin()
            .write(&path, json!({"policy": kept}))
            .await
            .map(drop)
    }

    /// Takes back what can be taken back.
    #[cfg(feature = "kube")]
    pub async fn mend(&mut self, fault: Fault) -> Result<()> {
        let admin = self.vault.admin();
        match fault {
            Fault::NoEncrypt | Fault::NoDecrypt | Fault::NoKeyRead => {
                let path = format!("sys/policies/acl/{}", self.access.policy);
                let policy = json!({"policy": Wanted::default().policy_text()});
                admin.write(&path, policy).await?;
            }
            Fault::TokenRevoked => {
                self.access.token = self.access.new_token(&admin).await?;
                kms_harness::secret_file::replace(&self.access.token_file, &self.access.token)?;
            }
            Fault::SoftDeleted => {
                let key = format!("{}/keys/{}", self.access.mount, self.access.key);
                admin
                    .write(&format!("{key}/soft-delete-restore"), json!({}))
                    .await?;
            }
            Fault::Sealed => self.vault.unseal().await?,
            Fault::Nothing | Fault::KeyDeleted | Fault::TokenExpired => {
                anyhow::bail!("nothing mends {fault:?}")
            }
        }
        Ok(())
    }

    pub async fn make(&mut self, fault: Fault) -> Result<()> {
        let admin = self.vault.admin();
        let key = format!("{}/keys/{}", self.access.mount, self.access.key);
        match fault {
            Fault::Nothing => {}
            Fault::KeyDeleted => {
                admin
                    .write(&format!("{key}/config"), json!({"deletion_allowed": true}))
                    .await?;
                admin.delete(&key).await?;
            }
            Fault::SoftDeleted => {
                admin.delete(&format!("{key}/soft-delete")).await?;
            }
            Fault::Sealed => self.vault.seal().await?,
            Fault::NoEncrypt => self.policy_without("/encrypt/").await?,
            Fault::NoDecrypt => self.policy_without("/decrypt/").await?,
            Fault::NoKeyRead => self.policy_without("/keys/").await?,
            Fault::TokenRevoked => {
                let body = json!({"token": *self.access.token});
                admin.write("auth/token/revoke", body).await?;
            }
            Fault::TokenExpired => {
                let wanted =
                    json!({"policies": [self.access.policy], "no_parent": true, "ttl": "1s"});
                let made = admin.write("auth/token/create", wanted).await?;
                let token = made["auth"]["client_token"].as_str().context("no token")?;
                std::fs::write(&self.access.token_file, token)?;
                let held = admin.with_token(Zeroizing::new(token.to_owned()));
                let start = Instant::now();
                while held.read("auth/token/lookup-self").await?.status != 403 {
                    anyhow::ensure!(start.elapsed() < ENDS, "the token of 1 s does not end");
                    sleep(Duration::from_millis(200)).await;
                }
            }
        }
        Ok(())
    }
}

/// The fault is made, and exactly it is found.
pub async fn is_found(parts: Parts, fault: Fault) -> Result<()> {
    let mut scene = Scene::new(&parts).await?;
    scene.make(fault).await.context("make the fault")?;
    let said = scene.doctor(&[]).await?;
    said.found(fault.ids())?;
    let rows = said.json["not_looked_for"].as_array().map_or(0, Vec::len);
    anyhow::ensure!(rows > 10, "a Vault alone shows few rows: {}", said.out);
    if fault == Fault::Nothing {
        without_rights(&scene).await?;
    }
    Ok(())
}

/// With less than that it says what it needs, and works with what is left.
async fn without_rights(scene: &Scene) -> Result<()> {
    let address = scene.address();
    let said = say(["doctor", "--vault", &address]).await?;
    said.found(&[])?;
    anyhow::ensure!(
        said.err.contains("read on transit/keys/kms-key") && said.err.contains("VAULT_TOKEN"),
        "{}",
        said.err
    );
    let blind: Vec<&Value> = said.json["not_seen"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    anyhow::ensure!(
        blind.iter().any(|it| it["what"] == "vault/key"),
        "{blind:?}"
    );
    // nobody is there at all
    let said = say(["doctor", "--vault", "http://127.0.0.1:9"]).await?;
    anyhow::ensure!(said.code == Some(3), "{:?} {}", said.code, said.out);
    for (args, word) in [
        (vec!["doctor"], "say where to look"),
        (vec!["doctor", "--vault", "127.0.0.1"], "--vault"),
        (
            vec![
                "doctor",
                "--vault",
                address.as_str(),
                "--vault-key",
                "kms-key",
            ],
            "MOUNT/keys/NAME",
        ),
        (vec!["doctor", "--bundle", "/nowhere"], "/nowhere"),
    ] {
        let said = say(args).await?;
        anyhow::ensure!(
            said.code == Some(2) && said.err.contains(word),
            "{word}: {:?} {}",
            said.code,
            said.err
        );
    }
    Ok(())
}
