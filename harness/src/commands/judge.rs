//! `judge`: the second half of a run again, on its transcript, or of chaos runs on their histories. What was recorded
//! stays as it is.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use kms_history::History;
use kms_report::model::Report;
use kms_report::{Inputs, exit_code};
use uuid::Uuid;

use super::chaos::rejudge;
use super::library;
use super::session::{self, HISTORY, LOG, REPORT};
use crate::bundle::{SUMS, sha256};
use crate::cli::JudgeArgs;
use crate::exit::{Failure, OrUsage};
use crate::{console, environment, evidence};

/// Judges a bundle again.
pub fn judge(args: &JudgeArgs) -> Result<u8, Failure> {
    let folder = &args.bundle;
    if !folder.join(HISTORY).is_file() {
        let none = || {
            format!(
                "{} is no bundle: it has no {HISTORY}, and no *.{} of chaos runs",
                folder.display(),
                rejudge::ENDING
            )
        };
        let runs = rejudge::recorded(folder).with_context(none).or_usage()?;
        if runs.is_empty() {
            return Err(Failure::Usage(anyhow!(none())));
        }
        return rejudge::rejudge(&runs, &args.output);
    }
    unchanged(folder)?;
    let old = old_report(folder).or_usage()?;
    let history = transcript(folder).or_usage()?;

    let subject = old.subject.project.clone();
    let profile = old
        .profiles
        .iter()
        .map(|profile| profile.name)
        .max()
        .unwrap_or(kms_contract::Profile::Core);
    let bundle = session::open_bundle(
        &args.output,
        &format!("{subject}-judged"),
        profile.as_str(),
        &session::run_id(),
    )?;
    for name in [HISTORY, LOG, "plan.toml"] {
        if let Ok(bytes) = fs::read(folder.join(name)) {
            bundle.write(name, &bytes)?;
        }
    }
    let seen = library::again(folder, old.scenarios, &bundle).or_usage()?;
    bundle.write("registry.json", super::list::registry()?.as_bytes())?;
    let report = kms_report::build(Inputs {
        report_id: Uuid::new_v4().to_string(),
        run_id: old.run_id,
        created_at: session::now(),
        generated_by: session::generated_by(),
        derived_from: Some(old.report_id),
        suite: environment::suite(),
        trust: old.trust,
        subject: old.subject,
        environment: old.environment,
        plan: old.plan,
        profile,
        server: history
            .header()
            .server_version
            .and_then(|minor| u8::try_from(minor).ok())
            .map(kms_contract::Minor),
        checks: [kms_judge::judge(&history), seen.checks].concat(),
        scenarios: seen.rows,
        latency: [evidence::latency(&history), evidence::series(seen.latency)].concat(),
        properties: evidence::properties(&history),
        findings: old.findings,
        limits: vec![
            "judged again from the transcript: what it does not hold could not be looked at"
                .to_owned(),
        ],
        attachments: session::attachments(&bundle)?,
    })
    .map_err(|error| Failure::Harness(error.into()))?;
    session::write_report(&bundle, &report)?;
    bundle.seal()?;
    let code = exit_code(&report);
    session::print(&report, args.output.format, &bundle, None)?;
    Ok(code)
}

/// A transcript that is not the one which was sealed proves nothing. A run that was cut off was
/// never sealed.
fn unchanged(folder: &Path) -> Result<(), Failure> {
    let sums = fs::read_to_string(folder.join(SUMS)).unwrap_or_default();
    let Some(line) = sums
        .lines()
        .find(|line| line.ends_with(&format!("  {HISTORY}")))
    else {
        console::tell("this bundle was never sealed: its run was cut off");
        return Ok(());
    };
    let bytes = fs::read(folder.join(HISTORY)).with_context(|| format!("read {HISTORY}"))?;
    if line.starts_with(&sha256(&bytes)) {
        return Ok(());
    }
    Err(Failure::Usage(anyhow!(
        "{} is not the one that {SUMS} was written for",
        folder.join(HISTORY).display()
    )))
}

fn old_report(folder: &Path) -> Result<Report> {
    let path = folder.join(REPORT);
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let parsed =
        kms_report::from_json(&text).with_context(|| format!("read {}", path.display()))?;
    for warning in parsed.warnings {
        console::tell(&format!("{}: {warning}", path.display()));
    }
    Ok(parsed.report)
}

fn transcript(folder: &Path) -> Result<History> {
    let path = folder.join(HISTORY);
    let file = File::open(&path).with_context(|| format!("read {}", path.display()))?;
    let history = kms_history::file::read(BufReader::new(file))
        .with_context(|| format!("in {}", path.display()))?;
    ensure!(
        !history.events().is_empty(),
        "{} holds no event: there is nothing to judge",
        path.display()
    );
    Ok(history)
}
