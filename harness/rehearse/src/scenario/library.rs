//! The files of `scenarios/openshift`, compiled in.

use std::sync::{Arc, LazyLock};

use super::{Row, read};
use crate::options::Wrong;

/// Names and texts of files.
macro_rules! files {
    ($($name:literal)*) => {
        &[$((
            $name,
            include_str!(concat!("../../../../scenarios/openshift/", $name, ".toml")),
        )),*]
    };
}

/// The files, rows of the fault table first, then traps, then bugs: name and text.
pub const FILES: &[(&str, &str)] = files! {
    "type-refused"
    "named-secret-missing"
    "transit-key-misspelt"
    "plugin-missing-on-a-node"
    "plugin-crash-loop"
    "encrypt-denied"
    "decrypt-denied"
    "key-read-denied"
    "password-changed"
    "transit-key-deleted"
    "min-decryption-version-raised"
    "transit-key-soft-deleted"
    "vault-is-sealed"
    "vault-without-leader"
    "rate-limit-hit"
    "vault-too-slow"
    "dns-does-not-know-vault"
    "certificate-expired"
    "one-node-without-vault"
    "rotation-not-seen-by-one"
    "another-vault-of-that-name"
    "object-cannot-be-decrypted"
    "migration-is-slow"
    "plugin-dies-between-writers"
    "config-edited-by-hand"
    "plugin-removed-too-early"
    "key-secret-lost"
    "backup-without-its-key"
    "only-plugin-down"
    "running-config-lost"
    "target-config-lost"
    "operators-without-kms"
    "unknown-type"
    "operator-unmanaged"
    "foreign-key-secret"
    "identity-stands-twice"
    "annotation-removed"
    "operators-of-next-generation"
    "operators-of-former-generation"
    "key-secret-lost-before-preflight"
    "preflight-pod-crashed"
    "dead-pod-of-a-lost-node"
    "spec-changed-after-preflight"
    "same-config-rolled-again"
    "enabled-twice-with-nothing-stored"
    "power-lost-on-all-nodes"
};

/// What they say, in the same order.
pub static ROWS: LazyLock<Vec<Arc<Row>>> = LazyLock::new(|| {
    let rows = FILES.iter().map(|(name, text)| {
        // the tests read every file
        let row = read(text, Some(name)).unwrap_or_else(|problems| {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            panic!("scenarios/openshift/{name}.toml: {}", lines.join("\n"))
        });
        Arc::new(row)
    });
    rows.collect()
});

/// Finds a row by its id, in any case.
///
/// # Errors
/// There is none; the sentence names all of them.
pub fn find(id: &str) -> Result<Arc<Row>, Wrong> {
    let wanted = id.to_uppercase();
    let found = ROWS.iter().find(|row| row.id() == wanted);
    found.cloned().ok_or_else(|| {
        let all: Vec<&str> = ROWS.iter().map(|row| row.id()).collect();
        Wrong(format!(
            "there is no fault {id:?}: say one of {}",
            all.join(", ")
        ))
    })
}
