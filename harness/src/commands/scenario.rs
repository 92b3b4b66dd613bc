//! `scenario check` and `scenario schema`.

use anyhow::{Context, anyhow};

use super::chaos::files;
use crate::cli::ScenarioCommand;
use crate::console;
use crate::exit::{self, Failure, OrUsage};

/// Checks files, or prints the schema.
pub fn scenario(command: &ScenarioCommand) -> Result<u8, Failure> {
    match command {
        ScenarioCommand::Schema => {
            let schema = kms_scenario::language::schema();
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
