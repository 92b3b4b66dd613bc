//! A run's history as a file, to be judged again.

use std::path::Path;

use anyhow::{Context, Result};
use kms_history::chaos_file;

use super::rejudge::ENDING;
use super::runs::Ran;
use super::show;

/// The file's name.
#[must_use]
pub fn name(ran: &Ran) -> String {
    format!("{}-{}-{}.{ENDING}", ran.id, ran.arm.as_str(), ran.seed)
}

/// Writes it.
///
/// # Errors
/// It cannot be written, or nothing was judged.
pub fn write(path: &Path, ran: &Ran) -> Result<()> {
    let outcome = ran.outcome.as_ref().context("nothing was judged")?;
    let header = chaos_file::Header {
        format: chaos_file::FORMAT.to_owned(),
        version: chaos_file::VERSION,
        scenario: ran.script.text()?,
        seed: ran.seed,
        arm: ran.arm.as_str().to_owned(),
        replay: ran.replay.clone(),
        digest: outcome.digest.clone(),
        trouble: ran.reason.clone(),
        wall_seconds: ran.wall.as_secs_f64(),
    };
    let text = chaos_file::write(&header, &ran.history).context("write a history as JSON")?;
    show::write(path, &text)
}
