//! The plugin of a tier: built alone, as it is shipped, where everything is required. Elsewhere the one that these tests
//! were built with does, which saves a build of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use kms_harness::subject::own;

use super::share::whole;

/// The binary.
async fn built() -> Result<PathBuf> {
    match beside() {
        Some(plugin) if !whole() => Ok(plugin),
        _ => {
            let workspace = own::workspace().context("the checkout with the plugin is gone")?;
            own::build(&workspace).await
        }
    }
}

/// Cargo's own of this build, unless it is older than something that it is made of.
fn beside() -> Option<PathBuf> {
    let plugin = Path::new(env!("CARGO_BIN_EXE_kms-harness")).with_file_name(own::PACKAGE);
    let workspace = own::workspace()?;
    let made_of = ["Cargo.toml", "Cargo.lock", "plugin"].map(|it| newest(&workspace.join(it)));
    let made_of = made_of.into_iter().max()??;
    (changed(&plugin)? >= made_of).then_some(plugin)
}

fn changed(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|it| it.modified()).ok()
}

/// When this file, or one of this folder, was last changed.
fn newest(place: &Path) -> Option<SystemTime> {
    let inside = fs::read_dir(place).into_iter().flatten().flatten();
    let inside = inside.map(|entry| newest(&entry.path()));
    inside.chain([changed(place)]).max()?
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
