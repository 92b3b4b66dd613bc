//! The unix socket of the KMS API: who may have the path, and what happens when it changes hands.
//!
//! [`open`] gives a stream of connections that outlives the socket file, and a [`Handle`] to hand
//! the path over to a successor. Rules (design: "Socket and process"):
//!
//! * of several starters one serves, by a lock that the kernel releases with the process;
//! * a socket is removed only when nobody answers on it, anything else never (BUG-067);
//! * what is removed is what was looked at: device and inode are compared (BUG-053);
//! * the mode is never wider than asked, not even between two system calls (KMS2-CONN-15);
//! * a lost path is noticed within a second.
//!
//! Not here: HTTP/2, and the drain of calls in flight.

mod bind;
mod error;
mod lock;
mod path;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;

use crate::event::Event;
use crate::seam::Observer;

pub use error::SocketError;
pub use watch::{Handle, Incoming};

/// What is asked of the socket file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Where it stands.
    pub path: PathBuf,
    /// Its permission bits; others than the lowest nine are ignored.
    pub mode: u32,
    /// Its group, a name or a number; the process's own when absent.
    pub group: Option<String>,
}

/// What stands at the path before a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Free,
    /// A socket that nobody answers on; a start replaces it.
    Dead,
    /// A process serves there.
    Served {
        /// ` (pid N)` where the system tells, or empty.
        owner: String,
    },
}

/// What a person should know about who can reach or replace the socket.
pub fn warnings(options: &SocketOptions) -> Vec<String> {
    // What keeps the folder from being looked at is an error elsewhere.
    let folder = path::check(&options.path).ok().flatten();
    let socket = (options.mode & 0o002 != 0).then(|| {
        format!(
            "every user of this machine can use the key: the socket's mode is {:04o}",
            options.mode & 0o777
        )
    });
    folder.into_iter().chain(socket).collect()
}

/// Looks at what a start would meet, and changes nothing.
///
/// # Errors
/// What [`open`] would fail with, as far as that can be seen from outside.
pub async fn examine(options: &SocketOptions) -> Result<State, SocketError> {
    path::check(&options.path)?;
    let place = bind::Place::resolve(options)?;
    let state = match path::look(&place.path, None).await {
        path::Found::Nothing | path::Found::Ours => State::Free,
        path::Found::Dead(_) => State::Dead,
        path::Found::Live { owner } => return Ok(State::Served { owner }),
        path::Found::NotASocket(kind) => {
            let path = place.path;
            return Err(SocketError::NotASocket { path, kind });
        }
        path::Found::Unclear(source) => {
            let path = place.path;
            return Err(SocketError::Unclear { path, source });
        }
    };
    path::may_write(&place.path)?;
    Ok(state)
}

/// Opens the socket: waits up to 10 s for a predecessor that holds the lock, removes a dead
/// socket, binds, and watches the path from then on.
///
/// # Errors
/// See [`SocketError`]. A living owner and anything that is not a socket are left untouched.
pub async fn open(
    options: SocketOptions,
    observer: Arc<dyn Observer>,
) -> Result<(Incoming, Handle), SocketError> {
    path::check(&options.path)?;
    for text in &warnings(&options) {
        observer.event(&Event::Notice { warn: true, text });
    }
    let place = bind::Place::resolve(&options)?;
    let lock_path = lock::lock_path(&place.path);
    let lock = match lock::LockFile::try_take(&lock_path)? {
        Some(lock) => Some(lock),
        None => {
            observer.event(&Event::Notice {
                warn: false,
                text: "another instance holds the socket's lock: waiting up to 10 s for it",
            });
            lock::LockFile::take(&lock_path, lock::WAIT).await?
        }
    };
    let Some(lock) = lock else {
        return Err(match path::look(&place.path, None).await {
            path::Found::Live { owner } => SocketError::LiveOwner {
                path: place.path,
                owner,
            },
            _ => SocketError::Locked { lock: lock_path },
        });
    };
    let bound = place.bind().await?;
    Ok(watch::start(place, lock, bound, observer))
}
