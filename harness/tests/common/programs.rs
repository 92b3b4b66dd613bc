//! Copies of programs, to be run.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Copies a program, with this text behind it. Not by this process: what another test starts at that moment would hold it
/// open for writing, and the system runs no such program.
pub fn copied(from: &Path, to: &Path, behind: &str) -> Result<()> {
    let script = r#"cp "$1" "$2" && printf %s "$3" >> "$2""#;
    let words = ["-c", script, "sh"];
    let ended = Command::new("sh")
        .args(words)
        .args([from, to])
        .arg(behind)
        .status();
    let ended = ended.with_context(|| format!("copy {}", from.display()))?;
    ensure!(ended.success(), "copy {}: {ended}", from.display());
    Ok(())
}
