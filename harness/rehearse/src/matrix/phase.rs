//! Moments of a migration path, by what kube-apiserver's nodes run: it is the slowest of the three components.
//!
//! From the edit of the spec on, the first revision is the read stage, the second the write stage, the third the pruned
//! configuration, which there is only where the path begins with an older key.

use kms_controlplane::operand::Work;
use kms_controlplane::plane::Plane;
use serde::Serialize;

use crate::options::Words;
use crate::world::World;

/// A phase boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Before the spec is edited.
    BeforeTheEdit,
    /// The first node's pod is being replaced by one that can read the new key.
    ReadOnFirst,
    /// One node can read the new key, the next has not begun.
    ReadBetween,
    /// Every node can.
    ReadConverged,
    /// The first node's pod is being replaced by one that writes with the new key.
    WriteOnFirst,
    /// One node writes with the new key, the next has not begun.
    WriteBetween,
    /// Every node does; nothing is rewritten yet.
    WriteConverged,
    /// The migrator has written its first objects.
    MigrationBegun,
    /// One resource is through, another one in part.
    MigrationMiddle,
    /// The key secret lists everything.
    MigrationEnded,
    /// The first node's pod is being replaced by one without the oldest key.
    PruneOnFirst,
    /// Every node has been.
    PruneConverged,
}

impl Words for Phase {
    const ALL: &'static [(&'static str, Self)] = &[
        ("before-the-edit", Self::BeforeTheEdit),
        ("read-on-first", Self::ReadOnFirst),
        ("read-between", Self::ReadBetween),
        ("read-converged", Self::ReadConverged),
        ("write-on-first", Self::WriteOnFirst),
        ("write-between", Self::WriteBetween),
        ("write-converged", Self::WriteConverged),
        ("migration-begun", Self::MigrationBegun),
        ("migration-middle", Self::MigrationMiddle),
        ("migration-ended", Self::MigrationEnded),
        ("prune-on-first", Self::PruneOnFirst),
        ("prune-converged", Self::PruneConverged),
    ];
    const WHAT: &'static str = "phase";
}

impl Phase {
    /// It comes only where an older key leaves the configuration.
    pub fn of_pruning(self) -> bool {
        matches!(self, Self::PruneOnFirst | Self::PruneConverged)
    }
}

/// Where a path began.
#[derive(Clone, Copy, Debug)]
pub struct Base {
    /// kube-apiserver's newest revision.
    pub revision: u32,
    /// The newest key number, 0 if there is none.
    pub key: u64,
}

impl Phase {
    /// Whether the pods have come so far. Phases of the migration are not the pods' to tell.
    pub fn on_pods(self, plane: &Plane, base: Base) -> bool {
        let operand = &plane.operands[0];
        let replaced = |offset: u32| {
            operand.nodes.iter().any(|node| {
                node.target == base.revision + offset
                    && matches!(node.work, Work::Stop { .. } | Work::Start { .. })
            })
        };
        // on a single node there is nothing between the first and all
        let some = |offset: u32| {
            let all = operand.nodes.iter();
            all.filter(|node| node.current >= base.revision + offset)
                .count()
        };
        let all = |offset: u32| some(offset) == operand.nodes.len();
        match self {
            Self::BeforeTheEdit => true,
            Self::ReadOnFirst => replaced(1),
            Self::ReadBetween => some(1) >= 1,
            Self::ReadConverged => all(1),
            Self::WriteOnFirst => replaced(2),
            Self::WriteBetween => some(2) >= 1,
            Self::WriteConverged => all(2),
            Self::PruneOnFirst => replaced(3),
            Self::PruneConverged => all(3),
            Self::MigrationBegun | Self::MigrationMiddle | Self::MigrationEnded => false,
        }
    }

    /// Whether the migration of kube-apiserver's objects has come so far; nothing for the other phases.
    pub fn in_migration(self, world: &World, base: Base) -> Option<bool> {
        let keys = world.keys(0);
        let newest = keys.last().filter(|key| key.number() > Some(base.key));
        let through = newest.map_or(0, |key| key.migrated.len());
        let resources = world.plane.cluster.components[0].resources.len();
        let at_work = world.migrating(0) && world.work.written > 0;
        Some(match self {
            Self::MigrationBegun => at_work || through > 0,
            Self::MigrationMiddle => (at_work && through + 1 == resources) || through == resources,
            Self::MigrationEnded => through == resources,
            _ => return None,
        })
    }
}
