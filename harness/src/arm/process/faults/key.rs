//! What happens to the Transit key.

use std::sync::Arc;

use anyhow::{Result, bail};
use http::Method;
use kms_scenario::fault::Fault;
use kms_scenario::world::Order;
use serde_json::{Value, json};

use super::{Active, asked};
use crate::arm::process::world::Inner;

/// Makes it.
pub async fn key(world: &Arc<Inner>, order: &Order) -> Result<Active> {
    let vault = world.vault()?;
    let path = vault.key();
    let config = format!("{path}/config");
    let undone = |body: Value| {
        let (world, config) = (Arc::clone(world), config.clone());
        move || async move { world.vault()?.write(&config, body).await.map(drop) }
    };
    match &order.fault {
        Fault::VaultRotate(times) => {
            for _ in 0..*times {
                vault.write(&format!("{path}/rotate"), Value::Null).await?;
            }
            Ok(Active::once(u64::from(*times)))
        }
        Fault::VaultRotateAtOnce => Ok(Active::once(vault.rotate_at_once().await?)),
        Fault::VaultDeleteKey => {
            vault.delete_key().await?;
            Ok(Active::once(1))
        }
        Fault::VaultRecreateKey => {
            vault.delete_key().await?;
            vault.make_key().await?;
            Ok(Active::once(1))
        }
        Fault::VaultSoftDelete => {
            let soft = format!("{path}/soft-delete");
            vault.call(Method::DELETE, &soft, Value::Null).await?;
            let restore = format!("{soft}-restore");
            let again = Arc::clone(world);
            Ok(Active::lasting(asked(world), move || async move {
                again.vault()?.write(&restore, Value::Null).await.map(drop)
            }))
        }
        Fault::VaultMinDecryptionVersion(version) => {
            let version = match version {
                Some(version) => u64::from(*version),
                None => vault.latest_version().await?,
            };
            let raised = json!({"min_decryption_version": version});
            vault.write(&config, raised).await?;
            let undo = undone(json!({"min_decryption_version": 1}));
            Ok(Active::lasting(asked(world), undo))
        }
        Fault::VaultMinEncryptionVersion(version) => {
            let set = json!({"min_encryption_version": version});
            vault.write(&config, set).await?;
            let undo = undone(json!({"min_encryption_version": 0}));
            Ok(Active::lasting(asked(world), undo))
        }
        Fault::VaultTrim(version) => {
            let version = match version {
                Some(version) => u64::from(*version),
                None => vault.latest_version().await?,
            };
            let floors =
                json!({"min_decryption_version": version, "min_encryption_version": version});
            vault.write(&config, floors).await?;
            let trim = json!({"min_available_version": version});
            vault.write(&format!("{path}/trim"), trim).await?;
            Ok(Active::once(1))
        }
        other => bail!("{} is nothing that happens to a key", other.kind()),
    }
}
