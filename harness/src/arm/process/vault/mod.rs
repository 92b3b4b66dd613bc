//! The Vault of a run: started, set up for the plugins as the scenario wants it, and what can be done to it.

pub mod make;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use http::Method;
use kms_scenario::fault::Right;
use kms_scenario::world::{Auth, VaultSpec};
use serde_json::{Value, json};
use sim_vault::SimVault;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinSet;
use tokio::time::sleep;
use zeroize::Zeroizing;

use self::make::{Make, Ours, Place};
use crate::secret_file;
use crate::subject::file::Values;
use crate::subject::values;
use crate::vault::Product;
use crate::vault::admin::Admin;
use crate::vault::provision::{Access, Wanted};

/// The role of the plugins, as [`Wanted`] names it.
const ROLE: &str = "kms-plugin";

/// What OpenBao says to a rotation that collided with another one.
const COLLIDED: &str = "transaction commit failed";
/// So often rotations are made to collide; one or two times are enough where they can.
const COLLISIONS_TRIED: u64 = 30;

/// How long other clients wait for an answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long they wait between two calls.
const ASKED_EVERY: Duration = Duration::from_millis(100);

/// Why nothing is done to somebody else's Vault that others would feel.
pub const THEIRS: &str = "somebody else's Vault is not ours to break";

/// A Vault that runs, and the plugins' place in it.
pub struct Vault {
    /// Its models, where it is simulated.
    pub models: Vec<SimVault>,
    /// The plugins' place.
    pub access: Access,
    ours: Option<Mutex<Ours>>,
    values: Values,
    addresses: Vec<String>,
    ca: Option<PathBuf>,
    product: Product,
    admin: Admin,
    wanted: Wanted,
    spec: VaultSpec,
}

impl Vault {
    /// Starts it and sets it up. With `stored` it is a server that keeps what it knows over a restart.
    ///
    /// # Errors
    /// It does not start, or cannot be set up so.
    pub async fn start(
        make: &Make,
        spec: &VaultSpec,
        stored: bool,
        seed: u64,
        folder: &Path,
    ) -> Result<Self> {
        let (place, models) = make.start(spec, stored, seed, folder).await?;
        let theirs = matches!(place, Place::Theirs(_));
        let aside = if theirs {
            Wanted::aside()
        } else {
            Wanted::default()
        };
        let wanted = Wanted {
            token_ttl: seconds(spec.token_ttl),
            token_max_ttl: seconds(spec.token_max_ttl),
            ..aside
        };
        let backend = place.backend();
        let admin = backend.admin();
        let access = wanted.create(&admin, folder).await?;
        let vault = Self {
            addresses: backend.addresses(),
            ca: backend.ca().map(Path::to_owned),
            product: backend.product().clone(),
            values: values(backend, &access, folder),
            ours: place.ours().map(Mutex::new),
            models,
            access,
            admin,
            wanted,
            spec: spec.clone(),
        };
        let finished = vault.finish().await;
        if finished.is_err() {
            // The first error is the one to tell.
            let _ = vault.leave().await;
        }
        finished.map(|()| vault)
    }

