//! Where the real parts are: kube-apiserver, and etcd and kubectl for it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kms_process::parts::KUBE_APISERVER;

use crate::child::find_program;

/// The binaries of a real API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// kube-apiserver.
    pub kube_apiserver: PathBuf,
    /// Its store.
    pub etcd: PathBuf,
    /// The command line client, where there is one.
    pub kubectl: Option<PathBuf>,
}

impl Parts {
    /// Looks as `ci/kube-apiserver/install --find` does: `$KUBE_APISERVER`, `kube-apiserver` on PATH, the cache.
    pub fn find() -> Result<Self> {
        Self::beside(KUBE_APISERVER.find()?)
    }

    /// etcd and kubectl for this kube-apiserver: `$ETCD` and `$KUBECTL`, beside it, or on PATH. Beside it comes before
    /// PATH, because a distribution's etcd is often too old to answer as a cluster's would.
    pub fn beside(kube_apiserver: PathBuf) -> Result<Self> {
        let look = |variable: &str, name: &str| {
            std::env::var_os(variable)
                .filter(|value| !value.is_empty())
                .and_then(|named| find_program(Path::new(&named)))
                .or_else(|| find_program(&kube_apiserver.parent()?.join(name)))
                .or_else(|| find_program(Path::new(name)))
        };
        let etcd = look("ETCD", "etcd").with_context(|| {
            format!(
                "no etcd found for {}: set $ETCD, or put etcd beside it or on PATH",
                kube_apiserver.display()
            )
        })?;
        let kubectl = look("KUBECTL", "kubectl");
        Ok(Self {
            kube_apiserver,
            etcd,
            kubectl,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else what the script built would not be found.
    #[test]
    fn the_cached_server_is_the_one_that_the_script_builds() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ci/kube-apiserver");
        let module = std::fs::read_to_string(folder.join("go.mod")).unwrap();
        let script = std::fs::read_to_string(folder.join("install")).unwrap();
        let version = module
            .lines()
            .find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes v"))
            .and_then(|rest| rest.split(' ').next())
            .unwrap();
        let recipe = script
            .lines()
            .find_map(|line| line.strip_prefix("recipe="))
            .and_then(|rest| rest.split(' ').next())
            .unwrap();
        assert_eq!(
            KUBE_APISERVER.cached,
            format!("kube-apiserver-{version}-{recipe}")
        );
    }
}
