//! Credential files: read by path each time, cleaned, and checked before they are used.
//!
//! A BOM and the line ends of an editor are cut, and surrounding blanks too except around a
//! password. What is left must be usable as it is: an empty value or a control character in the
//! middle is an error that names the file, never its content (BUG-012).
//!
//! A path may also lead to a folder, as Kubernetes mounts a Secret: then the file is looked for
//! under the names its key may have (BUG-099). At a login nothing else is decided here: when to
//! read is the token code's business.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::Secret;
use crate::seam::SecretSource;

/// Longest credential in bytes. Longer than any token (a batch token with its metadata stays below
/// 2 KiB), shorter than what a server's header limit refuses without a reason.
pub const MAX_CREDENTIAL: usize = 16 * 1024;

/// What a credential is for, which decides how it is cleaned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A Vault token: goes into a header.
    Token,
    /// A role id.
    Id,
    /// A secret id.
    SecretId,
    /// A user name: goes into a path.
    Username,
    /// A password: its blanks are its own.
    Password,
    /// A JWT: three parts between dots.
    Jwt,
}

impl Kind {
    /// Names that the file may have when the path leads to a folder; the first is preferred.
    pub fn file_names(self) -> &'static [&'static str] {
        match self {
            Self::Token => &["token"],
            Self::Id => &["role-id", "role_id"],
            Self::SecretId => &["secret-id", "secret_id"],
            Self::Username => &["username"],
            Self::Password => &["password"],
            Self::Jwt => &["jwt", "token"],
        }
    }

    /// For messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Id => "role id",
            Self::SecretId => "secret id",
            Self::Username => "user name",
            Self::Password => "password",
            Self::Jwt => "JWT",
        }
    }
}

/// Names looked for in a folder that lacks the right one, so that the error can say what is there.
const PROBED: &[&str] = &[
    "token",
    "jwt",
    "role-id",
    "role_id",
    "secret-id",
    "secret_id",
    "username",
    "password",
    "TOKEN",
    "ROLE-ID",
    "ROLE_ID",
    "SECRET-ID",
    "SECRET_ID",
    "USERNAME",
    "PASSWORD",
    "roleId",
    "roleID",
    "roleid",
    "secretId",
    "secretID",
    "secretid",
    "user",
    "id",
    "role-id.txt",
    "secret-id.txt",
    "token.txt",
    "password.txt",
];

/// Why a value cannot be used as a credential. No variant holds any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Nothing at all.
    #[error("is empty")]
    Empty,
    /// Blanks and line ends only.
    #[error("holds only blanks")]
    Blank,
    /// More than one line.
    #[error("holds {0} lines where one is expected")]
    Lines(usize),
    /// A control character inside.
    #[error("holds a control character at byte {0}")]
    Control(usize),
    /// Not UTF-8.
    #[error("is not UTF-8 text")]
    NotUtf8,
    /// UTF-16, as some editors save.
    #[error("is UTF-16 text; it must be UTF-8")]
    Utf16,
    /// Over [`MAX_CREDENTIAL`].
    #[error("is longer than {MAX_CREDENTIAL} bytes")]
    TooLong,
    /// Something that a header cannot carry.
    #[error("holds a blank or a character outside ASCII, which no token has")]
    NotAToken,
    /// Not three parts of letters, digits, `-` and `_` between dots.
    #[error("is no JWT: one has three parts between dots")]
    NotAJwt,
    /// Something that a path cannot carry.
    #[error("holds a character that no user name has")]
    NotAUserName,
}

/// Cleans and checks a credential, wherever it came from.
pub fn clean(kind: Kind, bytes: &[u8]) -> Result<Secret, Unfit> {
    if bytes.len() > MAX_CREDENTIAL {
        return Err(Unfit::TooLong);
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Unfit::Utf16);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|_| Unfit::NotUtf8)?;
    if text.is_empty() {
        return Err(Unfit::Empty);
    }
    if text.trim().is_empty() {
        return Err(Unfit::Blank);
    }
    let value = match kind {
        Kind::Password => text.trim_end_matches(['\r', '\n']),
        _ => text.trim(),
    };
    if let Some(at) = value.find(char::is_control) {
        let lines = value.lines().filter(|line| !line.trim().is_empty()).count();
        return Err(if lines > 1 {
            Unfit::Lines(lines)
        } else {
            Unfit::Control(at)
        });
    }
    match kind {
        Kind::Token if !value.bytes().all(|b| b.is_ascii_graphic()) => Err(Unfit::NotAToken),
        Kind::Jwt if !is_jwt(value) => Err(Unfit::NotAJwt),
        Kind::Username if !is_user_name(value) => Err(Unfit::NotAUserName),
        _ => Ok(Secret::new(value.to_owned())),
    }
}

