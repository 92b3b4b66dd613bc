//! A cluster whose leader stands still while its connections stay open, as after SIGSTOP.
//!
//! OpenBao's standbys go on with what they can do themselves, and one of them leads soon. Vault's forward everything: they
//! keep every caller waiting until long after the election. A simplification: the health of a waiting Vault standby, which
//! a real one answers, is not answered either.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use crate::{Leader, SimVault};

/// The election, as real clusters were seen to take it.
const ELECTION: Duration = Duration::from_secs(2);
/// So long after the freeze Vault's other nodes answer again, the new leader among them.
const VAULT_WAITS: Duration = Duration::from_secs(27);

/// A cluster in that state. Clones share it.
#[derive(Clone)]
pub struct FrozenLeader {
    nodes: Vec<SimVault>,
    led: usize,
    succeeded: Arc<AtomicBool>,
}

impl FrozenLeader {
    /// Freezes the node that leads; nothing if none does.
    #[must_use]
    pub fn freeze(nodes: Vec<SimVault>) -> Option<Self> {
        let led = nodes.iter().position(|node| {
            let mut leads = false;
            node.set_node(|node| leads = !node.standby);
            leads
        })?;
        let frozen = Self {
            nodes,
            led,
            succeeded: Arc::default(),
        };
        frozen.nodes[led].freeze();
        for node in frozen.others() {
            if frozen.is_vault() {
                node.freeze();
            } else {
                node.set_node(|node| node.leader = Leader::None);
            }
        }
        Some(frozen)
    }

    /// What the other nodes do by themselves; to be run beside.
    pub fn succession(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let frozen = self.clone();
        async move {
            let after = if frozen.is_vault() {
                VAULT_WAITS
            } else {
                ELECTION
            };
            sleep(after).await;
            frozen.succeed();
        }
    }

    /// The frozen node goes on, as a standby.
    pub fn thaw(&self) {
        self.succeed();
        let before = &self.nodes[self.led];
        before.set_node(|node| {
            node.standby = self.nodes.len() > 1;
            node.leader = Leader::Alive;
        });
        before.thaw();
    }

    /// The next node leads, and all but the frozen one answer; once.
    fn succeed(&self) {
        if self.succeeded.swap(true, Ordering::Relaxed) {
            return;
        }
        let next = (self.led + 1) % self.nodes.len();
        for (number, node) in self.nodes.iter().enumerate() {
            if number != self.led {
                node.set_node(|node| {
                    node.standby = number != next;
                    node.leader = Leader::Alive;
                });
                node.thaw();
            }
        }
    }

    fn others(&self) -> impl Iterator<Item = &SimVault> {
        let nodes = self.nodes.iter().enumerate();
        nodes
            .filter(|(number, _)| *number != self.led)
            .map(|(_, node)| node)
    }

    fn is_vault(&self) -> bool {
        self.nodes[self.led].core(|core| core.flavour().is_vault())
    }
}
