//! The command line: names, values and the subcommand, nothing about what a value means.
//!
//! One or two dashes, `=` or a blank before the value, switches with or without one; a subcommand
//! anywhere between. Values are wiped when dropped, and no message holds one.

use std::ffi::OsString;

use zeroize::Zeroizing;

use super::command::Subcommand;
use super::error::ConfigError;
use super::options::{Effect, Kind, OptionSpec, find};
use super::suggest;

/// Where a value was given, the stronger the smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// On the command line.
    Flag,
    /// In a variable with one of our prefixes.
    OwnVariable,
    /// In a variable of the Vault client.
    ClientVariable,
}

/// One option as given.
#[derive(Clone)]
pub struct Given {
    /// Its row in the table.
    pub option: &'static OptionSpec,
    /// Where it stood.
    pub source: Source,
    /// Its name as written: `-socket`, `VAULT_ADDR`.
    pub written: String,
    /// The value.
    pub value: Zeroizing<String>,
}

/// A command line taken apart.
#[derive(Default)]
pub struct Parsed {
    /// What to do.
    pub subcommand: Subcommand,
    /// Options in their order.
    pub given: Vec<Given>,
    /// What could not be read.
    pub errors: Vec<ConfigError>,
}

/// Takes the arguments after the program's name apart.
pub fn parse(args: impl Iterator<Item = OsString>) -> Parsed {
    let mut parsed = Parsed::default();
    let mut words = Vec::new();
    let mut args = args
        .enumerate()
        .map(|(at, arg)| (at + 1, arg.into_string().ok().map(Zeroizing::new)))
        .peekable();
    while let Some((at, arg)) = args.next() {
        let Some(arg) = arg else {
            parsed.errors.push(ConfigError::new(
                format!("argument {at}"),
                "is not UTF-8",
                "write it anew; it was probably pasted in another encoding",
            ));
            continue;
        };
        let Some(rest) = arg.strip_prefix('-') else {
            words.push((at, arg));
            continue;
        };
        let rest = rest.strip_prefix('-').unwrap_or(rest);
        if rest.is_empty() {
            continue; // `-` and `--` alone say nothing
        }
        let (name, inline) = match rest.split_once('=') {
            Some((name, value)) => (name, Some(Zeroizing::new(value.to_owned()))),
            None => (rest, None),
        };
        let written = &arg[..arg.len() - rest.len() + name.len()];
        let Some(option) = find(name) else {
            parsed
                .errors
                .push(stranger(written, name, inline.as_ref().map(|v| v.as_str())));
            // `-adress https://x`: the value belongs to the unknown name, one error is enough.
            if inline.is_none() {
                args.next_if(|(_, next)| {
                    next.as_ref()
                        .is_some_and(|n| !n.starts_with('-') && subcommand(n).is_none())
                });
            }
            continue;
        };
        let value = match (inline, option.kind) {
            (Some(value), _) => value,
            (None, Kind::Switch) => args
                .next_if(|(_, next)| {
                    next.as_ref()
                        .is_some_and(|n| matches!(n.as_str(), "true" | "false"))
                })
                .and_then(|(_, value)| value)
                .unwrap_or_else(|| Zeroizing::new("true".to_owned())),
            (None, Kind::Value(_)) => {
                match args.next_if(|(_, next)| next.as_ref().is_some_and(|n| !is_option(n))) {
                    Some((_, Some(value))) => value,
                    _ => {
                        parsed.errors.push(ConfigError::new(
                            written,
                            "has no value",
                            format!("write {written}=VALUE"),
                        ));
                        continue;
                    }
                }
            }
        };
        parsed.given.push(Given {
            option,
            source: Source::Flag,
            written: written.to_owned(),
            value,
        });
    }
    read_words(&words, &mut parsed);
    stop_early(&mut parsed);
    parsed
}

/// Whether an argument is an option of ours, so that it cannot be the value of the one before.
fn is_option(arg: &str) -> bool {
    let name = arg.trim_start_matches('-');
    let name = name.split_once('=').map_or(name, |(name, _)| name);
    arg.starts_with('-') && (find(name).is_some() || name.starts_with('<'))
}

fn subcommand(word: &str) -> Option<Subcommand> {
    Subcommand::ALL
        .iter()
        .map(|(command, _)| *command)
        .find(|command| command.as_str() == word)
}

