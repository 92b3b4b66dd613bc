//! Further plugins beside the one under test, each with a key and a remote KMS of its own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use kms_conformance::{Act, Backend, BoxFuture, Connect, Process, Seen, Spare, Spares, UnixSocket};

use crate::bug::Bug;
use crate::kms::{Kms, Remote};
use crate::plugin::{Log, Plugin};
use crate::served::Life;

/// Starts them in a folder.
pub(crate) struct Beside {
    bug: Option<Bug>,
    folder: PathBuf,
    started: AtomicU32,
}

impl Beside {
    pub fn new(bug: Option<Bug>, folder: &Path) -> Self {
        Beside {
            bug,
            folder: folder.to_owned(),
            started: AtomicU32::new(0),
        }
    }

    async fn life(&self, backend: Backend) -> io::Result<Life> {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let remote = match backend {
            Backend::OwnKey => Remote::There,
            Backend::Late | Backend::False(_) => Remote::Away,
        };
        let kms = Kms::in_memory(self.bug, remote)?;
        let file = |end: &str| self.folder.join(format!("spare-{number}.{end}"));
        let plugin = Plugin::new(self.bug, kms, Log::File(file("log")), true);
        let life = Life::new(Arc::new(plugin), file("sock"));
        if !life.plugin.is(Bug::NoStartWithoutBackend) || backend == Backend::OwnKey {
            life.start().await?;
        }
        Ok(life)
    }
}

impl Spares for Beside {
    fn start(&self, backend: Backend) -> BoxFuture<'_, Result<Box<dyn Spare>, String>> {
        Box::pin(async move {
            let life = self.life(backend).await;
            let life = life.map_err(|error| format!("spare-failed: {error}"))?;
            Ok(Box::new(Other(Arc::new(life), backend)) as Box<dyn Spare>)
        })
    }
}

struct Other(Arc<Life>, Backend);

impl Other {
    async fn done(&self, act: Act) -> io::Result<()> {
        let plugin = &self.0.plugin;
        match act {
            Act::Hold => plugin.kms.becomes(Remote::Silent),
            Act::Come => plugin.kms.becomes(Remote::There),
            Act::Rotate => plugin.rotate()?,
            Act::RotateInVain => plugin.kms.rotate_in_vain()?,
            Act::DeleteKey => plugin.kms.delete()?,
            Act::MakeKey => plugin.kms.make_again()?,
            Act::Restart => self.0.restart().await?,
        }
        Ok(())
    }
}

impl Spare for Other {
    fn connect(&self) -> Arc<dyn Connect> {
        Arc::new(UnixSocket(self.0.socket.clone()))
    }

    fn process(&self) -> Arc<dyn Process> {
        self.0.clone()
    }

    fn act(&self, act: Act) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move { self.done(act).await.map_err(|error| error.to_string()) })
    }

    fn seen(&self) -> Seen {
        let told = self.0.plugin.is(Bug::AnyBackendTrusted) && self.1 != Backend::OwnKey;
        Seen {
            contacts: 1,
            requests: told.into(),
            credentials: told.into(),
        }
    }
}
