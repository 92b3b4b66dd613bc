//! What a plugin needs in a Vault: a Transit key, a policy, and credentials of each kind.
//!
//! It is set up as the operators' procedure says: exactly the four policy paths of that page, and
//! tokens without the `default` policy, so a plugin that leans on more is found out.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::admin::Admin;
use crate::secret_file;

/// User, role and policy name.
const WHO: &str = "kms-plugin";

/// What to set up.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Path of the Transit mount, made if it is not there.
    pub mount: String,
    /// Name of the Transit key, made.
    pub key: String,
    /// Auth mounts are made at `approle-SUFFIX` and `userpass-SUFFIX`, the policy is named so, too;
    /// empty for the plain names.
    pub suffix: String,
    /// Whether the policy has the page's rule for `auth/token/lookup-self`.
    pub lookup_self: bool,
    /// Time to live of tokens that a login gives, such as `1h` or `3s`.
    pub token_ttl: String,
    /// Their longest life.
    pub token_max_ttl: String,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            mount: "transit".to_owned(),
            key: "kms-key".to_owned(),
            suffix: String::new(),
            lookup_self: true,
            token_ttl: "1h".to_owned(),
            token_max_ttl: "24h".to_owned(),
        }
    }
}

/// What was set up: places, and files that hold the credentials.
pub struct Access {
    /// Path of the Transit mount.
    pub mount: String,
    /// Name of the Transit key.
    pub key: String,
    /// Mount of the AppRole method below `auth/`.
    pub approle_mount: String,
    /// Mount of the userpass method below `auth/`.
    pub userpass_mount: String,
    /// Name of the policy.
    pub policy: String,
    /// A token that the policy is attached to.
    pub token: Zeroizing<String>,
    /// File with it.
    pub token_file: PathBuf,
    /// The role id: no secret by itself, and on OpenShift's command line.
    pub role_id: String,
    /// File with it.
    pub role_id_file: PathBuf,
    /// The secret id.
    pub secret_id: Zeroizing<String>,
    /// File with it.
    pub secret_id_file: PathBuf,
    /// User name.
    pub username: String,
    /// The password.
    pub password: Zeroizing<String>,
    /// File with it.
    pub password_file: PathBuf,
}

impl Wanted {
    /// Mounts of a random name, for a Vault that others use, too.
    pub fn aside() -> Self {
        let random = uuid::Uuid::new_v4().simple().to_string();
        let suffix = format!("kms-harness-{}", &random[..8]);
        Self {
            mount: format!("transit-{suffix}"),
            suffix,
            ..Self::default()
        }
    }

    /// Sets it up; credentials go into files in `folder`.
    pub async fn create(&self, admin: &Admin, folder: &Path) -> Result<Access> {
        let access = Access {
            mount: self.mount.clone(),
            key: self.key.clone(),
            approle_mount: self.named("approle"),
            userpass_mount: self.named("userpass"),
            policy: self.named(WHO),
            token: Zeroizing::default(),
            token_file: folder.join("token"),
            role_id: String::new(),
            role_id_file: folder.join("role-id"),
            secret_id: Zeroizing::default(),
            secret_id_file: folder.join("secret-id"),
            username: WHO.to_owned(),
            password: Zeroizing::new(format!("pw-{}", uuid::Uuid::new_v4().simple())),
            password_file: folder.join("password"),
        };
        let filled = self.fill(admin, access).await;
        if filled.is_err() && !self.suffix.is_empty() {
            // Somebody else's Vault: half a set-up is not left there. The first error is the one to tell.
            let _ = self.remove(admin).await;
        }
        filled.context("set up Vault for the plugin")
    }

    /// Takes away what [`Wanted::create`] made; what is not there is an error, and the rest goes.
    pub async fn remove(&self, admin: &Admin) -> Result<()> {
        let paths = [
            format!("sys/auth/{}", self.named("approle")),
            format!("sys/auth/{}", self.named("userpass")),
            format!("sys/policies/acl/{}", self.named(WHO)),
            format!("sys/mounts/{}", self.mount),
        ];
        let mut done = Ok(());
        for path in paths {
            let deleted = admin.delete(&path).await.map(drop);
            done = done.and(deleted);
        }
        done.context("clean Vault up after the run")
    }

