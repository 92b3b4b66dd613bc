//! What stands at the socket's path, and whether we may use its folder. Looks only, changes nothing.

use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{AccessFlags, access, getegid, geteuid};
use tokio::net::UnixStream;

use super::error::SocketError;

/// `sun_path` has 108 bytes, the last is NUL (unix(7)).
const LONGEST: usize = 107;

/// Device and inode: a socket keeps its inode for as long as it is open, so the number is not reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(super) fn of(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
        }
    }
}

/// What stands at the path.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing.
    Nothing,
    /// The socket with the identity that was asked about.
    Ours,
    /// A socket that refuses connections: its process is gone.
    Dead(FileId),
    /// A socket that somebody serves.
    Live {
        /// ` (pid N)`, or empty.
        owner: String,
    },
    /// Something else, which is never removed.
    NotASocket(&'static str),
    /// The system does not let us know.
    Unclear(io::Error),
}

/// Looks at `path`. A socket other than `ours` is dialled: the only proof of a living owner.
pub(super) async fn look(path: &Path, ours: Option<FileId>) -> Found {
    let meta = match path.symlink_metadata() {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Found::Nothing,
        Err(error) => return Found::Unclear(error),
    };
    if !meta.file_type().is_socket() {
        return Found::NotASocket(kind(path, &meta));
    }
    if ours == Some(FileId::of(&meta)) {
        return Found::Ours;
    }
    match UnixStream::connect(path).await {
        Ok(stream) => Found::Live {
            owner: owner(&stream),
        },
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => Found::Dead(FileId::of(&meta)),
            io::ErrorKind::NotFound => Found::Nothing,
            // A full backlog is a busy owner or a frozen one, not a dead one.
            io::ErrorKind::WouldBlock => Found::Live {
                owner: String::new(),
            },
            _ => Found::Unclear(error),
        },
    }
}

/// Who listens, as far as our PID namespace shows it.
fn owner(stream: &UnixStream) -> String {
    match getsockopt(stream, PeerCredentials) {
        Ok(peer) if peer.pid() > 0 => format!(" (pid {})", peer.pid()),
        _ => String::new(),
    }
}

fn kind(path: &Path, meta: &Metadata) -> &'static str {
    let kind = meta.file_type();
    if kind.is_symlink() {
        match path.metadata() {
            Ok(_) => "a symbolic link",
            Err(_) => "a symbolic link that leads nowhere",
        }
    } else if kind.is_dir() {
        "a folder"
    } else if kind.is_file() {
        "a regular file"
    } else {
        "a special file"
    }
}

/// Checks the length of the path and its folder. The answer is a warning to pass on, if any.
pub(super) fn check(path: &Path) -> Result<Option<String>, SocketError> {
    let length = path.as_os_str().as_bytes().len();
    if length > LONGEST {
        return Err(SocketError::TooLong {
            path: path.to_owned(),
            length,
            limit: LONGEST,
        });
    }
    let folder = folder_of(path);
    let wrong = |problem: String| SocketError::Folder {
        folder: folder.to_owned(),
        problem,
    };
    let meta = folder.metadata().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => wrong(
            "does not exist: create it, or mount it into the container (hostPath with type \
             DirectoryOrCreate)"
                .to_owned(),
        ),
        _ => wrong(format!(
            "cannot be looked at: {error}{}",
            hint(path, &error)
        )),
    })?;
    if !meta.is_dir() {
        return Err(wrong("is not a folder".to_owned()));
    }
    let open_to_all = meta.mode() & 0o002 != 0 && meta.mode() & 0o1000 == 0;
    Ok(open_to_all.then(|| {
        format!(
            "every user of this machine can replace the socket: {} has mode {:04o}; 0700 is enough",
            folder.display(),
            meta.mode() & 0o7777
        )
    }))
}

/// Whether this process may make a file beside `path`.
pub(super) fn may_write(path: &Path) -> Result<(), SocketError> {
    let wanted = AccessFlags::W_OK | AccessFlags::X_OK;
    access(folder_of(path), wanted).map_err(|errno| {
        let source = io::Error::from(errno);
        SocketError::System {
            action: "make",
            path: path.to_owned(),
            hint: hint(path, &source),
            source,
        }
    })
}

/// The folder that holds `path`.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// What a person needs next to a refused permission: who we are, whose folder it is, what else
/// may forbid it (BUG-119).
pub(super) fn hint(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {}
        io::ErrorKind::ReadOnlyFilesystem => {
            return "; the folder must be a writable mount (hostPath or emptyDir)".to_owned();
        }
        _ => return String::new(),
    }
    let folder = folder_of(path);
    let whose = match folder.metadata() {
        Ok(meta) => format!(
            "{} belongs to uid {} gid {} with mode {:04o}",
            folder.display(),
            meta.uid(),
            meta.gid(),
            meta.mode() & 0o7777
        ),
        Err(_) => format!("{} cannot be looked at", folder.display()),
    };
    let label = if Path::new("/sys/fs/selinux/enforce").exists() {
        "; SELinux is active: look at its label (`ls -Zd`) and at the audit log"
    } else {
        ""
    };
    format!(
        "; we run as uid {} gid {}, {whose}{label}",
        geteuid(),
        getegid()
    )
}
