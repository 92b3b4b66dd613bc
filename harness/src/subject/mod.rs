//! The plugin that is judged: where it comes from and how it is run.
//!
//! In reading order: [`mod@file`] (how any plugin is described), [`own`] (the description of ours, and
//! its build), [`running`] (a started one), [`image`] (the container image behind a socket), [`beside`] (more of them, each for one question; its Vault
//! behind [`gateway`], or [`impostor`] in the Vault's place).

pub mod beside;
pub mod file;
pub mod gateway;
pub mod image;
pub mod impostor;
pub mod own;
pub mod running;

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::{Context, Result};
use file::Values;
use kms_process::ports::free_ports;

use crate::vault::VaultBackend;
use crate::vault::provision::Access;

/// What can be filled into a subject's command in a run on this Vault; its port for metrics comes by
/// [`place`].
pub fn values(vault: &dyn VaultBackend, access: &Access, folder: &Path) -> Values {
    let path = |path: &Path| path.display().to_string();
    let mut values = credentials(access);
    values.extend([
        ("socket", path(&folder.join("kms.sock"))),
        ("folder", path(folder)),
        ("vault", vault.addresses().join(",")),
        ("ca", vault.ca().map(path).unwrap_or_default()),
        ("namespace", String::new()),
    ]);
    values
}

/// Socket, folder and port of a process of its own, made where they have to be.
pub fn place(values: &mut Values, folder: &Path) -> Result<()> {
    let path = |path: &Path| path.display().to_string();
    if !folder.exists() {
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("make the folder {}", folder.display()))?;
    }
    let [port] = free_ports()?;
    values.extend([
        ("socket", path(&folder.join("kms.sock"))),
        ("folder", path(folder)),
        ("metrics_port", port.to_string()),
    ]);
    Ok(())
}

/// Key and credentials.
fn credentials(access: &Access) -> Values {
    let path = |path: &Path| path.display().to_string();
    Values::from([
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