    fn named(&self, plain: &str) -> String {
        match self.suffix.as_str() {
            "" => plain.to_owned(),
            suffix => format!("{plain}-{suffix}"),
        }
    }

    async fn fill(&self, admin: &Admin, mut access: Access) -> Result<Access> {
        let Access {
            mount, key, policy, ..
        } = &access;
        admin
            .write(&format!("sys/mounts/{mount}"), json!({"type": "transit"}))
            .await?;
        admin
            .write(
                &format!("{mount}/keys/{key}"),
                json!({"type": "aes256-gcm96"}),
            )
            .await?;
        admin
            .write(
                &format!("sys/policies/acl/{policy}"),
                json!({"policy": self.policy_text()}),
            )
            .await?;
        let tokens = json!({
            "token_policies": [policy],
            "token_no_default_policy": true,
            "token_ttl": self.token_ttl,
            "token_max_ttl": self.token_max_ttl,
        });

        let role = format!("auth/{}/role/{WHO}", access.approle_mount);
        admin
            .write(
                &format!("sys/auth/{}", access.approle_mount),
                json!({"type": "approle"}),
            )
            .await?;
        admin.write(&role, tokens.clone()).await?;
        let role_id = admin.read(&format!("{role}/role-id")).await?.ok()?;
        access.role_id = text(&role_id, "/data/role_id")?;
        secret_file::write(&access.role_id_file, &access.role_id)?;
        let secret_id = admin.write(&format!("{role}/secret-id"), json!({})).await?;
        access.secret_id = Zeroizing::new(text(&secret_id, "/data/secret_id")?);
        secret_file::write(&access.secret_id_file, &access.secret_id)?;

        let mut user = tokens;
        user["password"] = json!(*access.password);
        admin
            .write(
                &format!("sys/auth/{}", access.userpass_mount),
                json!({"type": "userpass"}),
            )
            .await?;
        admin
            .write(&format!("auth/{}/users/{WHO}", access.userpass_mount), user)
            .await?;
        secret_file::write(&access.password_file, &access.password)?;

        access.token = access.new_token(admin).await?;
        secret_file::write(&access.token_file, &access.token)?;
        Ok(access)
    }

    /// The policy of the operators' procedure.
    pub fn policy_text(&self) -> String {
        let Self { mount, key, .. } = self;
        let mut rules = vec![
            (format!("{mount}/encrypt/{key}"), "update"),
            (format!("{mount}/decrypt/{key}"), "update"),
            (format!("{mount}/keys/{key}"), "read"),
        ];
        if self.lookup_self {
            rules.push(("auth/token/lookup-self".to_owned(), "read"));
        }
        rules
            .iter()
            .map(|(path, may)| format!("path \"{path}\" {{\n  capabilities = [\"{may}\"]\n}}\n"))
            .collect()
    }
}

impl Access {
    /// The secrets: a plugin's log and a report are searched for them.
    pub fn secrets(&self) -> [&str; 3] {
        [&self.token, &self.secret_id, &self.password]
    }

    /// Another token with the same policy, without the `default` one; no parent, so that it
    /// outlives nobody and nobody outlives it.
    pub async fn new_token(&self, admin: &Admin) -> Result<Zeroizing<String>> {
        let wanted = json!({"policies": [self.policy], "no_default_policy": true, "no_parent": true, "ttl": "24h"});
        let answer = admin.write("auth/token/create", wanted).await?;
        text(&answer, "/auth/client_token").map(Zeroizing::new)
    }

    /// Rotates the Transit key; the new version's number.
    pub async fn rotate(&self, admin: &Admin) -> Result<u64> {
        admin
            .write(
                &format!("{}/keys/{}/rotate", self.mount, self.key),
                Value::Null,
            )
            .await?;
        let key = admin
            .read(&format!("{}/keys/{}", self.mount, self.key))
            .await?
            .ok()?;
        key.pointer("/data/latest_version")
            .and_then(Value::as_u64)
            .context("the key has no latest_version")
    }
}

fn text(answer: &Value, pointer: &str) -> Result<String> {
    answer
        .pointer(pointer)
        .and_then(Value::as_str)
        .map(str::to_owned)
        .with_context(|| format!("the answer has no {pointer}"))
}
