//! What `--apiserver` means: `sim`, `real`, a binary, or a kubeconfig; and where the real parts are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use kube::config::Kubeconfig;

use crate::child::find_program;
use crate::vault::family::cache_folder;

/// The version that `ci/kube-apiserver/install` builds; the cache's folder carries it.
pub const CACHED: &str = "kube-apiserver-1.37.2-1";

/// Which API server.
#[derive(Clone, Debug)]
pub enum Choice {
    /// The simulated one.
    Simulated,
    /// A real kube-apiserver that the harness starts.
    Real(Parts),
    /// A cluster that somebody else runs.
    Cluster(Box<Kubeconfig>),
}

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

impl Choice {
    /// Reads the option: `sim`, `real` (see [`Parts::find`]), the path of a kube-apiserver binary, or that of a kubeconfig.
    pub fn read(word: &str) -> Result<Self> {
        match word {
            "sim" => return Ok(Self::Simulated),
            "real" => return Parts::find().map(Self::Real),
            _ => {}
        }
        let path = Path::new(word);
        if let Some(binary) = find_program(path) {
            return Parts::beside(binary).map(Self::Real);
        }
        if !path.is_file() {
            bail!(
                "--apiserver {word}: it is sim, real, the path of a kube-apiserver, or that of a kubeconfig"
            );
        }
        let kubeconfig = Kubeconfig::read_from(path).with_context(|| {
            format!("--apiserver {word}: neither an executable file nor a kubeconfig")
        })?;
        Ok(Self::Cluster(Box::new(kubeconfig)))
    }
}

impl Parts {
    /// Looks as `ci/kube-apiserver/install --find` does: `$KUBE_APISERVER`, `kube-apiserver` on PATH, the cache.
    pub fn find() -> Result<Self> {
        if let Some(named) = std::env::var_os("KUBE_APISERVER").filter(|value| !value.is_empty()) {
            let path = PathBuf::from(named);
            let found = find_program(&path).with_context(|| {
                format!(
                    "$KUBE_APISERVER is {}, which is no executable file",
                    path.display()
                )
            })?;
            return Self::beside(found);
        }
        if let Some(on_path) = find_program(Path::new("kube-apiserver")) {
            return Self::beside(on_path);
        }
        let cached = cache_folder()
            .map(|cache| cache.join(CACHED).join("bin/kube-apiserver"))
            .filter(|file| file.is_file())
            .context("no kube-apiserver found: set $KUBE_APISERVER, put kube-apiserver on PATH, or run ci/kube-apiserver/install")?;
        Self::beside(cached)
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
    use std::os::unix::fs::PermissionsExt;

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
        assert_eq!(CACHED, format!("kube-apiserver-{version}-{recipe}"));
    }

    #[test]
    fn a_binary_brings_the_etcd_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let program = |name: &str| {
            let file = folder.path().join(name);
            std::fs::write(&file, "#!/bin/sh\n").unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
            file
        };
        let (server, etcd) = (program("kube-apiserver"), program("etcd"));
        match Choice::read(&server.display().to_string()).unwrap() {
            Choice::Real(parts) => assert_eq!((parts.kube_apiserver, parts.etcd), (server, etcd)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_kubeconfig_is_a_cluster_and_anything_else_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        std::fs::write(&file, "apiVersion: v1\nkind: Config\nclusters: []\n").unwrap();
        let word = file.display().to_string();
        assert!(matches!(Choice::read(&word), Ok(Choice::Cluster(_))));
        std::fs::write(&file, "clusters: 3\n").unwrap();
        let error = format!("{:#}", Choice::read(&word).unwrap_err());
        assert!(
            error.contains(&word) && error.contains("kubeconfig"),
            "{error}"
        );
        let error = format!("{:#}", Choice::read("/no/such/file").unwrap_err());
        assert!(error.contains("sim, real"), "{error}");
    }
}
