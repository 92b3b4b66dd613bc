//! The two binaries a measurement needs: the OpenBao server and the plugin.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use kms_process::{own, parts};

/// The server binary: the one given, else the one that is found.
pub fn bao(given: Option<&Path>) -> Result<PathBuf> {
    given.map_or_else(
        || parts::OPENBAO.find().context("or pass --bao PATH"),
        |path| Ok(path.to_owned()),
    )
}

/// The plugin binary: the one given, else built alone.
pub async fn plugin(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        return Ok(path.to_owned());
    }
    let workspace = own::workspace()
        .context("not inside the workspace, so the plugin cannot be built: pass --plugin PATH")?;
    crate::progress("building the plugin alone");
    own::build(&workspace).await
}
