//! The plugin that is judged: where it comes from and how it is run.
//!
//! In reading order: [`mod@file`] (how any plugin is described), [`own`] (the description of ours, and
//! its build), [`running`] (a started one).

pub mod file;
pub mod own;
pub mod running;

use std::path::Path;

use file::Values;

use crate::vault::VaultBackend;
use crate::vault::provision::Access;

/// What can be filled into a subject's command in a run on this Vault.
pub fn values(vault: &dyn VaultBackend, access: &Access, folder: &Path) -> Values {
    let path = |path: &Path| path.display().to_string();
    Values::from([
        ("socket", path(&folder.join("kms.sock"))),
        ("folder", path(folder)),
        ("vault", vault.addresses().join(",")),
        ("ca", vault.ca().map(path).unwrap_or_default()),
        ("namespace", String::new()),
        ("mount", access.mount.clone()),
        ("key", access.key.clone()),
        ("token", access.token.to_string()),
        ("token_file", path(&access.token_file)),
        ("approle_mount", access.approle_mount.clone()),
        ("role_id", access.role_id.clone()),
        ("role_id_file", path(&access.role_id_file)),
        ("secret_id", access.secret_id.to_string()),
        ("secret_id_file", path(&access.secret_id_file)),
        ("userpass_mount", access.userpass_mount.clone()),
        ("username", access.username.clone()),
        ("password", access.password.to_string()),
        ("password_file", path(&access.password_file)),
    ])
}
