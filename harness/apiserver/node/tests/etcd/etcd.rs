//! A real etcd for one test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kms_apiserver_node::store::etcd::EtcdStore;
use kms_process::ports::free_ports;

/// The binary: `$ETCD`, the cache, or PATH.
pub fn find() -> Result<PathBuf, String> {
    let named = std::env::var_os("ETCD").map(PathBuf::from);
    let cache = std::env::var_os("KMS_CACHE")
        .map(PathBuf::from)
        .or_else(|| {
            let home = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
            let home =
                home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
            Some(home.join("kms-real-parts"))
        });
    let cached = cache
        .and_then(|cache| std::fs::read_dir(cache).ok())
        .into_iter()
        .flatten()
        .flatten();
    let cached =
        cached.flat_map(|folder| [folder.path().join("etcd"), folder.path().join("bin/etcd")]);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<PathBuf> = std::env::split_paths(&path)
        .map(|folder| folder.join("etcd"))
        .collect();
    let mut all = named.into_iter().chain(cached).chain(on_path);
    all.find(|path| path.is_file())
        .ok_or_else(|| "no etcd: set $ETCD, or run ci/kube-apiserver".to_owned())
}

/// A running etcd with a folder of its own; dropped, it is killed.
pub struct Etcd {
    child: Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Etcd {
    pub async fn start(binary: &Path) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let [port, peer] = free_ports().map_err(|error| format!("{error:#}"))?;
        let address = format!("http://127.0.0.1:{port}");
        let peer = format!("http://127.0.0.1:{peer}");
        let child = Command::new(binary)
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .args([
                "--listen-client-urls",
                &address,
                "--advertise-client-urls",
                &address,
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args(["--initial-cluster", &format!("default={peer}")])
            .args(["--unsafe-no-fsync", "--log-level", "error"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{}: {error}", binary.display()))?;
        let etcd = Etcd {
            child,
            address,
            _folder: folder,
        };
        for _ in 0..200 {
            if EtcdStore::connect(&etcd.address).await.is_ok() {
                return Ok(etcd);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err("etcd does not answer".to_owned())
    }

    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // it may have ended by itself
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