    /// What can be broken of it.
    ///
    /// # Errors
    /// It is somebody else's.
    pub async fn ours(&self) -> Result<MutexGuard<'_, Ours>> {
        match &self.ours {
            Some(server) => Ok(server.lock().await),
            None => bail!("{THEIRS}"),
        }
    }

    /// Gives somebody else's Vault back as it was.
    ///
    /// # Errors
    /// Something of ours could not be taken away.
    pub async fn leave(&self) -> Result<()> {
        // what is made aside of others' has a suffix
        if self.wanted.suffix.is_empty() {
            Ok(())
        } else {
            self.wanted.remove(&self.admin).await
        }
    }

    /// What a plain set-up does not have.
    async fn finish(&self) -> Result<()> {
        let key = format!("{}/keys/{}", self.access.mount, self.access.key);
        if self.spec.key_type != "aes256-gcm96" {
            self.admin
                .write(&format!("{key}/config"), json!({"deletion_allowed": true}))
                .await?;
            self.admin.delete(&key).await?;
            self.admin
                .write(&key, json!({"type": self.spec.key_type}))
                .await?;
        }
        self.set_policy(&[]).await?;
        if self.spec.batch {
            let batch = json!({"token_type": "batch"});
            self.admin.write(&self.role(), batch.clone()).await?;
            let user = format!("auth/{}/users/{ROLE}", self.access.userpass_mount);
            self.admin.write(&user, batch).await?;
        }
        Ok(())
    }

    /// What it is.
    #[must_use]
    pub fn product(&self) -> &Product {
        &self.product
    }

    /// The addresses of its nodes, `http[s]://host:port`.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// What can be filled into a plugin's command, but for what its node has of its own.
    pub fn values(&self, folder: &Path) -> Values {
        let mut values = self.values.clone();
        values.insert("folder", folder.display().to_string());
        values
    }

    /// What its certificates are verified by.
    #[must_use]
    pub fn ca(&self) -> Option<&Path> {
        self.ca.as_deref()
    }

    /// Lets standbys of a simulated one answer from data so old.
    pub fn set_lag(&self, lag: Duration) {
        for model in &self.models {
            model.set_node(|node| node.lag = lag);
        }
    }

    /// One call as the administrator, past every fault on requests of a simulated one.
    ///
    /// # Errors
    /// No answer, or one that is not 2xx.
    pub async fn call(&self, method: Method, path: &str, body: Value) -> Result<Value> {
        if let Some(model) = self.models.first() {
            let (status, body) = model.admin(method.as_str(), &format!("/v1/{path}"), &body);
            ensure!(
                (200..300).contains(&status),
                "{method} {path} answered {status}: {}",
                body["errors"]
            );
            return Ok(body);
        }
        self.admin.call(method, path, body).await?.ok()
    }

    /// Others who ask each node, as a cluster has them, until the set is dropped.
    ///
    /// # Errors
    /// An address or the CA file cannot be read.
    pub fn other_clients(&self) -> Result<JoinSet<()>> {
        let mut clients = JoinSet::new();
        for address in &self.addresses {
            let token = Zeroizing::new(self.admin.token().to_owned());
            let admin = Admin::new(address, self.ca(), token)?.patient(PATIENCE);
            let path = self.key();
            clients.spawn(async move {
                loop {
                    // Whatever is answered: they ask on.
                    let _ = admin.read(&path).await;
                    sleep(ASKED_EVERY).await;
                }
            });
        }
        Ok(clients)
    }

    /// `POST`, as the administrator.
    ///
    /// # Errors
    /// As [`Vault::call`].
    pub async fn write(&self, path: &str, body: Value) -> Result<Value> {
        self.call(Method::POST, path, body).await
    }

    /// The Transit key's path.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}/keys/{}", self.access.mount, self.access.key)
    }

    /// The newest version of the Transit key.
    ///
    /// # Errors
    /// As [`Vault::call`], or there is no such key.
    pub async fn latest_version(&self) -> Result<u64> {
        let key = self.call(Method::GET, &self.key(), Value::Null).await?;
        key.pointer("/data/latest_version")
            .and_then(Value::as_u64)
            .context("the Transit key has no latest_version")
    }

    /// Rotates the key several times at one moment, until the server uses a version of which no rotation said that it was
    /// made; how often that was tried. A server that bears it is asked some dozens of times.
    ///
    /// # Errors
    /// As [`Vault::call`], for another reason than a collision.
    pub async fn rotate_at_once(&self) -> Result<u64> {
        if let Some(model) = self.models.first() {
            let Access { mount, key, .. } = &self.access;
            return Ok(u64::from(
                model.core(|core| core.collide_rotation(mount, key)),
            ));
        }
        let path = format!("{}/rotate", self.key());
        let rotate = || self.admin.call(Method::POST, &path, Value::Null);
        for tried in 1..=COLLISIONS_TRIED {
            let (one, two, three) = tokio::join!(rotate(), rotate(), rotate());
            let mut made = None;
            for answer in [one?, two?, three?] {
                match answer.ok() {
                    Ok(body) => {
                        let version = body.pointer("/data/latest_version");
                        made = made.max(version.and_then(Value::as_u64));
                    }
                    Err(refused) if refused.to_string().contains(COLLIDED) => {}
                    Err(other) => return Err(other),
                }
            }
            if self.latest_version().await? > made.unwrap_or_default() {
                return Ok(tried);
            }
        }
        Ok(COLLISIONS_TRIED)
    }

    /// Makes the Transit key, as it was at first.
    ///
    /// # Errors
    /// As [`Vault::call`].
    pub async fn make_key(&self) -> Result<()> {
        let kind = json!({"type": self.spec.key_type});
        self.write(&self.key(), kind).await.map(drop)
    }

    /// Deletes the Transit key for good.
    ///
    /// # Errors
    /// As [`Vault::call`].
    pub async fn delete_key(&self) -> Result<()> {
        let allowed = json!({"deletion_allowed": true});
        self.write(&format!("{}/config", self.key()), allowed)
            .await?;
        let deleted = self.call(Method::DELETE, &self.key(), Value::Null).await;
        deleted.map(drop)
    }

    /// Writes the plugins' policy without these rights, and without those that the scenario leaves out anyway.
    ///
    /// # Errors
    /// As [`Vault::call`].
    pub async fn set_policy(&self, without: &[Right]) -> Result<()> {
        let Access { mount, key, .. } = &self.access;
        let rules = [
            (Right::Encrypt, format!("{mount}/encrypt/{key}"), "update"),
            (Right::Decrypt, format!("{mount}/decrypt/{key}"), "update"),
            (Right::KeyRead, format!("{mount}/keys/{key}"), "read"),
            (Right::Lookup, "auth/token/lookup-self".to_owned(), "read"),
            (Right::Renew, "auth/token/renew-self".to_owned(), "update"),
        ];
        let left = rules
            .iter()
            .filter(|(right, ..)| !without.contains(right) && !self.spec.without.contains(right));
        let text: String = left
            .map(|(_, path, may)| format!("path \"{path}\" {{\n  capabilities = [\"{may}\"]\n}}\n"))
            .collect();
        let policy = format!("sys/policies/acl/{}", self.access.policy);
        // One without any rule is refused.
        let text = if text.is_empty() {
            "path \"nothing\" {\n  capabilities = [\"deny\"]\n}\n".to_owned()
        } else {
            text
        };
        self.write(&policy, json!({"policy": text})).await.map(drop)
    }

    /// Revokes every token of the plugins' policy; how many.
    ///
    /// # Errors
    /// As [`Vault::call`].
    pub async fn revoke_tokens(&self) -> Result<u64> {
        let list = Method::from_bytes(b"LIST").expect("a method");
        let all = self.call(list, "auth/token/accessors", Value::Null).await?;
        let accessors = all.pointer("/data/keys").and_then(Value::as_array);
        let mut revoked = 0;
        for accessor in accessors.into_iter().flatten() {
            let body = json!({"accessor": accessor});
            // One that ends just now is unknown.
            let Ok(token) = self.write("auth/token/lookup-accessor", body.clone()).await else {
                continue;
            };
            let policies = token.pointer("/data/policies").and_then(Value::as_array);
            if policies.is_some_and(|all| all.iter().any(|one| *one == self.access.policy)) {
                self.write("auth/token/revoke-accessor", body).await?;
                revoked += 1;
            }
        }
        Ok(revoked)
    }

    /// A plugin's credentials in files of its own, and the words for its command line.
    ///
    /// # Errors
    /// As [`Vault::call`], or the files cannot be written.
    pub async fn credentials(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let file = match self.spec.auth {
            Auth::Approle => {
                let mut limits = json!({});
                if self.spec.secret_id_uses > 0 {
                    limits["num_uses"] = json!(self.spec.secret_id_uses);
                }
                if let Some(ttl) = self.spec.secret_id_ttl {
                    limits["ttl"] = json!(seconds(ttl));
                }
                let path = format!("{}/secret-id", self.role());
                let answer = self.write(&path, limits).await?;
                let secret = answer.pointer("/data/secret_id").and_then(Value::as_str);
                let file = folder.join("secret-id");
                secret_file::replace(&file, secret.context("the answer has no secret_id")?)?;
                file
            }
            Auth::Userpass => {
                let file = folder.join("password");
                secret_file::replace(&file, &self.access.password)?;
                file
            }
            Auth::Token => {
                let wanted = json!({
                    "policies": [self.access.policy],
                    "no_default_policy": true,
                    "no_parent": true,
                    "ttl": seconds(self.spec.token_ttl),
                    "explicit_max_ttl": seconds(self.spec.token_max_ttl),
                });
                let answer = self.write("auth/token/create", wanted).await?;
                let token = answer.pointer("/auth/client_token").and_then(Value::as_str);
                let file = folder.join("token");
                secret_file::replace(&file, token.context("the answer has no token")?)?;
                file
            }
        };
        Ok(vec![file])
    }

    /// Where the plugins log in: the path's beginning below `/v1/`.
    #[must_use]
    pub fn auth_mount(&self) -> String {
        match self.spec.auth {
            Auth::Approle => format!("auth/{}", self.access.approle_mount),
            Auth::Userpass => format!("auth/{}", self.access.userpass_mount),
            Auth::Token => "auth/token".to_owned(),
        }
    }

    /// Has logins refused as those with wrong credentials are, or accepted again.
    ///
    /// # Errors
    /// As [`Vault::call`], or the scenario's plugins do not log in.
    pub async fn refuse_logins(&self, refuse: bool) -> Result<()> {
        match self.spec.auth {
            Auth::Approle => {
                let other = "another-role-id".to_owned();
                let id = if refuse { &other } else { &self.access.role_id };
                self.write(&format!("{}/role-id", self.role()), json!({"role_id": id}))
                    .await
                    .map(drop)
            }
            Auth::Userpass => {
                let other = "another-password".to_owned();
                let password = if refuse {
                    &other
                } else {
                    &*self.access.password
                };
                let path = format!("auth/{}/users/{ROLE}/password", self.access.userpass_mount);
                self.write(&path, json!({"password": password}))
                    .await
                    .map(drop)
            }
            Auth::Token => bail!("plugins with a token do not log in"),
        }
    }

    /// Disables the plugins' auth method.
    ///
    /// # Errors
    /// As [`Vault::call`], or it is the token method.
    pub async fn disable_auth(&self) -> Result<()> {
        ensure!(
            self.spec.auth != Auth::Token,
            "the token method cannot be disabled"
        );
        let path = format!("sys/{}", self.auth_mount());
        self.call(Method::DELETE, &path, Value::Null)
            .await
            .map(drop)
    }

    /// Enables it again, with the same role and the credentials in these files.
    ///
    /// # Errors
    /// As [`Vault::call`], or a file cannot be read.
    pub async fn enable_auth(&self, files: &[PathBuf]) -> Result<()> {
        let mut tokens = json!({
            "token_policies": [self.access.policy],
            "token_no_default_policy": true,
            "token_ttl": self.wanted.token_ttl,
            "token_max_ttl": self.wanted.token_max_ttl,
            "token_type": if self.spec.batch { "batch" } else { "default" },
        });
        let enable = format!("sys/{}", self.auth_mount());
        if self.spec.auth == Auth::Userpass {
            self.write(&enable, json!({"type": "userpass"})).await?;
            tokens["password"] = json!(*self.access.password);
            let user = format!("auth/{}/users/{ROLE}", self.access.userpass_mount);
            return self.write(&user, tokens).await.map(drop);
        }
        self.write(&enable, json!({"type": "approle"})).await?;
        self.write(&self.role(), tokens).await?;
        self.refuse_logins(false).await?;
        for file in files {
            let secret = std::fs::read_to_string(file)
                .with_context(|| format!("read {}", file.display()))?;
            let path = format!("{}/custom-secret-id", self.role());
            self.write(&path, json!({"secret_id": secret})).await?;
        }
        Ok(())
    }

    fn role(&self) -> String {
        format!("auth/{}/role/{ROLE}", self.access.approle_mount)
    }
}

/// Vault's form of a duration, in whole seconds, at least one.
fn seconds(time: Duration) -> String {
    format!("{}s", time.as_secs_f64().ceil().max(1.0))
}