/// The words that are no options: at most one subcommand.
fn read_words(words: &[(usize, Zeroizing<String>)], parsed: &mut Parsed) {
    let mut found = None;
    let mut words = words.iter().peekable();
    while let Some((at, word)) = words.next() {
        let command = if word.as_str() == "config" {
            if words
                .next_if(|(_, next)| next.as_str() == "check")
                .is_none()
            {
                parsed.errors.push(ConfigError::new(
                    "config",
                    "is half a subcommand",
                    "write config check",
                ));
                continue;
            }
            Some(Subcommand::ConfigCheck)
        } else {
            subcommand(word)
        };
        match command {
            Some(command) if found.is_none() || found == Some(command) => found = Some(command),
            Some(command) => parsed.errors.push(ConfigError::new(
                command.as_str(),
                "is a second subcommand",
                "give one",
            )),
            None => parsed.errors.push(stray_word(*at, word)),
        }
    }
    parsed.subcommand = found.unwrap_or_default();
}

/// `-version` and `-help` as subcommands: they win over whatever else is wrong.
fn stop_early(parsed: &mut Parsed) {
    let on = |name: &str| {
        parsed.given.iter().any(|given| {
            matches!(given.option.effect, Effect::Subcommand)
                && given.option.name == name
                && super::values::switch(&given.value).unwrap_or(true)
        })
    };
    if on("help") {
        parsed.subcommand = Subcommand::Help;
    } else if on("version") {
        parsed.subcommand = Subcommand::Version;
    }
    parsed
        .given
        .retain(|given| !matches!(given.option.effect, Effect::Subcommand));
}

/// An option name that is not in the table.
fn stranger(written: &str, name: &str, value: Option<&str>) -> ConfigError {
    if let Some(inner) = name.strip_prefix('<') {
        let inner = inner.trim_end_matches('>');
        let field: String = written
            .chars()
            .filter(|c| !c.is_control())
            .take(48)
            .collect();
        return match suggest::meant_by_placeholder(inner) {
            Some(meant) => {
                let value =
                    value.filter(|v| is_word(v) && find(meant).is_some_and(OptionSpec::is_public));
                let optional = if meant.ends_with("namespace") {
                    ", or leave the line out for the root namespace"
                } else {
                    ""
                };
                ConfigError::new(
                    field,
                    "is a placeholder where the name of an option belongs",
                    format!(
                        "-{meant} was meant: write -{meant}={}{optional}",
                        value.unwrap_or("VALUE")
                    ),
                )
            }
            None => ConfigError::new(
                field,
                "is a placeholder where the name of an option belongs",
                "write the option's name; see -help",
            ),
        };
    }
    if let Some((first, _)) = name.split_once(char::is_whitespace)
        && let Some(option) = find(first)
    {
        return ConfigError::new(
            format!("-{}", option.name),
            "stands with its value in one argument, a blank between them",
            format!("write -{first}=VALUE as one item of the list, or make two items of it"),
        );
    }
    if name.starts_with('-') {
        return ConfigError::new(
            "---…",
            "has more than two dashes",
            "begin the option with one or two",
        );
    }
    suggest::unknown_option(written)
}

/// An argument without a dash that is no subcommand. It is not shown unless it is near to one: it
/// may be a secret that lost its option.
fn stray_word(at: usize, word: &str) -> ConfigError {
    let field = format!("argument {at}");
    let name = word.split_once('=').map_or(word, |(name, _)| name);
    let bare = name.trim_start_matches([
        '\u{2010}', '\u{2011}', '\u{2012}', '\u{2013}', '\u{2014}', '\u{2212}',
    ]);
    if bare.len() < name.len() {
        let fix = match find(bare.trim_start_matches('-')) {
            Some(option) => format!("write -{} with a plain hyphen", option.name),
            None => "write a plain hyphen".to_owned(),
        };
        return ConfigError::new(field, "begins with a typographic dash, not a hyphen", fix);
    }
    if let Some(option) = find(name) {
        return ConfigError::new(
            field,
            format!("names the option {name} without its dash"),
            format!("write -{}", option.name),
        );
    }
    let near = Subcommand::ALL
        .iter()
        .map(|(command, _)| command.as_str())
        .find(|known| word.len() < 20 && strsim::osa_distance(word, known) <= 2);
    match near {
        Some(near) => {
            ConfigError::new(word, "is not a subcommand", format!("did you mean {near}?"))
        }
        None => ConfigError::new(
            field,
            "is neither an option nor a subcommand (not shown: it may be a secret)",
            "give values as -option=VALUE; subcommands are serve, doctor, policy, config check, version, help",
        ),
    }
}

/// Fit to be repeated in a message.
fn is_word(value: &str) -> bool {
    (1..=64).contains(&value.len())
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b))
}
