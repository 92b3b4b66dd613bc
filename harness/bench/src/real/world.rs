//! One server with one plugin on it, and clients to both.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::Method;
use serde_json::Value;

use crate::direct::Direct;
use crate::load::Target;
use crate::server::Server;
use crate::subject::{Auth, Fill, Plugin, Subject};

/// The limit that calls under load tell the plugin: far off, so that a slow answer is a slow
/// answer and not a failure.
const LIMIT: Duration = Duration::from_secs(10);

/// A server, and a plugin with a static token on it. The plugin is killed first on drop.
pub(super) struct World {
    pub plugin: Plugin,
    pub server: Server,
    token: String,
}

impl World {
    pub async fn start(subject: &Subject, bao: &Path, tls: bool) -> Result<Self> {
        let server = Server::start(bao, tls).await?;
        let token = server.token().await?;
        let fill = token_fill(&server, &token)?;
        let plugin = Plugin::start(subject, "plugin", Auth::Token, fill, server.dir.path()).await?;
        Ok(Self {
            plugin,
            server,
            token,
        })
    }

    /// A client to the server with the plugin's token, without connections yet.
    pub fn direct(&self) -> Result<Target> {
        Ok(Target::Direct(Arc::new(Direct::new(
            self.server.endpoint.clone(),
            &self.token,
        )?)))
    }

    /// A new channel to the plugin.
    pub async fn channel(&self) -> Result<Target> {
        Ok(Target::Plugin(self.plugin.connect(LIMIT).await?))
    }

    /// Process ids: server, then plugin.
    pub fn pids(&self) -> [u32; 2] {
        [self.server.process.id(), self.plugin.process.id()]
    }
}

/// Fills a template for token authentication.
pub(super) fn token_fill(server: &Server, token: &str) -> Result<Fill> {
    Fill::new(server)
        .with("{token}", token)
        .with_file("{token_file}", server.dir.path(), token)
}

/// What the server calls itself.
pub(super) async fn server_version(bao: &Path, tls: bool) -> Result<String> {
    let server = Server::start(bao, tls).await?;
    let health = server
        .root
        .admin(Method::GET, "sys/health", &Value::Null)
        .await?;
    Ok(format!(
        "OpenBao {}",
        health["version"]
            .as_str()
            .context("no version in sys/health")?
    ))
}
