//! What goes wrong in mid-migration, and what is done about it.

use std::time::Duration;

use kms_apiserver_api::Trouble;
use kms_controlplane::plane::COMPONENTS;
use serde::Serialize;
use serde_json::{Value, json};
use sim_vault::{Core, Flavour};

use super::ledger::Ledger;
use crate::options::Words;
use crate::world::World;
use crate::world::vault::{KEY, MOUNT};

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Tokens live 30 s, whatever plugins do to renew them.
    TokenExpiry,
    /// Tokens are revoked.
    TokenRevoked,
    /// The Transit key is deleted; it is made anew and rotated, and what servers still can read is rewritten. On a path
    /// from KMS to KMS it is the key that the path leaves.
    KeyDeleted,
    /// The same, and API servers are restarted before anybody looks.
    KeyDeletedRestarted,
    /// The same; the key is restored from a backup.
    KeyDeletedRestored,
    /// The keys are soft-deleted, and restored.
    KeySoftDeleted,
    /// The keys are rotated.
    KeyRotated,
    /// The keys are rotated, `min_decryption_version` is raised to the new version, and lowered again.
    MinVersionRaised,
    /// The plugins of one node cannot reach Vault.
    NodePartitioned,
    /// No plugin can.
    AllPartitioned,
    /// The plugins of one node are killed, their socket files stay, and they are started again.
    PluginCrashed,
    /// Vault is sealed.
    VaultSealed,
    /// The API servers of one node are restarted.
    ApiserverRestarted,
}

impl Words for Fault {
    const ALL: &'static [(&'static str, Self)] = &[
        ("token-expiry", Self::TokenExpiry),
        ("token-revoked", Self::TokenRevoked),
        ("key-deleted", Self::KeyDeleted),
        ("key-deleted-restarted", Self::KeyDeletedRestarted),
        ("key-deleted-restored", Self::KeyDeletedRestored),
        ("key-soft-deleted", Self::KeySoftDeleted),
        ("key-rotated", Self::KeyRotated),
        ("min-version-raised", Self::MinVersionRaised),
        ("node-partitioned", Self::NodePartitioned),
        ("all-partitioned", Self::AllPartitioned),
        ("plugin-crashed", Self::PluginCrashed),
        ("vault-sealed", Self::VaultSealed),
        ("apiserver-restarted", Self::ApiserverRestarted),
    ];
    const WHAT: &'static str = "fault";
}

/// The life of a token under [`Fault::TokenExpiry`].
const SHORT: Duration = Duration::from_secs(30);

/// After a key was made anew, every plugin has looked at it.
const COMPLAINT: Duration = Duration::from_secs(60);

/// After it was accepted: plugins look at it every few seconds, API servers ask plugins once a minute.
const TAKE_UP: Duration = Duration::from_secs(180);

/// What its remedy needs.
#[derive(Default)]
pub struct Kept {
    vault: Option<Core>,
}

impl Fault {
    /// Whose Vault has it.
    pub fn flavour(self) -> Flavour {
        match self {
            Self::KeySoftDeleted => Flavour::OpenBao,
            _ => Flavour::Vault,
        }
    }

    /// It needs nobody to undo it.
    pub fn passes_by_itself(self) -> bool {
        matches!(
            self,
            Self::TokenRevoked | Self::KeyRotated | Self::ApiserverRestarted
        )
    }

    /// Its remedy is not tried while another fault is in the way: it would take what cannot be read for lost.
    pub fn waits_for_others(self) -> bool {
        matches!(
            self,
            Self::KeyDeleted | Self::KeyDeletedRestarted | Self::KeyDeletedRestored
        )
    }

    /// A node's plugins cannot decrypt while it lasts.
    pub fn bars(self, node: usize, hit: usize) -> bool {
        match self {
            Self::TokenExpiry
            | Self::TokenRevoked
            | Self::KeyRotated
            | Self::ApiserverRestarted => false,
            Self::NodePartitioned | Self::PluginCrashed => node == hit,
            Self::KeyDeleted
            | Self::KeyDeletedRestarted
            | Self::KeyDeletedRestored
            | Self::KeySoftDeleted
            | Self::MinVersionRaised
            | Self::AllPartitioned
            | Self::VaultSealed => true,
        }
    }

