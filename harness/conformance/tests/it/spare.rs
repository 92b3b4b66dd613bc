//! Further processes of the plugin under test, each with a key and a remote KMS of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use kms_conformance::{Act, Backend, BoxFuture, Connect, Process, Seen, Spare, Spares, UnixSocket};

use crate::breakages::Breakage;
use crate::plugin::{Plugin, Remote};
use crate::server::Life;

/// Starts them in a folder.
pub struct Beside {
    breakage: Option<Breakage>,
    folder: PathBuf,
    started: AtomicU32,
}

impl Beside {
    pub fn new(breakage: Option<Breakage>, folder: &Path) -> Self {
        Beside {
            breakage,
            folder: folder.to_owned(),
            started: AtomicU32::new(0),
        }
    }
}

impl Spares for Beside {
    fn start(&self, backend: Backend) -> BoxFuture<'_, Result<Box<dyn Spare>, String>> {
        Box::pin(async move {
            let number = self.started.fetch_add(1, Ordering::Relaxed);
            let mut plugin = Plugin::new(self.breakage);
            plugin.beside = true;
            plugin.remote = match backend {
                Backend::OwnKey => Remote::There,
                Backend::Late | Backend::False(_) => Remote::Away,
            }
            .into();
            let life = Life::new(
                Arc::new(plugin),
                self.folder.join(format!("spare-{number}.sock")),
            );
            let starts =
                !life.plugin.is(Breakage::NoStartWithoutBackend) || backend == Backend::OwnKey;
            if starts {
                life.start().await;
            }
            Ok(Box::new(Other(Arc::new(life), backend)) as Box<dyn Spare>)
        })
    }
}

struct Other(Arc<Life>, Backend);

impl Spare for Other {
    fn connect(&self) -> Arc<dyn Connect> {
        Arc::new(UnixSocket(self.0.socket.clone()))
    }

    fn process(&self) -> Arc<dyn Process> {
        self.0.clone()
    }

    fn act(&self, act: Act) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let plugin = &self.0.plugin;
            match act {
                Act::Hold => *plugin.remote.lock().unwrap() = Remote::Silent,
                Act::Come => *plugin.remote.lock().unwrap() = Remote::There,
                Act::Rotate => plugin.rotate(),
                Act::RotateInVain => plugin.rotate_in_vain(),
                Act::DeleteKey => plugin.delete_key(),
                Act::MakeKey => plugin.make_key(),
                Act::Restart => self.0.restart().await,
            }
            Ok(())
        })
    }

    fn seen(&self) -> Seen {
        let told = self.0.plugin.is(Breakage::AnyBackendTrusted) && self.1 != Backend::OwnKey;
        Seen {
            contacts: 1,
            requests: told.into(),
            credentials: told.into(),
        }
    }
}
