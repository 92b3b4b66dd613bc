//! A Vault that somebody else runs, at an address, with an administrator's token.
//!
//! A run works in mounts of its own with a random suffix and takes them away again.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use zeroize::Zeroizing;

use super::admin::Admin;
use super::{Product, VaultBackend};

/// What the token must be allowed to do, for messages.
pub const RIGHTS: &str = "create, update, read and delete on sys/mounts/*, sys/auth/*, sys/policies/acl/*, auth/* and the new Transit mount";

/// Somebody else's Vault.
#[derive(Debug)]
pub struct External {
    product: Product,
    addresses: Vec<String>,
    ca: Option<PathBuf>,
    admin: Admin,
}

impl External {
    /// Looks at the Vault at the first of `addresses` with an administrator's token; the others are
    /// more of its nodes.
    pub async fn connect(
        addresses: &[String],
        ca: Option<PathBuf>,
        token: Zeroizing<String>,
    ) -> Result<Self> {
        let address = addresses.first().context("no address of Vault was given")?;
        let admin = Admin::new(address, ca.as_deref(), token)?;
        let health = admin.read("sys/seal-status").await?.ok()?;
        if health["sealed"] == Value::Bool(true) {
            bail!("the Vault at {address} is sealed");
        }
        admin
            .read("auth/token/lookup-self")
            .await?
            .ok()
            .with_context(|| {
                format!("the administrator's token is not accepted; it needs {RIGHTS}")
            })?;
        let version = health["version"].as_str().unwrap_or("unknown").to_owned();
        Ok(Self {
            product: Product {
                name: name(&health).to_owned(),
                version,
            },
            addresses: addresses.to_vec(),
            ca,
            admin,
        })
    }
}

/// The two products tell themselves apart by the date that they show.
fn name(seal_status: &Value) -> &'static str {
    match (
        seal_status.get("commit_date"),
        seal_status.get("build_date"),
    ) {
        (Some(_), None) => "openbao",
        (None, Some(_)) => "vault",
        _ => "vault or openbao",
    }
}

impl VaultBackend for External {
    fn product(&self) -> &Product {
        &self.product
    }

    fn addresses(&self) -> Vec<String> {
        self.addresses.clone()
    }

    fn ca(&self) -> Option<&Path> {
        self.ca.as_deref()
    }

    fn admin(&self) -> Admin {
        self.admin.clone()
    }
}
