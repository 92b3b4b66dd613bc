//! What undoes a fault, or takes away what a run made: as data, so that it can lie on a disk, and how it is carried out.
//!
//! Each can be carried out more than once, and when nothing of the fault was made. None holds a secret: an unseal key is
//! named by its file.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use http::Method;
use kms_apiserver_api::Method as Verb;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use super::api::Api;
use super::{BESIDE, LABEL, NAMESPACE, lease};
use crate::relay::client::Relay;
use crate::vault::admin::Admin;

/// Limit for Vault to move a mount, or to serve after it was unsealed.
const MOVES: Duration = Duration::from_secs(30);
/// After this a move that was asked for shows.
const STILL_MOVES: Duration = Duration::from_secs(2);
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// One undo. `address` is that of the Vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Undo {
    /// Writes a policy's text.
    Policy {
        /// Of the Vault.
        address: String,
        /// The policy.
        name: String,
        /// What it said before.
        text: String,
    },
    /// Writes a Transit key's floors.
    Floors {
        /// Of the Vault.
        address: String,
        /// The key's path.
        path: String,
        /// `min_decryption_version` before, if that is what was changed.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        decryption: Option<u64>,
        /// `min_encryption_version` before, if that is what was changed.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        encryption: Option<u64>,
    },
    /// Restores a soft-deleted Transit key.
    SoftDeleted {
        /// Of the Vault.
        address: String,
        /// The key's path.
        path: String,
    },
    /// Deletes a rate limit.
    Quota {
        /// Of the Vault.
        address: String,
        /// Its name.
        name: String,
    },
    /// Moves an auth mount back.
    Mount {
        /// Of the Vault.
        address: String,
        /// Where it is.
        from: String,
        /// Where it belongs.
        to: String,
    },
    /// Writes an AppRole's role id, which is no secret.
    RoleId {
        /// Of the Vault.
        address: String,
        /// The role's path.
        path: String,
        /// Its id before.
        id: String,
    },
    /// Unseals Vault.
    Unseal {
        /// Of the Vault.
        address: String,
        /// File with the key.
        key: PathBuf,
    },
    /// Ends every fault of a relay.
    Relay {
        /// Its control address.
        control: String,
        /// File with its token.
        token: PathBuf,
    },
    /// Deletes an object of the cluster.
    Object {
        /// Its path.
        path: String,
    },
    /// Deletes what a run made in the namespaces, and gives its lease back.
    Clear {
        /// The holder of the lease.
        holder: String,
    },
}

/// With what undos are carried out.
#[derive(Clone, Debug)]
pub struct Hands {
    /// The cluster.
    pub api: Api,
    /// The Vault, where there is one.
    pub vault: Option<(String, Admin)>,
}

impl Hands {
    fn vault(&self, address: &str) -> Result<&Admin> {
        match &self.vault {
            Some((own, admin)) if own == address => Ok(admin),
            _ => bail!("this concerns the Vault at {address}: name it by --vault {address}"),
        }
    }
}

impl Undo {
    /// Carries it out.
    ///
    /// # Errors
    /// It could not be done; whether it was done in part is not known, and it can be done again.
    pub async fn carry_out(&self, hands: &Hands) -> Result<()> {
        match self {
            Self::Policy {
                address,
                name,
                text,
            } => {
                let path = format!("sys/policies/acl/{name}");
                let body = json!({"policy": text});
                hands.vault(address)?.write(&path, body).await.map(drop)
            }
            Self::Floors {
                address,
                path,
                decryption,
                encryption,
            } => {
                let mut floors = json!({});
                if let Some(version) = decryption {
                    // A key that was never touched shows 1 or 0; 0 is not taken.
                    floors["min_decryption_version"] = json!((*version).max(1));
                }
                if let Some(version) = encryption {
                    floors["min_encryption_version"] = json!(version);
                }
                let config = format!("{path}/config");
                hands.vault(address)?.write(&config, floors).await.map(drop)
            }
            Self::SoftDeleted { address, path } => {
                let vault = hands.vault(address)?;
                let key = vault.read(path).await?.ok()?;
                if key.pointer("/data/soft_deleted") == Some(&Value::Bool(false)) {
                    return Ok(());
                }
                let restore = format!("{path}/soft-delete-restore");
                vault.write(&restore, Value::Null).await.map(drop)
            }
            Self::Quota { address, name } => {
                let path = format!("sys/quotas/rate-limit/{name}");
                hands.vault(address)?.delete(&path).await.map(drop)
            }
            Self::Mount { address, from, to } => {
                let vault = hands.vault(address)?;
                moved(vault, from, to).await?;
                // A move that was asked for just before a crash may still be on its way.
                sleep(STILL_MOVES).await;
                moved(vault, from, to).await
            }
            Self::RoleId { address, path, id } => {
                let path = format!("{path}/role-id");
                let body = json!({"role_id": id});
                hands.vault(address)?.write(&path, body).await.map(drop)
            }
            Self::Unseal { address, key } => unseal(hands.vault(address)?, key).await,
            Self::Relay { control, token } => Relay::reach(control, token)?.clear().await,
            Self::Object { path } => hands.api.delete(path).await,
            Self::Clear { holder } => clear(&hands.api, holder).await,
        }
    }
}

/// Moves an auth mount, if it is there.
pub(super) async fn moved(vault: &Admin, from: &str, to: &str) -> Result<()> {
    let there = async |place: &str| -> Result<bool> {
        Ok(vault.read(&format!("sys/{place}")).await?.status == 200)
    };
    if there(from).await? {
        let body = json!({"from": from, "to": to});
        vault.write("sys/remount", body).await?;
    }
    let start = Instant::now();
    while there(from).await? || !there(to).await? {
        ensure!(
            start.elapsed() < MOVES,
            "{from} was not moved to {to} within {} s",
            MOVES.as_secs()
        );
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}

async fn unseal(vault: &Admin, key: &PathBuf) -> Result<()> {
    let text = std::fs::read_to_string(key)
        .with_context(|| format!("read the unseal key {}", key.display()))?;
    let text = Zeroizing::new(text);
    let start = Instant::now();
    loop {
        let body = json!({"key": text.trim()});
        let answer = vault.call(Method::PUT, "sys/unseal", body).await?.ok()?;
        if answer["sealed"] == Value::Bool(false) {
            return Ok(());
        }
        ensure!(
            start.elapsed() < MOVES,
            "the Vault is still sealed: {} does not unseal it alone",
            key.display()
        );
        sleep(LOOK_EVERY).await;
    }
}

async fn clear(api: &Api, holder: &str) -> Result<()> {
    let other = lease::holder(api).await?;
    if let Some(other) = other.filter(|other| other != holder) {
        bail!("another run works on this cluster: {other}; its objects are left alone");
    }
    for namespace in [NAMESPACE, BESIDE] {
        for resource in ["secrets", "configmaps"] {
            let path = format!("/api/v1/namespaces/{namespace}/{resource}?labelSelector={LABEL}");
            let answer = api.call(Verb::Delete, &path, None).await?;
            ensure!(
                answer.ok() || answer.code == 404,
                "delete the {resource} of {namespace}: {answer:?}"
            );
        }
    }
    lease::release(api, holder).await
}
