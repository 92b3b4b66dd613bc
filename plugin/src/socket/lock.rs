//! The lock beside the socket: of several starters one binds, and a successor waits its turn.
//!
//! The file is never removed, since a removed lock would let two processes hold "the" lock. It is
//! opened for reading and readable by all, so that a later start as another user can take it.
//! Not here: what the holder may do with the socket.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::OFlag;
use tokio::time::{Instant, sleep};

use super::error::SocketError;
use super::path::{FileId, hint};

/// How long a starter waits for the lock: a predecessor drains in half of it.
pub(super) const WAIT: Duration = Duration::from_secs(10);
/// Between two tries. `flock` could wait by itself, but only by blocking the runtime's one thread.
const RETRY: Duration = Duration::from_millis(25);

/// The lock, held until dropped or until the process ends, however it ends.
#[derive(Debug)]
pub(super) struct LockFile {
    path: PathBuf,
    file: File,
}

/// `<socket>.lock`
pub(super) fn lock_path(socket: &Path) -> PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

impl LockFile {
    /// Takes the lock, waiting up to `limit`. `Ok(None)`: another process kept it.
    pub(super) async fn take(path: &Path, limit: Duration) -> Result<Option<Self>, SocketError> {
        let end = Instant::now() + limit;
        loop {
            if let Some(lock) = Self::try_take(path)? {
                return Ok(Some(lock));
            }
            if Instant::now() >= end {
                return Ok(None);
            }
            sleep(RETRY).await;
        }
    }

    /// Takes the lock if nobody has it.
    pub(super) fn try_take(path: &Path) -> Result<Option<Self>, SocketError> {
        let failed = |action, source| SocketError::System {
            action,
            path: path.to_owned(),
            hint: hint(path, &source),
            source,
        };
        let file = open(path).map_err(|error| failed("open the lock file", error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(failed("lock", error)),
        }
        let lock = Self {
            path: path.to_owned(),
            file,
        };
        // Somebody may have removed the file between open and lock: then this is nobody's lock.
        Ok(lock.is_current().then_some(lock))
    }

    /// Whether the path still leads to the locked file.
    pub(super) fn is_current(&self) -> bool {
        let ours = self.file.metadata().map(|meta| FileId::of(&meta));
        let there = self.path.symlink_metadata().map(|meta| FileId::of(&meta));
        matches!((ours, there), (Ok(ours), Ok(there)) if ours == there)
    }
}

/// Opens the lock file, creating it with mode 0644 whatever the umask says.
fn open(path: &Path) -> io::Result<File> {
    // No creation flag for an existing file: in a sticky folder the kernel (`protected_regular`)
    // refuses it for a file that another user made.
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path, flags)?,
        other => other?,
    };
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        ))
    }
}

fn create(path: &Path, flags: i32) -> io::Result<File> {
    let made = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o644)
        .custom_flags(flags)
        .open(path);
    match made {
        Ok(file) => {
            file.set_permissions(Permissions::from_mode(0o644))?;
            drop(file);
        }
        // Another starter was quicker.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}
