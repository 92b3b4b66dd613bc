//! One node: a plugin between its proxies, and the API server that it serves.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result};
use http::Uri;
use kms_process::ports::free_ports;
use kms_proxy::{SocketProxy, TcpProxy};
use kms_scenario::world::WorldSpec;
use tokio::net::lookup_host;
use tokio::sync::Mutex;

use super::apiserver::Server;
use super::plugin::Plugin;
use super::subject::{Subject, credential};
use super::vault::Vault;
use super::wire::Wire;

/// The parts of a node.
pub struct Node {
    /// The plugin.
    pub plugin: Mutex<Plugin>,
    /// Where the plugin itself listens.
    pub at: PathBuf,
    /// Between the API server and the plugin.
    pub socket: SocketProxy,
    /// Between the plugin and each node of Vault.
    pub links: Vec<TcpProxy>,
    /// What passes there.
    pub wire: Wire,
    /// The plugin's credentials.
    pub credentials: Vec<PathBuf>,
    /// The API server, once it was started.
    pub apiserver: OnceLock<Server>,
    /// The plugin's address in the API server's configuration.
    pub endpoint: String,
}

/// What all nodes have in common.
pub struct Common<'a> {
    /// The plugin.
    pub subject: &'a Subject,
    /// Their Vault; nothing where it is somebody else's secret.
    pub vault: Option<&'a Vault>,
    /// What the scenario wants.
    pub spec: &'a WorldSpec,
    /// The seed of delays.
    pub seed: u64,
}

impl Node {
    /// Puts the node together, in a folder of its own. Neither plugin nor API server runs yet.
    pub async fn new(common: &Common<'_>, folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("make the folder {}", folder.display()))?;
        let wire = Wire::default();
        let (mut links, mut credentials) = (Vec::new(), Vec::new());
        let at = match common.subject {
            Subject::Socket(path) => path.clone(),
            Subject::Own(_) | Subject::Described(_) => folder.join("plugin.sock"),
        };
        let mut plugin = Plugin::theirs();
        if let Some(vault) = common.vault {
            let (link, sni) = linked(vault, common.seed, &wire).await?;
            let addresses = link.iter().zip(vault.addresses()).map(|(link, far)| {
                let scheme = far.split_once("://").map_or("http", |(scheme, _)| scheme);
                format!("{scheme}://{}", link.address())
            });
            credentials = vault.credentials(folder).await?;
            let mut values = vault.values(folder);
            let [port] = free_ports()?;
            values.extend([
                ("vault", addresses.collect::<Vec<_>>().join(",")),
                ("socket", at.display().to_string()),
                ("metrics_port", port.to_string()),
            ]);
            let own = credential(common.spec.vault.auth);
            values.extend(
                credentials
                    .iter()
                    .map(|file| (own, file.display().to_string())),
            );
            let log = folder.join("plugin.log");
            let launch = common
                .subject
                .launch(common.spec, &values, sni.as_deref(), log)?;
            if let Some((launch, stop)) = launch {
                plugin = Plugin::new(launch, stop);
            }
            links = link;
        }
        let front = folder.join("kms.sock");
        Ok(Self {
            plugin: Mutex::new(plugin),
            socket: SocketProxy::start(&front, &at)
                .with_context(|| format!("listen at {}", front.display()))?,
            at,
            links,
            wire,
            credentials,
            apiserver: OnceLock::new(),
            endpoint: format!("unix://{}", front.display()),
        })
    }

    /// The API server.
    ///
    /// # Errors
    /// It was not started yet.
    pub fn server(&self) -> Result<&Server> {
        self.apiserver.get().context("there is no API server yet")
    }

    /// Everything that rules touched on the way to Vault.
    pub fn touched(&self) -> u64 {
        let links = self.links.iter();
        links.map(|link| link.touched().hits()).sum()
    }
}

/// A proxy to each node of Vault, and the name that its certificate is for, if it has one.
async fn linked(vault: &Vault, seed: u64, wire: &Wire) -> Result<(Vec<TcpProxy>, Option<String>)> {
    let mut links = Vec::new();
    let mut sni = None;
    for (number, address) in (0..).zip(vault.addresses()) {
        let about = || format!("the Vault address {address}");
        let uri: Uri = address.parse().with_context(about)?;
        let host = uri.host().with_context(about)?;
        let tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let bare = host.trim_matches(['[', ']']);
        let far: SocketAddr = lookup_host((bare, port))
            .await
            .with_context(about)?
            .next()
            .with_context(about)?;
        if tls && bare.parse::<std::net::IpAddr>().is_err() {
            sni = Some(bare.to_owned());
        }
        links.push(TcpProxy::with_tap(far, seed, wire.tap(number)).await?);
    }
    Ok((links, sni))
}