/// A user name becomes a part of the login's path, so it may hold nothing that means something
/// there (BUG-121).
fn is_user_name(value: &str) -> bool {
    value != "."
        && value != ".."
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.@+".contains(&b))
}

/// The compact form, whatever is in it.
fn is_jwt(value: &str) -> bool {
    let part = |part: &str| {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_=".contains(&b);
        !part.is_empty() && part.bytes().all(fits)
    };
    value.split('.').count() == 3 && value.split('.').all(part)
}

/// Why a credential file gave nothing. Its text names the file and never its content.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The file cannot be read.
    #[error("{}: {}", path.display(), io_text(error))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file was read and is no credential.
    #[error("{}: the {} in it {unfit}", path.display(), kind.as_str())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        kind: Kind,
        /// What it is instead.
        unfit: Unfit,
    },
    /// The path leads to a folder without the file.
    #[error("{}: the folder holds no {}{}", path.display(), kind.file_names().join(" or "), found_text(found))]
    Missing {
        /// The folder.
        path: PathBuf,
        /// What was looked for.
        kind: Kind,
        /// Names that are there.
        found: Vec<&'static str>,
    },
    /// Two spellings of one file with different content.
    #[error("{}: {first} and {second} differ", path.display())]
    Contradiction {
        /// The folder.
        path: PathBuf,
        /// One name.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
}

impl SecretFileError {
    /// What to do about it.
    pub fn fix(&self) -> String {
        match self {
            Self::Io { error, .. } => match error.kind() {
                io::ErrorKind::NotFound => {
                    "create the file, or mount it into the container".to_owned()
                }
                io::ErrorKind::PermissionDenied => "let the plugin's user read it".to_owned(),
                io::ErrorKind::InvalidData => "name the file that holds the value alone".to_owned(),
                _ => "name a regular file that can be read".to_owned(),
            },
            Self::Unfit { kind, .. } => {
                format!("write the {} and nothing else into it", kind.as_str())
            }
            Self::Missing { kind, .. } => {
                format!("name the file {}, or give its path", kind.file_names()[0])
            }
            Self::Contradiction { first, .. } => format!("keep {first} alone"),
        }
    }
}

fn io_text(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "the file does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "the file may not be read".to_owned(),
        io::ErrorKind::InvalidData => "the file is too long".to_owned(),
        _ => format!("the file cannot be read ({error})"),
    }
}

fn found_text(found: &[&str]) -> String {
    if found.is_empty() {
        String::new()
    } else {
        format!("; found: {}", found.join(", "))
    }
}

/// Reads and cleans one credential. Called at the start to check it, and again at each login.
pub fn read_credential(
    source: &dyn SecretSource,
    path: &Path,
    kind: Kind,
) -> Result<Secret, SecretFileError> {
    match source.read(path, MAX_CREDENTIAL) {
        Ok(bytes) => clean_file(path, kind, &bytes),
        // What a source says about a folder: the system's own word, or that it is no regular file.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::IsADirectory | io::ErrorKind::InvalidInput
            ) =>
        {
            from_folder(source, path, kind, error)
        }
        Err(error) => Err(SecretFileError::Io {
            path: path.to_owned(),
            error,
        }),
    }
}

fn clean_file(path: &Path, kind: Kind, bytes: &[u8]) -> Result<Secret, SecretFileError> {
    clean(kind, bytes).map_err(|unfit| SecretFileError::Unfit {
        path: path.to_owned(),
        kind,
        unfit,
    })
}

fn from_folder(
    source: &dyn SecretSource,
    folder: &Path,
    kind: Kind,
    refused: io::Error,
) -> Result<Secret, SecretFileError> {
    let mut found: Option<(&'static str, Secret)> = None;
    for name in kind.file_names() {
        let path = folder.join(name);
        let value = match source.read(&path, MAX_CREDENTIAL) {
            Ok(bytes) => clean_file(&path, kind, &bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            // Not a folder at all: a pipe, a device, a socket.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(SecretFileError::Io {
                    path: folder.to_owned(),
                    error: refused,
                });
            }
            Err(error) => return Err(SecretFileError::Io { path, error }),
        };
        match &found {
            Some((first, other)) if *other != value => {
                return Err(SecretFileError::Contradiction {
                    path: folder.to_owned(),
                    first,
                    second: name,
                });
            }
            Some(_) => {}
            None => found = Some((name, value)),
        }
    }
    found
        .map(|(_, value)| value)
        .ok_or_else(|| SecretFileError::Missing {
            path: folder.to_owned(),
            kind,
            found: PROBED
                .iter()
                .copied()
                .filter(|name| {
                    !matches!(source.read(&folder.join(name), MAX_CREDENTIAL),
                    Err(error) if error.kind() == io::ErrorKind::NotFound)
                })
                .collect(),
        })
}
