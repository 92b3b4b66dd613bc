//! Making room at the path and binding there with exactly the mode that was asked for.

use std::fs::{Metadata, remove_file};
use std::io;
use std::os::unix::fs::{MetadataExt, lchown};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, umask};
use nix::unistd::Group;
use tokio::net::UnixListener;
use tokio::time::{Instant, sleep};

use super::SocketOptions;
use super::error::SocketError;
use super::path::{FileId, Found, hint, look};

/// A process that dies closes its lock and its socket one after the other, so an owner counts as
/// living only when it still answers after this time.
const GRACE: Duration = Duration::from_millis(300);
const RETRY: Duration = Duration::from_millis(25);
/// The umask belongs to the whole process, so of several sockets one is bound at a time.
static UMASK: Mutex<()> = Mutex::new(());

/// Where to bind and how, resolved.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    mode: u32,
    group: Option<u32>,
}

/// A listening socket and the identity of its file.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) listener: UnixListener,
    pub(super) id: FileId,
}

impl Place {
    pub(super) fn resolve(options: &SocketOptions) -> Result<Self, SocketError> {
        let group = match &options.group {
            None => None,
            Some(name) => Some(group_id(name)?),
        };
        Ok(Self {
            path: options.path.clone(),
            mode: options.mode & 0o777,
            group,
        })
    }

    /// Removes a dead socket, if there is one, and binds. Only under the lock.
    pub(super) async fn bind(&self) -> Result<Bound, SocketError> {
        let end = Instant::now() + GRACE;
        loop {
            match look(&self.path, None).await {
                Found::Nothing => {}
                Found::Dead(id) => {
                    remove_own(&self.path, id)
                        .map_err(|error| self.failed("remove the dead socket", error))?;
                }
                Found::Live { .. } if Instant::now() < end => {
                    sleep(RETRY).await;
                    continue;
                }
                Found::Live { owner } => {
                    return Err(SocketError::LiveOwner {
                        path: self.path.clone(),
                        owner,
                    });
                }
                Found::NotASocket(kind) => {
                    return Err(SocketError::NotASocket {
                        path: self.path.clone(),
                        kind,
                    });
                }
                Found::Unclear(source) => {
                    return Err(SocketError::Unclear {
                        path: self.path.clone(),
                        source,
                    });
                }
                Found::Ours => unreachable!("nothing was named as ours"),
            }
            match self.bind_now() {
                Ok(bound) => return Ok(bound),
                // Somebody who does not know our lock was quicker: look again.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < end => {
                    sleep(RETRY).await;
                }
                Err(error) => return Err(self.failed("bind", error)),
            }
        }
    }

    /// Binds with exactly the mode, in steps that only ever widen towards it.
    ///
    /// The kernel gives a new socket 0777 minus the umask, so the umask alone makes the mode exact
    /// from the first moment. With a group, the file starts with the owner's bits only, gets its
    /// group, and then its mode. Nothing else creates files meanwhile: the runtime has one thread.
    fn bind_now(&self) -> io::Result<Bound> {
        let at_first = if self.group.is_some() {
            self.mode & 0o700
        } else {
            self.mode
        };
        let listener = {
            let _alone = UMASK.lock().unwrap_or_else(PoisonError::into_inner);
            let before = umask(Mode::from_bits_truncate(0o777 & !at_first));
            let listener = StdListener::bind(&self.path);
            umask(before);
            listener?
        };
        let id = FileId::of(&self.path.symlink_metadata()?);
        self.finish(listener, id).inspect_err(|_| {
            // The first error is the one to tell.
            let _ = remove_own(&self.path, id);
        })
    }

    fn finish(&self, listener: StdListener, id: FileId) -> io::Result<Bound> {
        if let Some(group) = self.group {
            lchown(&self.path, None, Some(group))?;
        }
        // Differs with a group, and where the folder's default access list narrowed it.
        if permissions(&self.path.symlink_metadata()?) != self.mode {
            let mode = Mode::from_bits_truncate(self.mode);
            fchmodat(AT_FDCWD, &self.path, mode, FchmodatFlags::NoFollowSymlink)?;
        }
        listener.set_nonblocking(true)?;
        Ok(Bound {
            listener: UnixListener::from_std(listener)?,
            id,
        })
    }

    fn failed(&self, action: &'static str, source: io::Error) -> SocketError {
        SocketError::System {
            action,
            path: self.path.clone(),
            hint: hint(&self.path, &source),
            source,
        }
    }
}

fn permissions(meta: &Metadata) -> u32 {
    meta.mode() & 0o777
}

/// Removes the file if it still is the one that was meant (BUG-053).
pub(super) fn remove_own(path: &Path, id: FileId) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(meta) if FileId::of(&meta) == id => match remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        },
        _ => Ok(()),
    }
}

fn group_id(name: &str) -> Result<u32, SocketError> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        _ => Err(SocketError::UnknownGroup(name.to_owned())),
    }
}
