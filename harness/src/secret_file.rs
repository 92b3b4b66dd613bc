//! Files that hold a secret.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};

/// Writes `secret` to a new file of mode 0600; it has never a wider one, not even for a moment.
pub fn write(file: &Path, secret: &str) -> Result<()> {
    File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut open| open.write_all(secret.as_bytes()))
        .with_context(|| format!("write the secret file {}", file.display()))
}

/// Puts `secret` into a file that may be there, at once: a reader sees the old content or the new.
pub fn replace(file: &Path, secret: &str) -> Result<()> {
    let mut new = file.as_os_str().to_owned();
    new.push(".new");
    write(new.as_ref(), secret)?;
    std::fs::rename(&new, file).with_context(|| format!("replace {}", file.display()))
}
