//! The folder that a run leaves behind.
//!
//! Files appear whole or not at all, the history line by line while the run goes. Before it is
//! sealed, every file is searched for the run's secrets.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use kms_history::search;
use sha2::{Digest, Sha256};

/// Name of the file with the digests of all others, in the form of `sha256sum`.
pub const SUMS: &str = "SHA256SUMS";

/// A folder that is being filled.
#[derive(Debug)]
pub struct Bundle {
    folder: PathBuf,
}

/// A folder could not be used; whether that is the user's choice or the machine's state.
#[derive(Debug)]
pub enum Unusable {
    /// `--out` names something that must not be overwritten.
    Taken(anyhow::Error),
    /// It cannot be written to.
    Unwritable(anyhow::Error),
}

impl Bundle {
    /// Uses `folder`: made if it is not there; if it is, it must be empty.
    pub fn create(folder: &Path) -> Result<Self, Unusable> {
        let shown = folder.display();
        if let Ok(mut entries) = fs::read_dir(folder)
            && entries.next().is_some()
        {
            return Err(Unusable::Taken(anyhow::anyhow!(
                "--out {shown}: there is something in this folder; name a new or an empty one"
            )));
        }
        if folder.exists() && !folder.is_dir() {
            return Err(Unusable::Taken(anyhow::anyhow!(
                "--out {shown}: this is no folder"
            )));
        }
        fs::create_dir_all(folder)
            .with_context(|| format!("make the bundle's folder {shown}"))
            .map_err(Unusable::Unwritable)?;
        let bundle = Self {
            folder: folder.to_owned(),
        };
        // Found out now rather than after the run.
        bundle.write(SUMS, b"").map_err(Unusable::Unwritable)?;
        Ok(bundle)
    }

    /// A folder that was filled before.
    pub fn at(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Path of a file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a file whole, over an older one of that name, in a folder of the bundle that may be new.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let file = self.path(name);
        let folder = file.parent().unwrap_or(&self.folder);
        let own = file.file_name().unwrap_or_default();
        let new = folder.join(format!(".{}.new", own.display()));
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&new, bytes))
            .and_then(|()| fs::rename(&new, &file))
            .with_context(|| format!("write {}", file.display()))
    }

    /// Names of the files in it and in its folders, sorted, without the sums.
    pub fn files(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(self.path(&folder)).context("list the bundle")? {
                let entry = entry.context("list the bundle")?;
                let Ok(name) = entry.file_name().into_string() else {
                    let name = entry.file_name();
                    bail!("the bundle has a file of the odd name {}", name.display());
                };
                let name = format!("{folder}{name}");
                if entry.file_type().context("list the bundle")?.is_dir() {
                    folders.push(format!("{name}/"));
                } else if name != SUMS {
                    names.push(name);
                }
            }
        }
        names.sort();
        Ok(names)
    }

    /// Size and SHA-256 of a file.
    pub fn digest(&self, name: &str) -> Result<(u64, String)> {
        let bytes =
            fs::read(self.path(name)).with_context(|| format!("read {name} of the bundle"))?;
        Ok((bytes.len() as u64, sha256(&bytes)))
    }

    /// Fails when a file holds one of these secrets, and takes that file away. Names the file, never
    /// the secret.
    pub fn search(&self, secrets: &[&str]) -> Result<()> {
        let mut removed = Vec::new();
        for name in self.files()? {
            let path = self.path(&name);
            let bytes = fs::read(&path).with_context(|| format!("read {name} of the bundle"))?;
            if holds(&bytes, secrets) {
                fs::remove_file(&path).with_context(|| format!("remove {name} of the bundle"))?;
                removed.push(name);
            }
        }
        ensure!(
            removed.is_empty(),
            "a credential of this run stood in {} of the bundle, which was removed: \
             the plugin puts credentials into its answers",
            removed.join(", ")
        );
        Ok(())
    }

    /// Writes the digests of all files. Nothing may be written after that.
    pub fn seal(&self) -> Result<()> {
        let mut sums = String::new();
        for name in self.files()? {
            let (_, digest) = self.digest(&name)?;
            // Two blanks: `sha256sum --check` reads it.
            writeln!(sums, "{digest}  {name}").expect("writing to a String cannot fail");
        }
        self.write(SUMS, sums.as_bytes())
    }
}

/// A writer of lines, each handed on in one piece: what is killed leaves whole lines.
#[derive(Debug)]
pub struct WholeLines<W> {
    inner: W,
    line: Vec<u8>,
}

impl<W: io::Write> WholeLines<W> {
    /// Writes to `inner`.
    pub fn new(inner: W) -> Self {
        Self {
            inner,
            line: Vec::new(),
        }
    }
}

impl<W: io::Write> io::Write for WholeLines<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        if bytes.ends_with(b"\n") {
            self.inner.write_all(&self.line)?;
            self.line.clear();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Whether `text` holds one of these secrets.
pub fn holds(text: &[u8], secrets: &[&str]) -> bool {
    secrets
        .iter()
        .any(|secret| search::holds(text, secret.as_bytes()))
}

/// SHA-256 in hex.
pub fn sha256(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_something_in_it_is_never_touched() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mine"), "precious").unwrap();
        assert!(matches!(
            Bundle::create(folder.path()),
            Err(Unusable::Taken(_))
        ));
        assert!(matches!(
            Bundle::create(&folder.path().join("mine")),
            Err(Unusable::Taken(_))
        ));
        assert!(matches!(
            Bundle::create(&folder.path().join("mine/below")),
            Err(Unusable::Unwritable(_))
        ));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn sums_are_those_of_sha256sum() {
        let folder = tempfile::tempdir().unwrap();
        let bundle = Bundle::create(&folder.path().join("new")).unwrap();
        bundle.write("b", b"abc").unwrap();
        bundle.write("a", b"").unwrap();
        bundle.seal().unwrap();
        assert_eq!(
            fs::read_to_string(bundle.path(SUMS)).unwrap(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  a\n\
             ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  b\n"
        );
    }

    #[test]
    fn lines_are_handed_on_in_one_piece() {
        struct Pieces(Vec<Vec<u8>>);
        impl io::Write for Pieces {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.push(bytes.to_vec());
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut lines = WholeLines::new(Pieces(Vec::new()));
        for piece in ["{\"a\"", ":1}", "\n", "{}\n", "{"] {
            io::Write::write_all(&mut lines, piece.as_bytes()).unwrap();
        }
        assert_eq!(lines.inner.0, [b"{\"a\":1}\n".to_vec(), b"{}\n".to_vec()]);
    }

    #[test]
    fn a_secret_in_any_file_is_found_and_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let bundle = Bundle::create(folder.path()).unwrap();
        bundle
            .write("plugin.log", b"login with s.abcdef failed")
            .unwrap();
        bundle.search(&["s.other", ""]).unwrap();
        let error = bundle
            .search(&["s.other", "s.abcdef"])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("plugin.log") && !error.contains("s.abcdef"),
            "{error}"
        );
        assert!(!bundle.path("plugin.log").exists());
    }
}
