//! A Vault, what the plugin needs there, and the plugin.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use kms_harness::subject::own::{self, Vocabulary};
use kms_harness::subject::running::Running;
use kms_harness::subject::values;
use kms_harness::vault::Breakable;
use kms_harness::vault::provision::{Access, Wanted};
use tempfile::TempDir;

use super::kind::{Place, Setup};
use crate::common::kms::Kms;

/// What a test starts.
#[derive(Clone)]
pub struct Parts {
    pub place: Place,
    pub plugin: Arc<PathBuf>,
}

/// All of it. Fields are dropped in this order: first the plugin, then its Vault, then the files.
pub struct World {
    pub plugin: Running,
    pub vault: Box<dyn Breakable>,
    pub access: Access,
    pub vocabulary: Vocabulary,
    pub folder: TempDir,
}

impl World {
    pub async fn start(
        parts: &Parts,
        setup: Setup,
        vocabulary: Vocabulary,
        lookup_self: bool,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("kms-").tempdir()?;
        let vault = parts.place.start(setup, folder.path()).await?;
        let access = Wanted {
            lookup_self,
            ..Wanted::default()
        }
        .create(&vault.admin(), folder.path())
        .await?;
        let values = values(vault.as_ref(), &access, folder.path());
        let subject = own::describe(&parts.plugin, vocabulary, &values);
        let log = folder.path().join("plugin.log");
        let plugin = Running::start(subject, values, log).await?;
        Ok(Self {
            plugin,
            vault,
            access,
            vocabulary,
            folder,
        })
    }

    pub async fn kms(&self) -> Result<Kms> {
        Kms::connect(self.plugin.socket()).await
    }
}
