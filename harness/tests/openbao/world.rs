//! A server, what the plugin needs there, and the plugin.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use kms_harness::subject::own::{self, Vocabulary};
use kms_harness::subject::running::Running;
use kms_harness::subject::values;
use kms_harness::vault::VaultBackend;
use kms_harness::vault::openbao::{self, OpenBao};
use kms_harness::vault::provision::{Access, Wanted};
use tempfile::TempDir;

use crate::common::kms::Kms;

/// The real parts of this tier.
#[derive(Clone)]
pub struct Parts {
    pub bao: PathBuf,
    pub plugin: Arc<PathBuf>,
}

impl Parts {
    /// Finds the server, and builds the plugin alone where it is there. An absent server is a
    /// reason to ignore tests; a plugin that does not build is a failure of all of them.
    pub fn find() -> Result<Self, String> {
        let bao = openbao::find().map_err(|error| format!("{error:#}"))?;
        let build = async {
            let workspace = own::workspace().context("the checkout with the plugin is gone")?;
            own::build(&workspace).await
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime starts");
        match runtime.block_on(build) {
            Ok(plugin) => Ok(Self {
                bao,
                plugin: Arc::new(plugin),
            }),
            Err(error) => panic!("{error:#}"),
        }
    }
}

/// How the server runs.
#[derive(Clone, Copy, Debug)]
pub enum Server {
    /// Dev mode, plain HTTP.
    Dev,
    /// Raft and TLS with so many nodes.
    Raft(usize),
}

impl Server {
    pub async fn start(self, parts: &Parts, folder: &Path) -> Result<OpenBao> {
        match self {
            Self::Dev => OpenBao::dev(&parts.bao, folder).await,
            Self::Raft(nodes) => OpenBao::raft(&parts.bao, folder, nodes).await,
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dev => write!(f, "dev"),
            Self::Raft(nodes) => write!(f, "raft_{nodes}"),
        }
    }
}

/// All of it. Fields are dropped in this order: first the plugin, then its Vault, then the files.
pub struct World {
    pub plugin: Running,
    pub bao: OpenBao,
    pub access: Access,
    pub vocabulary: Vocabulary,
    pub folder: TempDir,
}

impl World {
    pub async fn start(
        parts: &Parts,
        server: Server,
        vocabulary: Vocabulary,
        lookup_self: bool,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("kms-").tempdir()?;
        let bao = server.start(parts, folder.path()).await?;
        let access = Wanted {
            lookup_self,
            ..Wanted::default()
        }
        .create(&bao.admin(), folder.path())
        .await?;
        let values = values(&bao, &access, folder.path());
        let subject = own::describe(&parts.plugin, vocabulary, &values);
        let log = folder.path().join("plugin.log");
        let plugin = Running::start(subject, values, log).await?;
        Ok(Self {
            plugin,
            bao,
            access,
            vocabulary,
            folder,
        })
    }

    pub async fn kms(&self) -> Result<Kms> {
        Kms::connect(self.plugin.socket()).await
    }
}
