//! `scenario check` and `scenario schema`.

use anyhow::{Context, anyhow};
use serde_json::{Value, json};

use super::chaos::files;
use crate::cli::ScenarioCommand;
use crate::console;
use crate::exit::{self, Failure, OrUsage};

/// Checks files, or prints the schema.
pub fn scenario(command: &ScenarioCommand) -> Result<u8, Failure> {
    match command {
        ScenarioCommand::Schema => {
            let schema = schema();
            let text = serde_json::to_string_pretty(&schema).context("write the schema")?;
            console::result(&(text + "\n")).context("print the schema")?;
        }
        ScenarioCommand::Check { files } => {
            let paths = files::chosen(files).or_usage()?;
            let mut problems = Vec::new();
            for path in &paths {
                if let Err(found) = files::read_one(path).or_usage()? {
                    problems.extend(found.iter().map(|problem| files::shown(path, problem)));
                }
            }
            if !problems.is_empty() {
                return Err(Failure::Usage(anyhow!("{}", problems.join("\n"))));
            }
            let text = match paths.len() {
                1 => "the scenario is right\n".to_owned(),
                count => format!("{count} scenarios are right\n"),
            };
            console::result(&text).context("print the result")?;
        }
    }
    Ok(exit::HELD)
}

/// The schema of both forms: a file with a table `[rehearsal]` is about operators, another one about plugins.
fn schema() -> Value {
    let mut plugins = kms_scenario::language::schema();
    let mut operators = kms_rehearse::scenario::schema();
    let mut lifted = |key: &str| {
        let tables = [plugins.as_object_mut(), operators.as_object_mut()];
        let [first, second] = tables.map(|table| table.and_then(|table| table.remove(key)));
        first.or(second).unwrap_or_default()
    };
    // what references point to stands at the root
    let (dialect, id, definitions) = (lifted("$schema"), lifted("$id"), lifted("$defs"));
    json!({
        "$schema": dialect,
        "$id": id,
        "title": "A scenario file",
        "if": {"required": ["rehearsal"]},
        "then": operators,
        "else": plugins,
        "$defs": definitions,
    })
}
