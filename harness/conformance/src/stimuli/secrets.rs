//! Credentials and plaintexts where they must not be: the log, the metrics, the argument list
//! (KMS2-SEC-01). Counts are kept, never what was found.

use super::Shelf;
use super::operator::read_from;
use super::process::measured;
use crate::facts::Spellings;
use crate::lab::Scene;

/// Plaintexts looked for; each has a dozen spellings.
const PLAINTEXTS: usize = 100;

/// Looks through everything that the subject shows to others.
pub(crate) async fn planted(scene: Scene<'_>, shelf: &Shelf) {
    let target = scene.lab.target;
    if target.secrets.is_empty() {
        scene.not_run("no-secrets: not told what credentials it was given");
        return;
    }
    let credentials: Vec<_> = target
        .secrets
        .iter()
        .map(|secret| Spellings::of(secret.as_bytes()))
        .collect();
    let plaintexts: Vec<_> = shelf
        .wrapped
        .iter()
        .take(PLAINTEXTS)
        .map(|material| Spellings::of(&material.plaintext))
        .collect();
    let look = |place: &str, text: &[u8]| {
        let count = |wanted: &[Spellings]| {
            let found = wanted.iter().filter(|s| !s.found_in(text).is_empty());
            found.count() as u64
        };
        measured(scene, format!("searched:{place}"), text.len() as u64);
        measured(scene, format!("credentials:{place}"), count(&credentials));
        measured(scene, format!("plaintexts:{place}"), count(&plaintexts));
    };
    if let Some(path) = &target.logs
        && let Ok(text) = read_from(path, scene.lab.log_start)
    {
        look("log", &text);
    }
    if let Some(metrics) = &target.metrics
        && let Ok(text) = metrics.scrape().await
    {
        look("metrics", text.as_bytes());
    }
    if let Some(process) = &target.process
        && let Ok(text) = process.arguments().await
    {
        look("arguments", &text);
    }
}
