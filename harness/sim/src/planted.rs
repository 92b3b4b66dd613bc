//! A bug of `kms-planted` in every plugin of a world.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use kms_planted::{Planted, Variant};
use vault_kubernetes_kms::seam::BoxIo;

use crate::{Between, Replaced};

/// The same bug on every node; each life of a plugin has a memory of its own.
pub struct Bug {
    kms: Variant,
    vault: Variant,
    lives: Mutex<BTreeMap<u32, (Planted, Planted)>>,
}

impl Bug {
    /// A bug, on whichever side it is made.
    #[must_use]
    pub fn new(variant: Variant) -> Arc<Self> {
        Self::on_both(variant, variant)
    }

    /// What stands between, without a bug: each side has one of the other.
    #[must_use]
    pub fn none() -> Arc<Self> {
        Self::on_both(Variant::LoginOnce, Variant::AlwaysOk)
    }

    fn on_both(kms: Variant, vault: Variant) -> Arc<Self> {
        let lives = Mutex::default();
        Arc::new(Self { kms, vault, lives })
    }

    /// The node's plugin as it lives now; a connection of one that never started has one of its own.
    fn life(&self, node: u32) -> (Planted, Planted) {
        let mut lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || (Planted::new(self.kms), Planted::new(self.vault));
        lives.entry(node).or_insert_with(new).clone()
    }
}

impl Between for Bug {
    fn started(&self, node: u32) {
        let life = (Planted::new(self.kms), Planted::new(self.vault));
        let mut lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        lives.insert(node, life);
    }

    fn kms(&self, node: u32, caller: BoxIo) -> Replaced {
        let (io, work) = self.life(node).0.before_kms(caller);
        (Box::new(io), work)
    }

    fn vault(&self, node: u32, vault: BoxIo) -> Replaced {
        let (io, work) = self.life(node).1.before_vault(vault);
        (Box::new(io), work)
    }
}