    /// Makes it happen, on that node if it is one node's.
    ///
    /// # Errors
    /// Vault refuses what an administrator does.
    pub fn make(self, world: &mut World, node: usize) -> Result<Kept, Trouble> {
        let mut kept = Kept::default();
        match self {
            Self::TokenExpiry => world.vault.end_tokens(Some(SHORT)),
            Self::TokenRevoked => {
                world.vault.sim.revoke_all_tokens_of("userpass");
            }
            Self::KeyDeleted | Self::KeyDeletedRestored => {
                kept.vault = Some(world.vault.snapshot());
                world.vault.sim.delete_key(MOUNT, KEY);
            }
            Self::KeyDeletedRestarted => {
                world.vault.sim.delete_key(MOUNT, KEY);
                for component in 0..COMPONENTS.len() {
                    world.restart(component, None);
                }
            }
            Self::KeySoftDeleted => {
                each_key(world, "DELETE", "/soft-delete", |_| Value::Null)?;
            }
            Self::KeyRotated => each_key(world, "POST", "/rotate", |_| Value::Null)?,
            Self::MinVersionRaised => {
                each_key(world, "POST", "/rotate", |_| Value::Null)?;
                each_key(
                    world,
                    "POST",
                    "/config",
                    |latest| json!({"min_decryption_version": latest}),
                )?;
            }
            Self::NodePartitioned => world.partition(node, true),
            Self::AllPartitioned => {
                for node in 0..world.plan.nodes {
                    world.partition(node, true);
                }
            }
            Self::PluginCrashed => {
                for plugin in world.plugins_on(node) {
                    plugin.kill();
                    plugin.crashes = Some(1);
                }
            }
            Self::VaultSealed => world.vault.sim.seal(),
            Self::ApiserverRestarted => {
                for component in 0..COMPONENTS.len() {
                    world.restart(component, Some(node));
                }
            }
        }
        Ok(kept)
    }

    /// Carries the remedy out.
    ///
    /// # Errors
    /// It cannot be done.
    pub async fn undo(
        self,
        world: &mut World,
        node: usize,
        kept: Kept,
        ledger: &mut Ledger,
    ) -> Result<(), Trouble> {
        match self {
            Self::TokenRevoked | Self::KeyRotated | Self::ApiserverRestarted => {}
            Self::TokenExpiry => world.vault.end_tokens(None),
            Self::KeyDeletedRestored => {
                if let Some(snapshot) = &kept.vault {
                    world.vault.restore(snapshot);
                    // it is started anew, whatever it was when the backup was made
                    world.vault.sim.unseal();
                }
            }
            Self::KeyDeleted | Self::KeyDeletedRestarted => {
                // plugins that knew the old key take the new one for a mistake; once they have said so, a rotation accepts it
                world.vault.sim.create_key(MOUNT, KEY, "aes256-gcm96");
                world.pass(COMPLAINT).await;
                world.vault.sim.rotate(MOUNT, KEY);
                world.pass(TAKE_UP).await;
                ledger.rescue(world).await?;
            }
            Self::KeySoftDeleted => {
                each_key(world, "POST", "/soft-delete-restore", |_| Value::Null)?;
            }
            Self::MinVersionRaised => {
                each_key(
                    world,
                    "POST",
                    "/config",
                    |_| json!({"min_decryption_version": 1}),
                )?;
            }
            Self::NodePartitioned => world.partition(node, false),
            Self::AllPartitioned => {
                for node in 0..world.plan.nodes {
                    world.partition(node, false);
                }
            }
            Self::PluginCrashed => world.restart_plugins(node)?,
            Self::VaultSealed => world.vault.sim.unseal(),
        }
        Ok(())
    }
}

/// Does the same to every Transit key that there is; the body may depend on its latest version. Who plays the world is not
/// kept from it by a seal that another fault has closed.
fn each_key(
    world: &World,
    method: &str,
    path: &str,
    body: impl Fn(u64) -> Value,
) -> Result<(), Trouble> {
    let sealed = world.vault.sim.is_sealed();
    if sealed {
        world.vault.sim.unseal();
    }
    let done = world.vault.keys().iter().try_for_each(|key| {
        // one that another fault has deleted is not there to be changed
        let Some(latest) = world.vault.sim.key_version(MOUNT, key) else {
            return Ok(());
        };
        let path = format!("{MOUNT}/keys/{key}{path}");
        let (status, answer) = world.vault.admin(method, &path, &body(latest));
        if (200..300).contains(&status) {
            return Ok(());
        }
        let why = &answer["errors"];
        Err(Trouble::new(format!(
            "Vault answers {method} {path} with {status}: {why}"
        )))
    });
    if sealed {
        world.vault.sim.seal();
    }
    done
}
