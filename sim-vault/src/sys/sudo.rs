//! The paths that want `sudo` beside the capability of the operation, whatever that is, and whether anything is there or not.

use crate::flavour::Flavour;

/// Those of both servers; a star stands for any end.
const BOTH: &[&str] = &[
    "sys/audit",
    "sys/audit/*",
    "sys/auth/*",
    "sys/config/auditing/*",
    "sys/config/cors",
    "sys/config/ui/headers/*",
    "sys/internal/inspect/*",
    "sys/leases",
    "sys/leases/lookup/*",
    "sys/leases/revoke-force/*",
    "sys/leases/revoke-prefix/*",
    "sys/plugins/catalog/*",
    "sys/raw",
    "sys/raw/*",
    "sys/remount",
    "sys/revoke-force/*",
    "sys/revoke-prefix/*",
    "sys/rotate",
    "sys/seal",
    "sys/step-down",
];

/// OpenBao asks for it within `auth/token/revoke-orphan` itself.
const OPENBAO: &[&str] = &[
    "auth/token/accessors*",
    "auth/token/revoke-orphan/*",
    "sys/rotate/keyring",
    "sys/rotate/root",
];

const VAULT: &[&str] = &[
    "auth/token/accessors/",
    "auth/token/revoke-orphan",
    "sys/internal/counters/activity/export",
    "sys/plugins/runtimes/catalog/*",
    "sys/replication/dr/primary/secondary-token",
    "sys/replication/dr/reindex",
    "sys/replication/performance/primary/secondary-token",
    "sys/replication/performance/reindex",
    "sys/replication/primary/secondary-token",
    "sys/replication/reindex",
    "sys/storage/raft/snapshot-auto/config/*",
];

/// Whether a path below a namespace is one of them.
pub(crate) fn is_needed(flavour: Flavour, path: &str) -> bool {
    let own = if flavour.is_openbao() { OPENBAO } else { VAULT };
    BOTH.iter()
        .chain(own)
        .any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => path == *pattern,
        })
}
