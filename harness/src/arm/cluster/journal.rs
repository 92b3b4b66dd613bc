//! What would undo a fault, on disk before the fault is made: whatever happens to the harness, `--cleanup` finds it.
//!
//! One file for each undo, synced to the disk with its folder. No file holds a secret. Not for: carrying an undo out
//! ([`super::undo`]).

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::undo::Undo;
use crate::commands::session;

/// What the files' format is called.
const FORMAT: &str = "kms-harness-undo-1";

/// The content of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Entry {
    format: String,
    /// The run.
    pub run: String,
    /// The cluster's identity.
    pub cluster: String,
    /// When it was written, RFC 3339.
    pub at: String,
    /// What is undone, in words.
    pub what: String,
    /// How.
    pub undo: Undo,
}

/// An entry that lies on the disk.
#[derive(Clone, Debug)]
pub struct Kept {
    path: PathBuf,
    /// What it says.
    pub entry: Entry,
}

impl Kept {
    /// It was carried out: the file goes.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn done(&self) -> Result<()> {
        let about = || format!("remove the undo file {}", self.path.display());
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(about);
            }
            _ => {}
        }
        sync_folder(self.path.parent()).with_context(about)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// One run's files.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    run: String,
    cluster: String,
    next: AtomicU64,
}

impl Journal {
    /// Files of this run, about this cluster.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(folder: &Path, run: &str, cluster: &str) -> Result<Self> {
        fs::create_dir_all(folder)
            .with_context(|| format!("make the folder of undo files {}", folder.display()))?;
        Ok(Self {
            folder: folder.to_owned(),
            run: run.to_owned(),
            cluster: cluster.to_owned(),
            next: AtomicU64::new(0),
        })
    }

    /// Writes one; when it returns, a loss of power would not lose it.
    ///
    /// # Errors
    /// It cannot be written: then nothing may be done that it would undo.
    pub fn write(&self, what: &str, undo: Undo) -> Result<Kept> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self
            .folder
            .join(format!("{}-{number:04}.undo.json", self.run));
        let entry = Entry {
            format: FORMAT.to_owned(),
            run: self.run.clone(),
            cluster: self.cluster.clone(),
            at: session::now(),
            what: what.to_owned(),
            undo,
        };
        let text = serde_json::to_string_pretty(&entry).context("write an undo as JSON")?;
        let new = path.with_extension("new");
        let written = || -> std::io::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            sync_folder(path.parent())
        };
        written().with_context(|| format!("write the undo file {}", path.display()))?;
        Ok(Kept { path, entry })
    }
}

fn sync_folder(folder: Option<&Path>) -> std::io::Result<()> {
    folder.map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// What earlier runs left of this cluster, the newest first.
///
/// # Errors
/// A file is none of these: it is named, and nothing is carried out.
pub fn left(folder: &Path, cluster: &str) -> Result<Vec<Kept>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("read {}", folder.display()))?,
    };
    let mut left = Vec::new();
    for entry in entries {
        let path = entry.context("list the undo files")?.path();
        if !path.to_string_lossy().ends_with(".undo.json") {
            continue;
        }
        let about = || format!("read the undo file {}", path.display());
        let text = fs::read_to_string(&path).with_context(about)?;
        let entry: Entry = serde_json::from_str(&text).with_context(about)?;
        ensure!(
            entry.format == FORMAT,
            "{}: its format is {:?}, and this build knows {FORMAT}",
            path.display(),
            entry.format
        );
        if entry.cluster == cluster {
            left.push(Kept { path, entry });
        }
    }
    left.sort_by(|a, b| (&b.entry.at, &b.path).cmp(&(&a.entry.at, &a.path)));
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undo(name: &str) -> Undo {
        Undo::Quota {
            address: "http://127.0.0.1:1".to_owned(),
            name: name.to_owned(),
        }
    }

    /// What was made last is undone first, another cluster's is left alone, and what was carried out is gone.
    #[test]
    fn what_is_left_is_found_newest_first() {
        let folder = tempfile::tempdir().unwrap();
        let ours = Journal::open(folder.path(), "a", "one").unwrap();
        let first = ours.write("first", undo("1")).unwrap();
        ours.write("second", undo("2")).unwrap();
        let other = Journal::open(folder.path(), "b", "two").unwrap();
        other.write("theirs", undo("3")).unwrap();
        let whats = || -> Vec<String> {
            let left = left(folder.path(), "one").unwrap();
            left.into_iter().map(|kept| kept.entry.what).collect()
        };
        assert_eq!(whats(), ["second", "first"]);
        first.done().unwrap();
        first.done().unwrap();
        assert_eq!(whats(), ["second"]);
        fs::write(folder.path().join("x.undo.json"), "{").unwrap();
        let error = format!("{:#}", left(folder.path(), "one").unwrap_err());
        assert!(error.contains("x.undo.json"), "{error}");
    }
}
