//! `report`: renderings of stored reports, and what can be said of several.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use kms_report::model::Report;
use kms_report::{Form, Identity, Refusal, exit_code};
use uuid::Uuid;

use super::session::{self, REPORT};
use crate::bundle::{Bundle, Unusable};
use crate::cli::{Format, Output, ReportCommand};
use crate::console;
use crate::exit::{self, Failure, OrUsage};

/// Does what the subcommand says. The exit code.
pub fn report(command: &ReportCommand) -> Result<u8, Failure> {
    match command {
        ReportCommand::Render { report, form, out } => {
            render(report, *form, out.as_deref()).map(|()| exit::HELD)
        }
        ReportCommand::Merge { reports, output } => merge(reports, output),
        ReportCommand::Compare {
            older,
            newer,
            format,
        } => compare(older, newer, *format),
        ReportCommand::Badge { report } => badge(report),
        ReportCommand::Table { reports } => {
            let reports = reports.iter().map(|path| read(path));
            let reports = reports.collect::<Result<Vec<_>>>().or_usage()?;
            show(&kms_report::table(&reports)).map(|()| exit::HELD)
        }
        ReportCommand::Digest { reports } => {
            for path in reports {
                let digest = kms_report::digest(&read(path).or_usage()?);
                show(&format!("{digest}  {}\n", path.display()))?;
            }
            Ok(exit::HELD)
        }
    }
}

/// Reads a report: a file, or the one in a bundle's folder.
pub fn read(path: &Path) -> Result<Report> {
    let file = if path.is_dir() {
        path.join(REPORT)
    } else {
        path.to_owned()
    };
    let shown = file.display();
    let text = std::fs::read_to_string(&file).with_context(|| format!("read {shown}"))?;
    let parsed = kms_report::from_json(&text).with_context(|| format!("read {shown}"))?;
    for warning in parsed.warnings {
        console::tell(&format!("{shown}: {warning}"));
    }
    Ok(parsed.report)
}

fn render(path: &Path, form: Option<Form>, out: Option<&Path>) -> Result<(), Failure> {
    let report = read(path).or_usage()?;
    match (form, out) {
        (Some(form), None) => {
            let text = form.render(&report);
            let text =
                text.with_context(|| format!("render {} as {}", path.display(), form.name()));
            show(&text?)
        }
        (form, Some(folder)) => {
            let bundle = Bundle::create(folder).map_err(|unusable| match unusable {
                Unusable::Taken(error) => Failure::Usage(error),
                Unusable::Unwritable(error) => Failure::Harness(error),
            })?;
            let forms = form.map_or(Form::ALL.to_vec(), |form| vec![form]);
            for one in forms {
                match one.render(&report) {
                    Ok(text) => bundle.write(one.file(), text.as_bytes())?,
                    Err(why) => console::tell(&format!("no {}: {why}", one.file())),
                }
            }
            if form.is_none() {
                session::write_latency(&bundle, &report)?;
            }
            Ok(bundle.seal()?)
        }
        (None, None) => Err(Failure::Usage(anyhow!(
            "say which form is wanted by --as {}, or a folder for all of them by --out DIR",
            Form::ALL.map(Form::name).join("|")
        ))),
    }
}

fn merge(paths: &[std::path::PathBuf], output: &Output) -> Result<u8, Failure> {
    let parts = paths.iter().map(|path| read(path));
    let parts = parts.collect::<Result<Vec<_>>>().or_usage()?;
    let identity = Identity {
        report_id: Uuid::new_v4().to_string(),
        created_at: session::now(),
        generated_by: session::generated_by(),
    };
    let merged = kms_report::merge(parts, identity).or_usage()?;
    let name = format!("{}-merged", merged.subject.project);
    let profile = merged.profiles.last();
    let profile = profile.map_or("none", |profile| profile.name.as_str());
    let bundle = session::open_bundle(output, &name, profile, &session::run_id())?;
    session::write_report(&bundle, &merged)?;
    bundle.seal()?;
    session::print(&merged, output.format, &bundle, None)?;
    Ok(exit_code(&merged))
}

fn compare(older: &Path, newer: &Path, format: Format) -> Result<u8, Failure> {
    let comparison = kms_report::compare(&read(older).or_usage()?, &read(newer).or_usage()?);
    show(&match format {
        Format::Json => comparison.to_json(),
        Format::Text => comparison.lines().join("\n") + "\n",
    })?;
    Ok(if comparison.is_worse() {
        exit::SUBJECT_FAILED
    } else {
        exit::HELD
    })
}

fn badge(path: &Path) -> Result<u8, Failure> {
    let report = read(path).or_usage()?;
    match kms_report::badge(&report, &session::now()) {
        Ok(text) => show(&text).map(|()| exit::HELD),
        Err(refusal) => {
            console::tell(&format!("no badge for {}: {refusal}", path.display()));
            let failed = matches!(&refusal, Refusal::NotEarned { .. }) && exit_code(&report) == 1;
            Ok(if failed {
                exit::SUBJECT_FAILED
            } else {
                exit::INCONCLUSIVE
            })
        }
    }
}

fn show(text: &str) -> Result<(), Failure> {
    Ok(console::result(text).context("print the result")?)
}
