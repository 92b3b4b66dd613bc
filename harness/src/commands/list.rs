//! `list` and `explain`: the requirements and what tests them.

use anyhow::Context;
use kms_contract::{Coverage, Requirement, Row, Who};

use crate::cli::{ExplainArgs, Format, ListArgs};
use crate::console;
use crate::exit::{Failure, OrUsage};

/// Prints the requirements.
pub fn list(args: &ListArgs) -> Result<(), Failure> {
    let rows = rows(args.who);
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
        Format::Json => json(&with_reason(Row::new(requirement, coverage)))?,
        Format::Text => kms_contract::explain(requirement, &coverage),
    };
    Ok(console::result(&text).context("print the requirement")?)
}

/// The registry as it goes into a bundle.
pub fn registry() -> Result<String, Failure> {
    json(&rows(None))
}

fn rows(who: Option<Who>) -> Vec<Row> {
    let rows = kms_contract::rows(who, coverage).into_iter();
    rows.map(with_reason).collect()
}

/// Tells why nothing holds the simulated API server to a requirement, where the registry does not
/// say it.
fn with_reason(mut row: Row) -> Row {
    if row.checks.is_empty() && row.tests.is_empty() && row.reason.is_none() {
        row.reason = kms_apiserver::coverage::reason(&row.id).map(str::to_owned);
    }
    row
}

/// Which of our checks judge a requirement, which tests hold our own API server to it, and which broken plugins show that
/// a breach is seen.
fn coverage(requirement: &Requirement) -> Coverage {
    Coverage {
        checks: kms_judge::all_checks()
            .filter(|check| check.requirements.contains(&requirement.id))
            .map(|check| check.id.to_owned())
            .collect(),
        tests: tests(requirement.id),
        zoo: kms_zoo::table()
            .iter()
            .filter(|mutant| mutant.requirements().any(|id| id == requirement.id))
            .map(|mutant| mutant.id.to_owned())
            .collect(),
    }
}

/// The files of the simulated server's tests that name requirements.
const SERVER: [(&str, &str); 3] = [
    (
        "link",
        include_str!("../../apiserver/node/tests/it/link.rs"),
    ),
    (
        "rest",
        include_str!("../../apiserver/node/tests/it/rest.rs"),
    ),
    (
        "watchcache",
        include_str!("../../apiserver/node/tests/it/watchcache.rs"),
    ),
];

/// Tests of the model by their names, tests of the server around it by their documentation.
fn tests(id: &str) -> Vec<String> {
    let mut tests = kms_apiserver::coverage::tests(id);
    for (module, source) in SERVER {
        let mentioned = kms_apiserver::coverage::mentioned(source).into_iter();
        let own = mentioned.filter(|(of, _)| of == id);
        tests.extend(own.map(|(_, name)| format!("kms-apiserver-node {module}::{name}")));
    }
    tests
}

fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    let mut text = serde_json::to_string_pretty(value).context("write JSON")?;
    text.push('\n');
    Ok(text)
}

fn table(rows: &[Row]) -> String {
    rows.iter()
        .map(|row| {
            let by: Vec<&str> = row
                .checks
                .iter()
                .chain(&row.tests)
                .map(String::as_str)
                .collect();
            let judged = match (&by[..], &row.reason) {
                ([], Some(reason)) => format!("no check: {reason}"),
                ([], None) => "-".to_owned(),
                (by, _) => by.join(", "),
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
