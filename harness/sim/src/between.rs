//! A place between a plugin and its peers, for bugs that are planted there.

use std::sync::Arc;

use vault_kubernetes_kms::seam::{BoxFuture, BoxIo};

use crate::tasks::Tasks;

/// A connection as the plugin sees it, and what must run for it.
pub type Replaced = (BoxIo, BoxFuture<'static, ()>);

/// Stands between plugins and their peers. No world has one by itself.
pub trait Between: Send + Sync {
    /// A plugin's process starts on a node.
    fn started(&self, node: u32);

    /// In front of a plugin: its side of a caller's connection.
    fn kms(&self, node: u32, caller: BoxIo) -> Replaced;

    /// Behind a plugin: its side of a connection to Vault.
    fn vault(&self, node: u32, vault: BoxIo) -> Replaced;
}

/// The same on one node, with somebody who runs what must run.
#[derive(Clone)]
pub struct Planting {
    pub between: Arc<dyn Between>,
    pub node: u32,
    pub tasks: Tasks,
}

impl Planting {
    pub fn on_the_way_to_vault(&self, vault: BoxIo) -> BoxIo {
        self.run(self.between.vault(self.node, vault))
    }

    pub fn in_front(&self, caller: BoxIo) -> BoxIo {
        self.run(self.between.kms(self.node, caller))
    }

    fn run(&self, (io, work): Replaced) -> BoxIo {
        self.tasks.spawn(work);
        io
    }
}
