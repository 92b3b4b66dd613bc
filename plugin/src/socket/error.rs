//! Why the socket cannot be served, in words that name the path and the fix.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why no socket could be opened. Each text fits after "failed to open the socket: ".
#[derive(Debug, Error)]
pub enum SocketError {
    /// The path does not fit a unix address. Found before anything is touched (BUG-119).
    #[error(
        "{path} has {length} bytes, a unix socket address holds at most {limit}: choose a shorter path"
    )]
    TooLong {
        /// The path asked for.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
        /// The most that fits.
        limit: usize,
    },
    /// `-socket-group` names no group.
    #[error("the group {0:?} is not known on this system: give a name from /etc/group or a number")]
    UnknownGroup(String),
    /// The folder of the socket is missing or is not a folder.
    #[error("the folder {folder} {problem}")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it, and the fix.
        problem: String,
    },
    /// Something that is no socket has the path. It is never removed (BUG-067).
    #[error(
        "{path} is {kind}, not a socket; it was left as it is: move it away or choose another path"
    )]
    NotASocket {
        /// The path.
        path: PathBuf,
        /// What is there, with its article.
        kind: &'static str,
    },
    /// Another process answers at the path.
    #[error("another instance is serving at {path}{owner}; it was left alone")]
    LiveOwner {
        /// The path.
        path: PathBuf,
        /// ` (pid N)` where the system tells, or empty.
        owner: String,
    },
    /// Another process holds the lock and no socket answers.
    #[error(
        "another instance holds the lock {lock} but does not serve: look for a hanging process"
    )]
    Locked {
        /// The lock file.
        lock: PathBuf,
    },
    /// Whether the existing socket is in use cannot be found out, so it is left alone.
    #[error("cannot tell whether the socket {path} is in use, so it was left alone: {source}")]
    Unclear {
        /// The path.
        path: PathBuf,
        /// Why the attempt to connect failed.
        source: io::Error,
    },
    /// The system refused a step.
    #[error("cannot {action} {path}: {source}{hint}")]
    System {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
        /// Who we are, whose folder it is and what to look at; may be empty.
        hint: String,
    },
}

impl SocketError {
    /// Whether the configuration is at fault, whatever the state of the machine: exit code 2, not 1.
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::TooLong { .. } | Self::UnknownGroup(_))
    }
}
