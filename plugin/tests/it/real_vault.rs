//! A simulated Vault with TLS on a real port, for tests of the real process.

use std::fs;

use serde_json::json;
use sim_vault::{Options, SimVault, server};
use tokio::net::TcpListener;

use crate::world::SEED_POLICY;

/// A simulated Vault with TLS on a real port, until dropped.
pub struct RealVault {
    pub vault: SimVault,
    pub port: u16,
    task: tokio::task::JoinHandle<()>,
    pub folder: tempfile::TempDir,
}

impl Drop for RealVault {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// With the seed's policy, a key, and an AppRole whose credentials lie in the folder.
pub async fn real_vault() -> RealVault {
    let tls = server::Tls::new(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ca.pem"), &tls.ca_pem).unwrap();
    let other = server::Tls::new(vec!["localhost".to_owned()]).unwrap();
    fs::write(folder.path().join("other-ca.pem"), &other.ca_pem).unwrap();
    let vault = SimVault::new(Options::default());
    assert!(vault.mount("transit", "transit") && vault.create_key("transit", "kms-key", ""));
    vault.put_policy("kms", SEED_POLICY).unwrap();
    let role =
        json!({ "token_policies": ["kms"], "token_no_default_policy": true, "token_ttl": "1h" });
    let (role_id, secret_id) = vault.approle("approle", "kms", &role);
    fs::write(folder.path().join("role-id"), role_id).unwrap();
    fs::write(folder.path().join("secret-id"), secret_id).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = vault.clone();
    let task = tokio::spawn(async move {
        serving.listen(listener, Some(&tls)).await.unwrap();
    });
    RealVault {
        vault,
        port,
        task,
        folder,
    }
}
