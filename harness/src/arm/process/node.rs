//! One node: a plugin between its two proxies, and the API server that it serves.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use kms_apiserver_node::simulated::Simulated;
use kms_proxy::{SocketProxy, TcpProxy};
use kms_scenario::world::{Auth, WorldSpec};
use tokio::sync::Mutex;

use super::plugin::Plugin;
use super::vault::Vault;
use super::wire::Wire;
use crate::subject::file::Values;
use crate::subject::own::{self, Vocabulary};
use crate::subject::running;
use crate::subject::values;

/// The parts of a node.
pub struct Node {
    /// The plugin.
    pub plugin: Mutex<Plugin>,
    /// Where the plugin itself listens.
    pub at: PathBuf,
    /// Between the API server and the plugin.
    pub socket: SocketProxy,
    /// Between the plugin and Vault.
    pub link: TcpProxy,
    /// What passes there.
    pub wire: Wire,
    /// The plugin's credentials.
    pub credentials: Vec<PathBuf>,
    /// The API server.
    pub apiserver: Arc<Simulated>,
    /// The plugin's address in the API server's configuration.
    pub endpoint: String,
}

/// What all nodes have in common.
pub struct Common<'a> {
    /// The plugin's binary.
    pub binary: &'a Path,
    /// Their Vault.
    pub vault: &'a Vault,
    /// What the scenario wants.
    pub spec: &'a WorldSpec,
    /// The seed of delays.
    pub seed: u64,
}

impl Node {
    /// Puts the node together, in a folder of its own. Neither plugin nor API server runs yet.
    pub async fn new(
        common: &Common<'_>,
        folder: &Path,
        apiserver: impl FnOnce(&str) -> Result<Simulated>,
    ) -> Result<Self> {
        let Common {
            binary,
            vault,
            spec,
            seed,
        } = common;
        std::fs::create_dir_all(folder)
            .with_context(|| format!("make the folder {}", folder.display()))?;
        let server: SocketAddr = vault
            .address()
            .strip_prefix("http://")
            .and_then(|address| address.parse().ok())
            .with_context(|| format!("{} is no http://IP:PORT", vault.address()))?;
        let wire = Wire::default();
        let link = TcpProxy::with_tap(server, *seed, wire.tap(0)).await?;
        let credentials = vault.credentials(folder).await?;
        let at = folder.join("plugin.sock");
        let front = folder.join("kms.sock");
        let values = filled(vault, folder, &at, link.address(), &credentials).await;
        let vocabulary = match spec.vault.auth {
            Auth::Approle => Vocabulary::Sidecar,
            Auth::Userpass => Vocabulary::StaticPod,
            Auth::Token => Vocabulary::StaticToken,
        };
        let subject = own::describe(binary, vocabulary, &values);
        let mut launch = running::launch(&subject, &values, folder.join("plugin.log"))?;
        if let (Auth::Userpass, [password]) = (spec.vault.auth, &credentials[..]) {
            // A file can be changed; an argument cannot.
            launch
                .args
                .retain(|word| !word.starts_with("-userpass-password="));
            launch
                .args
                .push(format!("-userpass-password-path={}", password.display()));
        }
        // Plugins side by side must not meet at a port.
        launch
            .args
            .extend(["-health-port=0", "-metrics-port=0"].map(str::to_owned));
        let more = spec.plugin.iter();
        launch
            .args
            .extend(more.map(|(name, value)| format!("-{name}={value}")));
        let endpoint = format!("unix://{}", front.display());
        Ok(Self {
            plugin: Mutex::new(Plugin::new(launch)),
            socket: SocketProxy::start(&front, &at)
                .with_context(|| format!("listen at {}", front.display()))?,
            at,
            link,
            wire,
            credentials,
            apiserver: Arc::new(apiserver(&endpoint)?),
            endpoint,
        })
    }

    /// Starts the API server; returns when it serves.
    pub async fn start_apiserver(&self) -> Result<()> {
        let started = self.apiserver.start().await;
        started.map_err(|trouble| anyhow!("{trouble}"))
    }
}

async fn filled(
    vault: &Vault,
    folder: &Path,
    at: &Path,
    link: SocketAddr,
    credentials: &[PathBuf],
) -> Values {
    let server = vault.server.lock().await;
    let mut values = values(server.as_ref(), &vault.access, folder);
    let path = |path: &Path| path.display().to_string();
    values.insert("vault", format!("http://{link}"));
    values.insert("socket", path(at));
    for (name, file) in [
        ("secret_id_file", "secret-id"),
        ("token_file", "token"),
        ("password_file", "password"),
    ] {
        if let Some(own) = credentials.iter().find(|path| path.ends_with(file)) {
            values.insert(name, path(own));
        }
    }
    values
}
