//! Ways to log in and to begin that the operators' procedure does not have: a JWT, a client
//! certificate, a cluster taken over from the community plugin.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kms_harness::secret_file;
use kms_harness::subject::own::{self, Vocabulary};
use kms_harness::subject::running::Running;
use kms_harness::subject::values;
use kms_harness::vault::Breakable;
use kms_harness::vault::provision::{Access, Wanted};
use kms_v2_api::EncryptResponse;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::kind::Setup;
use super::world::Parts;
use crate::common::kms::{Kms, Sealed};

/// The plugin's own test data: a signer's key and JWTs of it.
const JWT: &str = include_str!("../../../plugin/tests/data/jwt.json");
/// A start with good credentials is good within this.
const START: Duration = Duration::from_secs(30);

/// A Vault with a key and a policy. Fields are dropped in this order.
pub struct Scene {
    pub vault: Box<dyn Breakable>,
    pub access: Access,
    pub folder: TempDir,
}

impl Scene {
    pub async fn new(parts: &Parts, setup: Setup) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("kms-").tempdir()?;
        let vault = parts.place.start(setup, folder.path()).await?;
        let wanted = Wanted::default();
        let access = wanted.create(&vault.admin(), folder.path()).await?;
        Ok(Self {
            vault,
            access,
            folder,
        })
    }

    pub fn file(&self, name: &str, content: &str) -> Result<String> {
        let path = self.folder.path().join(name);
        secret_file::write(&path, content)?;
        Ok(path.display().to_string())
    }

    /// What a role of any method gives.
    fn role(&self, own: Value) -> Value {
        let mut role = json!({
            "token_policies": [self.access.policy],
            "token_no_default_policy": true,
            "token_ttl": "1h",
        });
        for (name, value) in own.as_object().into_iter().flatten() {
            role[name] = value.clone();
        }
        role
    }

    /// Starts the plugin with other words for its login, and waits until Status is good.
    async fn start(&self, parts: &Parts, login: &[String]) -> Result<(Running, Kms)> {
        let values = values(self.vault.as_ref(), &self.access, self.folder.path());
        let mut subject = own::describe(&parts.plugin, Vocabulary::StaticToken, &values);
        let replaces = login.iter().any(|word| word.starts_with("-auth-method="));
        if replaces {
            subject.command.retain(|word| {
                let word = word.source();
                !word.starts_with("-auth-method=") && !word.starts_with("-token-path=")
            });
        }
        for word in login
            .iter()
            .map(String::as_str)
            .chain(["-health-port=0", "-metrics-port=0"])
        {
            subject.command.push(word.parse().context("a word")?);
        }
        let log = self.folder.path().join("plugin.log");
        let plugin = Running::start(subject, values, log).await?;
        let kms = Kms::connect(plugin.socket()).await?;
        kms.wait_good(START).await?;
        Ok((plugin, kms))
    }
}

/// Vault has the issuer's key and asks nobody.
pub async fn jwt(parts: Parts) -> Result<()> {
    let scene = Scene::new(&parts, Setup::Dev).await?;
    let admin = scene.vault.admin();
    let data: Value = serde_json::from_str(JWT)?;
    let key = &data["public_key"];
    admin.write("sys/auth/jwt", json!({"type": "jwt"})).await?;
    admin
        .write("auth/jwt/config", json!({"jwt_validation_pubkeys": [key]}))
        .await?;
    let own = json!({"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"]});
    admin.write("auth/jwt/role/kms", scene.role(own)).await?;
    let jwt = data["jwts"][0].as_str().context("no JWT")?;
    let login = [
        "-auth-method=jwt".to_owned(),
        format!("-jwt-path={}", scene.file("jwt", jwt)?),
        "-jwt-role=kms".to_owned(),
    ];
    let (_plugin, kms) = scene.start(&parts, &login).await?;
    kms.round_trip(&[1; 32]).await?;
    Ok(())
}

/// By the certificate of the TLS connection.
pub async fn certificate(parts: Parts) -> Result<()> {
    let scene = Scene::new(&parts, Setup::Raft(1)).await?;
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let mut client = CertificateParams::default();
    client.distinguished_name.push(DnType::CommonName, "kms");
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate()?;
    let client = client.signed_by(&key, &authority)?;
    let admin = scene.vault.admin();
    admin
        .write("sys/auth/cert", json!({"type": "cert"}))
        .await?;
    let own = json!({"certificate": authority.pem(), "allowed_common_names": ["kms"]});
    admin.write("auth/cert/certs/kms", scene.role(own)).await?;
    let login = [
        "-auth-method=cert".to_owned(),
        format!(
            "-tls-client-cert={}",
            scene.file("client.pem", &client.pem())?
        ),
        format!(
            "-tls-client-key={}",
            scene.file("client.key", &key.serialize_pem())?
        ),
    ];
    let (_plugin, kms) = scene.start(&parts, &login).await?;
    kms.round_trip(&[1; 32]).await?;
    Ok(())
}

/// From the community plugin's values to bound ones, with a way back in between.
pub async fn taking_over(parts: Parts) -> Result<()> {
    let scene = Scene::new(&parts, Setup::Dev).await?;
    let admin = scene.vault.admin();
    let old = admin
        .write("transit/encrypt/kms-key", json!({"plaintext": "AAAA"}))
        .await?;
    let old = Sealed {
        plaintext: vec![0; 3],
        answer: EncryptResponse {
            ciphertext: text(&old["data"]["ciphertext"])?.into(),
            key_id: "1".to_owned(),
            annotations: [].into(),
        },
    };

    let (mut plugin, kms) = scene
        .start(&parts, &["-adopt=community".to_owned()])
        .await?;
    kms.opens(&old).await.context("the other plugin's value")?;
    let first = kms.round_trip(&[1; 32]).await?;
    let by_the_other = json!({"ciphertext": std::str::from_utf8(&first.answer.ciphertext)?});
    admin
        .write("transit/decrypt/kms-key", by_the_other)
        .await
        .context("the way back")?;
    plugin.stop().await?;

    let last_phase = ["-adopt=community,final".to_owned()];
    let (mut plugin, kms) = scene.start(&parts, &last_phase).await?;
    kms.opens(&old).await.context("the other plugin's value")?;
    kms.opens(&first).await.context("of the first phase")?;
    let last = kms.round_trip(&[2; 32]).await?;
    ensure!(
        last.answer.key_id != first.answer.key_id,
        "each phase has a key_id of its own"
    );
    plugin.stop().await?;

    let (_plugin, kms) = scene.start(&parts, &[]).await?;
    kms.opens(&last).await.context("bound")?;
    ensure!(kms.status().await?.key_id == last.answer.key_id);
    for over in [old, first] {
        ensure!(kms.decrypt(&over).await.is_err(), "read without -adopt");
    }
    Ok(())
}

fn text(value: &Value) -> Result<String> {
    Ok(value.as_str().context("no text")?.to_owned())
}
