//! The last calibration, as it is kept beside the source and told in every report.

use std::path::Path;

use anyhow::Context;
use kms_report::model::Calibration;
use kms_zoo::Verdict;
use serde::{Deserialize, Serialize};

use super::Row;
use super::show::Document;
use crate::bundle::sha256;
use crate::commands::session::now;

/// Name of the file in the folder that `--out` names.
pub const FILE: &str = "calibration.json";
/// The one that this program was built with.
const LAST: &str = include_str!("../../../../reports/calibration.json");

/// What is in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Kept {
    /// Version of the zoo.
    pub zoo_version: String,
    /// Digest of what each of its plugins breaks.
    pub zoo_digest: String,
    /// Digest of the requirements.
    pub registry_digest: String,
    /// When it was made, RFC 3339 UTC.
    pub at: String,
    /// SHA-256 of the result as `calibrate --format json` prints it.
    pub digest: String,
    /// The result.
    pub result: Document,
}

impl Kept {
    /// The one that this program was built with.
    ///
    /// # Errors
    /// It is not of this form.
    pub fn last() -> anyhow::Result<Self> {
        serde_json::from_str(LAST).context("read the calibration in reports/")
    }

    /// Why it says nothing of this program, if it does not.
    pub fn foreign(&self) -> Option<&'static str> {
        if self.registry_digest != kms_contract::registry_digest() {
            return Some("it was made with other requirements");
        }
        (self.zoo_digest != kms_zoo::digest()).then_some("it was made with another zoo")
    }

    /// The same as a report tells it.
    pub fn calibration(&self) -> Calibration {
        let judged = self.result.mutants.iter();
        let mutants: Vec<_> = judged.filter(|judged| !judged.breaks.is_empty()).collect();
        let caught = |verdict: &str| verdict == Verdict::Caught.as_str();
        let survived = mutants.iter().filter(|judged| !caught(&judged.verdict));
        let survived: Vec<String> = survived.map(|judged| judged.id.clone()).collect();
        Calibration {
            zoo_version: self.zoo_version.clone(),
            mutants: mutants.len() as u64,
            killed: (mutants.len() - survived.len()) as u64,
            survived,
            digest: self.digest.clone(),
            at: self.at.clone(),
        }
    }
}

/// The calibration to tell in a report: none that was made with another registry or zoo.
pub fn trusted() -> Option<Calibration> {
    let last = Kept::last().ok()?;
    last.foreign().is_none().then(|| last.calibration())
}

/// Writes the file.
///
/// # Errors
/// It cannot be written.
pub fn keep(folder: &Path, rows: &[Row]) -> anyhow::Result<()> {
    let result = Document::of(rows);
    let kept = Kept {
        zoo_version: kms_zoo::version(),
        zoo_digest: kms_zoo::digest(),
        registry_digest: kms_contract::registry_digest(),
        at: now(),
        digest: format!("sha256:{}", sha256(result.json()?.as_bytes())),
        result,
    };
    let mut text = serde_json::to_string_pretty(&kept).context("write JSON")?;
    text.push('\n');
    let path = folder.join(FILE);
    std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}
