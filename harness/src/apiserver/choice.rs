//! What `--apiserver` means: `sim`, `real`, a binary, or a kubeconfig.

use std::path::Path;

use anyhow::{Result, bail};
#[cfg(feature = "kube")]
use kube::config::Kubeconfig;

#[cfg(feature = "kube")]
use super::parts::Parts;

/// Which API server.
#[derive(Clone, Debug)]
pub enum Choice {
    /// The simulated one.
    Simulated,
    /// A real kube-apiserver that the harness starts.
    #[cfg(feature = "kube")]
    Real(Parts),
    /// A cluster that somebody else runs.
    #[cfg(feature = "kube")]
    Cluster(Box<Kubeconfig>),
}

impl Choice {
    /// Reads the option: `sim`, `real` (found as `ci/kube-apiserver/install --find` does), the path of a kube-apiserver
    /// binary, or that of a kubeconfig.
    ///
    /// # Errors
    /// It is none of these, its parts are not there, or this build knows `sim` alone.
    pub fn read(word: &str) -> Result<Self> {
        if word == "sim" {
            return Ok(Self::Simulated);
        }
        if word != "real"
            && !Path::new(word).exists()
            && crate::child::find_program(Path::new(word)).is_none()
        {
            bail!(
                "--apiserver {word}: it is sim, real, the path of a kube-apiserver, or that of a kubeconfig"
            );
        }
        Self::real(word)
    }

    #[cfg(feature = "kube")]
    fn real(word: &str) -> Result<Self> {
        use anyhow::Context;

        if word == "real" {
            return Parts::find().map(Self::Real);
        }
        let path = Path::new(word);
        if let Some(binary) = crate::child::find_program(path) {
            return Parts::beside(binary).map(Self::Real);
        }
        let kubeconfig = Kubeconfig::read_from(path).with_context(|| {
            format!("--apiserver {word}: neither an executable file nor a kubeconfig")
        })?;
        Ok(Self::Cluster(Box::new(kubeconfig)))
    }

    #[cfg(not(feature = "kube"))]
    fn real(word: &str) -> Result<Self> {
        bail!(
            "--apiserver {word}: this kms-harness has the simulated API server (sim) alone: build it with `--features kube`"
        )
    }
}

#[cfg(all(test, feature = "kube"))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

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
