//! Each kind of fault, as this arm makes it: what is done, what undoes it, and what counts as a hit.

mod calls;
mod key;
mod network;
mod process;
mod requests;
mod vault;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use kms_conformance::BoxFuture;
use kms_scenario::fault::Fault;
use kms_scenario::world::Order;

use super::world::Inner;

/// What undoes a fault.
pub type Undo = Box<dyn FnOnce() -> BoxFuture<'static, Result<()>> + Send>;
/// What it touched so far.
pub type Hits = Box<dyn Fn() -> u64 + Send + Sync>;

/// A fault that is there.
pub struct Active {
    /// Undoes it; nothing for what happens once.
    pub undo: Option<Undo>,
    /// Counts.
    pub hits: Hits,
}

impl Active {
    /// What happened once, and changed so much.
    fn once(changed: u64) -> Self {
        Self {
            undo: None,
            hits: Box::new(move || changed),
        }
    }

    fn lasting<F>(hits: Hits, undo: impl FnOnce() -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        Self {
            undo: Some(Box::new(move || Box::pin(undo()))),
            hits,
        }
    }
}

/// Makes a fault happen.
pub async fn inject(world: &Arc<Inner>, order: &Order) -> Result<Active> {
    match &order.fault {
        Fault::NetPartition(edge) | Fault::NetHold(edge) => network::held(world, order, *edge),
        Fault::NetPartitionOneWay(..)
        | Fault::NetReset(_)
        | Fault::NetHalfClose(..)
        | Fault::NetLatency { .. }
        | Fault::NetBandwidth(..)
        | Fault::NetSlowReader(..) => network::network(world, order),
        Fault::RpcDelay { .. }
        | Fault::RpcHold(_)
        | Fault::RpcStatus { .. }
        | Fault::RpcCut(_)
        | Fault::RpcSick
        | Fault::RpcWrongKey => calls::calls(world, order),
        Fault::PluginKill
        | Fault::PluginRestart
        | Fault::PluginStop
        | Fault::PluginFreeze
        | Fault::PluginStaleSocket => process::process(world, order).await,
        Fault::CredentialsChanged | Fault::CredentialsRemoved | Fault::CredentialsDamaged => {
            process::credentials(world, order).await
        }
        Fault::VaultRotate(_)
        | Fault::VaultRotateAtOnce
        | Fault::VaultDeleteKey
        | Fault::VaultRecreateKey
        | Fault::VaultSoftDelete
        | Fault::VaultMinDecryptionVersion(_)
        | Fault::VaultMinEncryptionVersion(_)
        | Fault::VaultTrim(_) => key::key(world, order).await,
        _ => vault::vault(world, order).await,
    }
}

/// What each plugin asks Vault while a fault is there that concerns all of it.
fn asked(world: &Arc<Inner>) -> Hits {
    let before = world.asked();
    let world = Arc::clone(world);
    Box::new(move || world.asked() - before)
}

/// One delay stands for a range: calls and the simulated Vault know no other.
fn middle(min: Duration, max: Duration) -> Duration {
    (min + max) / 2
}
