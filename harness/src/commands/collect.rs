//! `collect`: the debug bundle. Nothing is written before the finished bundle has been searched for everything that must
//! not be in it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use kms_doctor::canary::{self, Secret};
use kms_doctor::{Diagnosis, bundle};
use serde_json::json;
use zeroize::Zeroizing;

use super::doctor::{self, Gathered};
use crate::bundle::{Bundle, Unusable};
use crate::cli::{CollectArgs, Format};
use crate::console;
use crate::exit::{Failure, OrUsage};

/// Gathers, redacts, searches, writes.
pub async fn collect(args: &CollectArgs) -> Result<u8, Failure> {
    let more = args.secrets.as_deref().map(words).transpose().or_usage()?;
    let mut gathered = match &args.from {
        Some(folder) => doctor::documents(folder).or_usage()?,
        None => doctor::gather(&args.gather).await?,
    };
    gathered.secrets.extend(more.unwrap_or_default());
    if !gathered.evidence.saw_anything() && gathered.evidence.nodes.is_empty() {
        return Err(anyhow!("nothing was seen, so there is nothing to collect").into());
    }
    let diagnosis = Diagnosis::of(&gathered.evidence);
    let files = sealed(&gathered, &diagnosis)?;
    let out = Bundle::create(&args.out).map_err(|unusable| match unusable {
        Unusable::Taken(error) => Failure::Usage(error),
        Unusable::Unwritable(error) => Failure::Harness(error),
    })?;
    for (name, bytes) in &files {
        if let Some((folder, _)) = name.rsplit_once('/') {
            fs::create_dir_all(out.path(folder)).context("make the bundle's folders")?;
        }
        fs::write(out.path(name), bytes).with_context(|| format!("write {name}"))?;
    }
    out.seal()?;
    let folder = out.folder().display().to_string();
    let (findings, missing) = (diagnosis.findings.len(), diagnosis.not_seen.len());
    let text = match args.format {
        Format::Text => format!(
            "{} files in {folder}: {findings} findings, {missing} parts not seen; searched for {} secrets\n",
            files.len(),
            gathered.secrets.len()
        ),
        Format::Json => {
            let document = json!({
                "out": folder,
                "files": files.keys().collect::<Vec<_>>(),
                "findings": diagnosis.findings,
                "not_seen": diagnosis.not_seen,
                "secrets_searched": gathered.secrets.len(),
            });
            format!("{document:#}\n")
        }
    };
    console::result(&text).context("print the result")?;
    Ok(doctor::code(&gathered.evidence, &diagnosis))
}

/// The files of the bundle, in which nothing stands that must not.
fn sealed(gathered: &Gathered, diagnosis: &Diagnosis) -> Result<bundle::Files> {
    let files = bundle::files(&gathered.evidence, diagnosis);
    let hits = canary::scan(&files, &gathered.secrets);
    let Some(hit) = hits.first() else {
        return Ok(files);
    };
    Err(anyhow!(
        "{} would stand in {} ({}), so nothing was written: report this, and leave that part out",
        hit.what,
        hit.file,
        hit.encoding
    ))
}

/// Words that the caller knows.
fn words(file: &Path) -> Result<Vec<Secret>> {
    let text = fs::read_to_string(file)
        .map(Zeroizing::new)
        .with_context(|| format!("--secrets {}", file.display()))?;
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.is_empty());
    lines
        .map(|(number, line)| {
            let what = format!("line {} of {}", number + 1, file.display());
            Secret::new(&what, line.as_bytes()).with_context(|| {
                format!("--secrets: {what} is shorter than 6 bytes and would be found everywhere")
            })
        })
        .collect()
}
