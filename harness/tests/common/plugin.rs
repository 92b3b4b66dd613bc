//! The plugin of a tier: built alone, as it is shipped.

use std::path::PathBuf;

use anyhow::{Context, Result};
use kms_harness::subject::own;

/// The binary.
pub async fn built() -> Result<PathBuf> {
    let workspace = own::workspace().context("the checkout with the plugin is gone")?;
    own::build(&workspace).await
}

/// The same before any test. One that does not build is a failure of all of them.
pub fn built_first() -> PathBuf {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime starts");
    match runtime.block_on(built()) {
        Ok(plugin) => plugin,
        Err(error) => panic!("{error:#}"),
    }
}
