//! Programs of others read what we render: each takes ours, and refuses it damaged.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use kms_contract::Profile;
use kms_judge::CheckStatus;
use kms_process::parts;
use kms_report::{Report, build, ctrf, junit, test_result_statement};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use tokio::process::Command;

use super::report;
use crate::common::tier;
use crate::fixture;

/// All of them.
pub fn trials() -> Vec<Trial> {
    let python = find().map_err(|error| format!("{error:#}"));
    vec![
        tier::test(
            "page::readers::ctrf_by_its_schema",
            python.clone(),
            by_schema,
        ),
        tier::test(
            "page::readers::junit_by_junitparser",
            python.clone(),
            by_junitparser,
        ),
        tier::test("page::readers::statement_by_in_toto", python, by_in_toto),
    ]
}

/// As `ci/readers --find` does.
fn find() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("READERS").filter(|value| !value.is_empty()) {
        return Ok(named.into());
    }
    let home = parts::cache_folder().map(|cache| cache.join("readers-1"));
    home.filter(|home| home.join("whole").is_file())
        .map(|home| home.join("bin/python"))
        .context("no readers found: set $READERS, or run ci/readers")
}

/// What a reader says of a text.
async fn read(python: &Path, kind: &str, text: &str) -> Result<Value> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("report");
    std::fs::write(&file, text)?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/page/readers.py");
    let output = Command::new(python)
        .arg(script)
        .arg(kind)
        .arg(&file)
        .output();
    let output = output
        .await
        .with_context(|| format!("run {}", python.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{kind}: {said}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

async fn refuses(python: &Path, kind: &str, text: &str, why: &str) -> Result<()> {
    let Err(error) = read(python, kind, text).await else {
        anyhow::bail!("{kind}: it was taken")
    };
    let told = format!("{error:#}");
    ensure!(told.contains(why), "{kind} does not say {why:?}: {told}");
    Ok(())
}

fn of_status(report: &Report, wanted: &[CheckStatus]) -> usize {
    let rows = report.requirements.iter().map(|row| row.status);
    let runs = report.scenarios.iter().map(|run| run.verdict);
    rows.chain(runs)
        .filter(|status| wanted.contains(status))
        .count()
}

async fn by_schema(python: PathBuf) -> Result<()> {
    let text = ctrf(&report());
    let read_back = read(&python, "ctrf", &text).await?;
    ensure!(read_back["tests"].as_u64() > Some(0), "{read_back}");
    let damaged = text.replacen("\"status\": \"passed\"", "\"status\": \"fine\"", 1);
    ensure!(damaged != text, "nothing passed in the fixture");
    refuses(&python, "ctrf", &damaged, "'fine' is not one of").await
}

async fn by_junitparser(python: PathBuf) -> Result<()> {
    let report = report();
    let text = junit(&report);
    let seen = read(&python, "junit", &text).await?;
    let expected = json!({
        "tests": report.requirements.len() + report.scenarios.len(),
        "failures": of_status(&report, &[CheckStatus::Fail]),
        "errors": of_status(&report, &[CheckStatus::Inconclusive]),
        "skipped": of_status(&report, &[CheckStatus::Skipped, CheckStatus::NotApplicable, CheckStatus::NotRun]),
    });
    ensure!(seen == expected, "{seen}, and not {expected}");
    let start = text.find("<failure").context("no failure in the fixture")?;
    let end = text[start..].find("</failure>").context("no end")? + start + "</failure>".len();
    let damaged = format!("{}{}", &text[..start], &text[end..]);
    refuses(&python, "junit", &damaged, "failures says").await
}

async fn by_in_toto(python: PathBuf) -> Result<()> {
    let good = build(fixture::full(
        Profile::Core,
        fixture::all_pass(Profile::Core),
    ))?;
    let text = test_result_statement(&good)?;
    let seen = read(&python, "statement", &text).await?;
    let digests = good
        .subject
        .artifacts
        .iter()
        .map(|one| one.digest.sha256.as_str());
    let digests: Vec<_> = digests.collect();
    ensure!(
        seen["digests"] == json!(digests),
        "{seen}, and not {digests:?}"
    );
    let subject = text.find("\"subject\"").context("no subject")?;
    let (before, subject) = text.split_at(subject);
    let damaged = format!(
        "{before}{}",
        subject.replacen("\"digest\"", "\"dogest\"", 1)
    );
    refuses(&python, "statement", &damaged, "dogest").await
}
