//! A Vault that somebody else runs, at an address, with an administrator's token.
//!
//! A run works in mounts of its own with a random suffix and takes them away again.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use zeroize::Zeroizing;

use super::admin::Admin;
use super::{Product, VaultBackend, family};

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
        let seal_status = admin.read("sys/seal-status").await?.ok()?;
        if seal_status["sealed"] == Value::Bool(true) {
            bail!("the Vault at {address} is sealed");
        }
        admin
            .read("auth/token/lookup-self")
            .await?
            .ok()
            .with_context(|| {
                format!("the administrator's token is not accepted; it needs {RIGHTS}")
            })?;
        Ok(Self {
            product: family::product(&seal_status),
            addresses: addresses.to_vec(),
            ca,
            admin,
        })
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
