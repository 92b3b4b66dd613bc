//! What a command says of its runs: a table for people, one JSON document for programs, the exit code.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use kms_scenario::language::file::ArmName;
use kms_scenario::verdict::{InvariantOutcome, Verdict};
use serde::Serialize;

use super::runs::Ran;
use crate::cli::Format;
use crate::console;
use crate::exit::{self, Failure};

#[derive(Serialize)]
struct Document<'a> {
    scenarios: Vec<Row<'a>>,
    summary: Summary,
}

#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    arm: &'a str,
    seed: u64,
    verdict: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a str>,
    faults: &'a [kms_scenario::verdict::FaultOutcome],
    invariants: &'a [kms_scenario::verdict::InvariantOutcome],
    sim_seconds: f64,
    wall_seconds: f64,
    replay: &'a str,
}

#[derive(Clone, Copy, Default, Serialize)]
struct Summary {
    pass: u64,
    not_shown: u64,
    fail: u64,
    inconclusive: u64,
    not_applicable: u64,
}

fn summary(ran: &[Ran]) -> Summary {
    let count = |verdict| ran.iter().filter(|ran| ran.verdict == verdict).count() as u64;
    Summary {
        pass: count(Verdict::Pass),
        not_shown: count(Verdict::NotShown),
        fail: count(Verdict::Fail),
        inconclusive: count(Verdict::Inconclusive),
        not_applicable: count(Verdict::NotApplicable),
    }
}

/// Prints the result, keeps it in the folder, and gives the exit code.
///
/// # Errors
/// Something cannot be written.
pub fn finish(ran: &[Ran], format: Format, out: Option<&Path>) -> Result<u8, Failure> {
    let json = document(ran)?;
    if let Some(out) = out {
        write(&out.join("result.json"), &json)?;
    }
    let text = match format {
        Format::Json => json,
        Format::Text => table(ran),
    };
    console::result(&text).context("print the result")?;
    let summary = summary(ran);
    Ok(if summary.fail > 0 {
        exit::SUBJECT_FAILED
    } else if summary.inconclusive > 0 || summary.pass + summary.not_shown == 0 {
        exit::INCONCLUSIVE
    } else {
        exit::HELD
    })
}

fn document(ran: &[Ran]) -> anyhow::Result<String> {
    let rows = ran.iter().map(|ran| Row {
        id: &ran.id,
        arm: ran.arm.as_str(),
        seed: ran.seed,
        verdict: ran.verdict.as_str(),
        reason: ran.reason.as_deref(),
        digest: ran.outcome.as_ref().map(|outcome| outcome.digest.as_str()),
        faults: ran.outcome.as_ref().map_or(&[], |outcome| &outcome.faults),
        invariants: ran
            .outcome
            .as_ref()
            .map_or(&[], |outcome| &outcome.invariants),
        sim_seconds: ran.simulated.as_secs_f64(),
        wall_seconds: ran.wall.as_secs_f64(),
        replay: &ran.replay,
    });
    let document = Document {
        scenarios: rows.collect(),
        summary: summary(ran),
    };
    let mut json = serde_json::to_string_pretty(&document).context("write the result as JSON")?;
    json.push('\n');
    Ok(json)
}

fn table(ran: &[Ran]) -> String {
    let width = ran.iter().map(|ran| ran.id.len()).max().unwrap_or(0).max(8);
    let mut text = format!(
        "{:<width$}  {:>6}  {:<14}  {:>8}  {:>11}  {:>9}  {:>7}\n",
        "scenario", "seed", "verdict", "hits", "invariants", "simulated", "seconds"
    );
    for ran in ran {
        let (hits, held) = ran.outcome.as_ref().map_or_else(
            || ("-".to_owned(), "-".to_owned()),
            |outcome| {
                let hits: u64 = outcome.faults.iter().map(|fault| fault.hits).sum();
                let held = outcome
                    .invariants
                    .iter()
                    .filter(|invariant| held(invariant));
                let held = format!("{}/{}", held.count(), outcome.invariants.len());
                (hits.to_string(), held)
            },
        );
        let _ = writeln!(
            text,
            "{:<width$}  {:>6}  {:<14}  {hits:>8}  {held:>11}  {:>8}s  {:>7.2}",
            ran.id,
            ran.seed,
            ran.verdict.as_str(),
            ran.simulated.as_secs(),
            ran.wall.as_secs_f64(),
        );
    }
    let sum = summary(ran);
    let _ = writeln!(
        text,
        "\n{} passed{}, {} failed, {} inconclusive, {} not applicable{}",
        sum.pass,
        not_shown(sum.not_shown),
        sum.fail,
        sum.inconclusive,
        sum.not_applicable,
        subject(ran)
    );
    for ran in ran {
        if ran.verdict != Verdict::Pass {
            text.push_str(&explained(ran));
        }
    }
    text
}

fn held(invariant: &InvariantOutcome) -> bool {
    matches!(invariant.result, "held" | "shown")
}

fn not_shown(count: u64) -> String {
    match count {
        0 => String::new(),
        _ => format!(", {count} about a server's fault that it no longer shows"),
    }
}

/// What kept a run from passing; its last line is the command that makes it again.
pub fn explained(ran: &Ran) -> String {
    let mut text = format!("\n{} seed {}: {}\n", ran.id, ran.seed, ran.verdict.as_str());
    if let Some(reason) = &ran.reason {
        let _ = writeln!(text, "  {reason}");
    }
    let Some(outcome) = &ran.outcome else {
        return text;
    };
    for fault in &outcome.faults {
        if let Some(why) = &fault.refused {
            let _ = writeln!(text, "  fault {} could not be made: {why}", fault.id);
        } else if fault.hits < fault.at_least {
            let _ = writeln!(
                text,
                "  fault {} touched {} of at least {}",
                fault.id, fault.hits, fault.at_least
            );
        }
    }
    for invariant in &outcome.invariants {
        if !held(invariant) {
            let at = invariant
                .at
                .map(|at| format!(" at {at:.3}s"))
                .unwrap_or_default();
            let _ = writeln!(
                text,
                "  {} {}{at}: {}",
                invariant.id, invariant.result, invariant.detail
            );
        }
    }
    let _ = writeln!(text, "{}", ran.replay);
    text
}

/// The folder for results, made if it is not there.
///
/// # Errors
/// Usage: it holds something.
pub fn folder(out: Option<&Path>) -> Result<Option<PathBuf>, Failure> {
    let Some(out) = out else { return Ok(None) };
    let about = || format!("the folder {}", out.display());
    fs::create_dir_all(out)
        .with_context(about)
        .map_err(Failure::Usage)?;
    let mut entries = fs::read_dir(out).with_context(about)?;
    if entries.next().is_some() {
        return Err(Failure::Usage(anyhow!(
            "--out {}: the folder is not empty; name a new one",
            out.display()
        )));
    }
    Ok(Some(out.to_path_buf()))
}

/// What was judged.
fn subject(ran: &[Ran]) -> &'static str {
    if ran.iter().all(|ran| ran.arm == ArmName::Sim) {
        "; simulated: the plugin's source, not a binary"
    } else {
        "; real time: other timings another time"
    }
}

/// Writes a file.
///
/// # Errors
/// It cannot be written.
pub fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

/// A path as a shell takes it.
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+".contains(letter);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
