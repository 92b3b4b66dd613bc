//! What the table of options looks like to people: `-help`, the README's section, `version`, and
//! the resolved configuration. Pure text; nothing here can hold a secret, since settings do not.

use std::fmt::Write as _;

use super::command::Subcommand;
use super::options::{ENV_PREFIXES, Effect, Fallback, Kind, OPTIONS, OptionSpec, variable};
use super::picks::{Origin, Setting};

const NAME: &str = "vault-kubernetes-kms";

/// The line of `version`.
pub fn version() -> String {
    format!(
        "{NAME} {} (KMS v2, {}/{})\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH
    )
}

/// The text of `-help`.
pub fn help() -> String {
    let mut text = format!(
        "{NAME}: Kubernetes KMS v2 plugin for the Transit engine of HashiCorp Vault and OpenBao\n\n"
    );
    let _ = writeln!(
        text,
        "Usage: {NAME} [subcommand] [-option=value | -option value | -switch]...\n"
    );
    for (command, sentence) in Subcommand::ALL {
        let _ = writeln!(text, "  {:<14}{sentence}", command.as_str());
    }
    let mut group = "";
    for option in OPTIONS {
        if option.group != group {
            group = option.group;
            let _ = writeln!(text, "\n{group}");
        }
        let _ = writeln!(text, "  {}", heading(option));
        let _ = writeln!(text, "        {}", option.help);
        let variables = option.client_env.join(", ");
        match (option.fallback, variables.as_str()) {
            (Fallback::Value(value), "") => writeln!(text, "        default: {value}"),
            (Fallback::Value(value), v) => {
                writeln!(text, "        default: {value}; also from {v}")
            }
            (Fallback::Note("none"), "") => Ok(()),
            (Fallback::Note("none"), v) => writeln!(text, "        also from {v}"),
            (Fallback::Note(note), "") => writeln!(text, "        unset: {note}"),
            (Fallback::Note(note), v) => writeln!(text, "        unset: {note}; also from {v}"),
        }
        .unwrap_or_default();
    }
    let _ = writeln!(text, "\n{}", environment_rule().replace('`', ""));
    text
}

fn heading(option: &OptionSpec) -> String {
    let names: Vec<String> = option.names().map(|(name, _)| format!("-{name}")).collect();
    match option.kind {
        Kind::Switch => names.join(", "),
        Kind::Value(word) => format!("{}=<{word}>", names.join(", ")),
    }
}

fn environment_rule() -> String {
    format!(
        "Every option but those of subcommands can be set by the environment under each of its names: `{}` or `{}` \
         for -vault-address. A flag is stronger than these, these than the Vault client's own variables, those than \
         the default. A variable with one of the two prefixes that sets nothing is an error. Empty variables count as \
         unset. `VAULT_SKIP_VERIFY` and `BAO_SKIP_VERIFY` are refused, and `VAULT_TOKEN` is not read. \
         `HTTPS_PROXY` and `NO_PROXY` are honoured.",
        variable(ENV_PREFIXES[0], "vault-address"),
        variable(ENV_PREFIXES[1], "vault-address"),
    )
}

/// The README's section between its markers.
pub fn readme_table() -> String {
    let mut text = String::new();
    let mut group = "";
    for option in OPTIONS {
        if option.group != group {
            group = option.group;
            let _ = writeln!(text, "\n### {group}\n");
            let _ = writeln!(text, "| option | default | also from | |");
            let _ = writeln!(text, "|---|---|---|---|");
        }
        let fallback = match option.fallback {
            Fallback::Value(value) => format!("`{value}`"),
            Fallback::Note("none") => String::new(),
            Fallback::Note(note) => note.to_owned(),
        };
        let names: Vec<String> = option
            .names()
            .enumerate()
            .map(|(at, (name, _))| match (at, option.kind) {
                (0, Kind::Value(word)) => format!("`-{name}=<{}>`", word.replace('|', "\\|")),
                _ => format!("`-{name}`"),
            })
            .collect();
        let variables: Vec<String> = option.client_env.iter().map(|v| format!("`{v}`")).collect();
        let repeat = if option.repeatable {
            " May be given several times."
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "| {} | {fallback} | {} | {}{repeat} |",
            names.join(", "),
            variables.join(", "),
            option.help
        );
    }
    let _ = writeln!(text, "\n### Environment\n\n{}", environment_rule());
    text
}

/// The resolved configuration in one line, for the log of a start.
pub fn settings_line(settings: &[Setting]) -> String {
    let parts: Vec<String> = settings
        .iter()
        .map(
            |Setting {
                 option,
                 value,
                 origin,
             }| match origin {
                Origin::Default => format!("-{}={value}", option.name),
                Origin::Given(written) if *written == format!("-{}", option.name) => {
                    format!("-{}={value} (flag)", option.name)
                }
                Origin::Given(written) => format!("-{}={value} ({written})", option.name),
            },
        )
        .collect();
    parts.join(", ")
}

/// The text of `config check`.
pub fn config_check(settings: &[Setting]) -> String {
    let width = settings
        .iter()
        .map(|s| s.option.name.len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    let mut unset = Vec::new();
    for option in OPTIONS {
        let mut given = settings
            .iter()
            .filter(|setting| setting.option.name == option.name)
            .peekable();
        if given.peek().is_none() && matches!(option.effect, Effect::Used) {
            unset.push(format!("-{}", option.name));
        }
        for Setting { value, origin, .. } in given {
            let from = match origin {
                Origin::Default => "default",
                Origin::Given(written) => written,
            };
            let _ = writeln!(text, "-{:<width$}  {value}  [{from}]", option.name);
        }
    }
    let _ = writeln!(text, "unset: {}", unset.join(", "));
    let _ = writeln!(
        text,
        "The configuration can be used. Vault was not asked: doctor does that."
    );
    text
}
