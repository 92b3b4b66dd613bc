//! `list` and `explain`: the requirements and what tests them.

use anyhow::Context;
use kms_contract::{Coverage, Requirement, Row};

use crate::cli::{ExplainArgs, Format, ListArgs};
use crate::console;
use crate::exit::{Failure, OrUsage};

/// Prints the requirements.
pub fn list(args: &ListArgs) -> Result<(), Failure> {
    let rows = kms_contract::rows(args.who, coverage);
    let text = match args.format {
        Format::Json => json(&rows)?,
        Format::Text => table(&rows),
    };
    Ok(console::result(&text).context("print the list")?)
}

/// Prints one requirement.
pub fn explain(args: &ExplainArgs) -> Result<(), Failure> {
    let requirement = kms_contract::find(&args.id).or_usage()?;
    let coverage = coverage(requirement);
    let text = match args.format {
        Format::Json => json(&Row::new(requirement, coverage))?,
        Format::Text => kms_contract::explain(requirement, &coverage),
    };
    Ok(console::result(&text).context("print the requirement")?)
}

/// The registry as it goes into a bundle.
pub fn registry() -> Result<String, Failure> {
    json(&kms_contract::rows(None, coverage))
}

/// Which of our checks judge a requirement. There are no models and no broken plugins yet whose
/// tests could stand beside them.
fn coverage(requirement: &Requirement) -> Coverage {
    let checks = kms_judge::checks().iter();
    Coverage {
        checks: checks
            .filter(|check| check.requirements.contains(&requirement.id))
            .map(|check| check.id.to_owned())
            .collect(),
        ..Coverage::default()
    }
}

fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    let mut text = serde_json::to_string_pretty(value).context("write JSON")?;
    text.push('\n');
    Ok(text)
}

fn table(rows: &[Row]) -> String {
    rows.iter()
        .map(|row| {
            let judged = match (&row.checks[..], &row.reason) {
                ([], Some(reason)) => format!("no check: {reason}"),
                ([], None) => "-".to_owned(),
                (checks, _) => checks.join(", "),
            };
            let title = kms_contract::get(&row.id).map_or("", |requirement| requirement.title);
            format!(
                "{:<16} {:<9} {:<6} {title} [{judged}]\n",
                row.id,
                row.who.as_str(),
                row.level.as_str()
            )
        })
        .collect()
}
