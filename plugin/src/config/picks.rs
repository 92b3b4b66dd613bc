//! From everything given to one value an option: shorthands rewritten, the strongest source chosen,
//! contradictions and left-over placeholders named. What a value means is the parsers' business.

use std::collections::{BTreeMap, BTreeSet};

use zeroize::Zeroizing;

use super::args::Given;
use super::command::Subcommand;
use super::error::{Bad, ConfigError, quoted};
use super::options::{Effect, Fallback, Kind, OPTIONS, OptionSpec, find};
use super::values;

/// Where a value in force came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The flag or variable, as written.
    Given(String),
    /// Nobody said anything.
    Default,
}

/// One option in force, fit to be shown.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Its row in the table.
    pub option: &'static OptionSpec,
    /// Its value; of a secret only that it is there.
    pub value: String,
    /// Who said so.
    pub origin: Origin,
}

/// One value an option.
pub struct Picks {
    chosen: BTreeMap<&'static str, Vec<Given>>,
    /// Options whose value already has an error: they are not missing as well.
    spoiled: BTreeSet<&'static str>,
    /// Everything wrong so far.
    pub errors: Vec<ConfigError>,
    /// Everything a person should know.
    pub warnings: Vec<String>,
    /// Options taken so far.
    pub settings: Vec<Setting>,
}

impl Picks {
    /// Chooses among what was given.
    pub fn new(subcommand: Subcommand, given: Vec<Given>) -> Self {
        let mut picks = Self {
            chosen: BTreeMap::new(),
            spoiled: BTreeSet::new(),
            errors: Vec::new(),
            warnings: Vec::new(),
            settings: Vec::new(),
        };
        let mut all: BTreeMap<&'static str, Vec<Given>> = BTreeMap::new();
        for given in given {
            for given in picks.expand(subcommand, given) {
                all.entry(given.option.name).or_default().push(given);
            }
        }
        // In the table's order, so that errors come in the order of the documentation.
        for name in OPTIONS.iter().map(|option| option.name) {
            let Some(mut candidates) = all.remove(name) else {
                continue;
            };
            let Some(strongest) = candidates.iter().map(|given| given.source).min() else {
                continue;
            };
            candidates.retain(|given| given.source == strongest);
            if let Some(error) = contradiction(&candidates) {
                picks.spoil(name, error);
                continue;
            }
            if !candidates[0].option.repeatable {
                candidates.truncate(1);
            }
            match candidates
                .iter()
                .find_map(|given| left_over(given).map(|bad| bad.at(&given.written)))
            {
                Some(error) => picks.spoil(name, error),
                None => {
                    picks.chosen.insert(name, candidates);
                }
            }
        }
        picks
    }

    /// What one given option stands for; itself mostly.
    fn expand(&mut self, subcommand: Subcommand, mut given: Given) -> Vec<Given> {
        if given.option.is_public() {
            given.value = Zeroizing::new(given.value.trim().to_owned());
        }
        match given.option.effect {
            Effect::Used => vec![given],
            Effect::Subcommand => Vec::new(),
            Effect::NoEffect(why) => {
                self.warnings
                    .push(format!("{} has no effect: {why}", given.written));
                Vec::new()
            }
            Effect::Refused(problem, fix) => {
                let off =
                    given.option.kind == Kind::Switch && values::switch(&given.value) == Ok(false);
                if !off {
                    self.errors
                        .push(ConfigError::new(given.written, problem, fix));
                }
                Vec::new()
            }
            Effect::Only(command) if command == subcommand.as_str() => vec![given],
            Effect::Only(command) => {
                self.errors.push(ConfigError::new(
                    given.written,
                    format!("belongs to the subcommand {command}"),
                    format!("leave it out, or run {command}"),
                ));
                Vec::new()
            }
            Effect::Shorthand(rewrite) => {
                let rewritten = match left_over(&given) {
                    Some(bad) => Err(bad),
                    None => rewrite(&given.value),
                };
                match rewritten {
                    Ok(others) => others
                        .into_iter()
                        .filter_map(|(name, value)| {
                            let option = find(name)?;
                            Some(Given {
                                option,
                                value: Zeroizing::new(value),
                                ..given.clone()
                            })
                        })
                        .collect(),
                    Err(bad) => {
                        self.errors.push(bad.at(given.written));
                        if given.option.name == "vault-key-path" {
                            self.spoiled.insert("transit-key");
                        }
                        Vec::new()
                    }
                }
            }
        }
    }

    fn spoil(&mut self, name: &'static str, error: ConfigError) {
        self.spoiled.insert(name);
        self.errors.push(error);
    }

    /// Whether the option has an error already.
    pub fn is_spoiled(&self, name: &str) -> bool {
        self.spoiled.contains(name)
    }

    /// The chosen value as given.
    pub fn given(&self, name: &str) -> Option<&Given> {
        self.chosen.get(name).and_then(|all| all.first())
    }

    /// All values of a repeatable option.
    pub fn all(&self, name: &str) -> &[Given] {
        self.chosen.get(name).map_or(&[], Vec::as_slice)
    }

    /// Parses the chosen value or the default. `None`: there is none, or an error was added.
    pub fn take<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Bad>,
    ) -> Option<T> {
        if self.is_spoiled(name) {
            return None;
        }
        let option = find(name)?;
        let (value, origin) = match (self.given(name), option.fallback) {
            (Some(given), _) => (given.value.clone(), Origin::Given(given.written.clone())),
            (None, Fallback::Value(value)) => (Zeroizing::new(value.to_owned()), Origin::Default),
            (None, Fallback::Note(_)) => return None,
        };
        match parse(&value) {
            Ok(parsed) => {
                let value = if option.is_public() {
                    value.to_string()
                } else {
                    "(set)".to_owned()
                };
                self.settings.push(Setting {
                    option,
                    value,
                    origin,
                });
                Some(parsed)
            }
            Err(bad) => {
                let field = match origin {
                    Origin::Given(written) => written,
                    Origin::Default => format!("-{name}"),
                };
                self.spoil(name, bad.at(field));
                None
            }
        }
    }

    /// Notes a value that follows from other options, for people to read.
    pub fn imply(&mut self, name: &str, value: &str) {
        if let Some(option) = find(name) {
            self.settings.push(Setting {
                option,
                value: value.to_owned(),
                origin: Origin::Default,
            });
        }
    }

    /// Like [`Picks::take`], and without a value an error that says what to give.
    pub fn require<T>(
        &mut self,
        name: &'static str,
        fix: &str,
        parse: impl FnOnce(&str) -> Result<T, Bad>,
    ) -> Option<T> {
        if self.given(name).is_none() && !self.is_spoiled(name) {
            self.spoil(
                name,
                ConfigError::new(format!("-{name}"), "is missing", fix),
            );
        }
        self.take(name, parse)
    }
}

/// Two names, or one name twice, with different values from one source.
fn contradiction(candidates: &[Given]) -> Option<ConfigError> {
    let (first, rest) = candidates.split_first()?;
    if first.option.repeatable {
        return None;
    }
    let other = rest.iter().find(|other| other.value != first.value)?;
    let problem = if other.written == first.written {
        "is given twice with different values".to_owned()
    } else {
        format!(
            "and {} say different things about -{}",
            other.written, first.option.name
        )
    };
    Some(ConfigError::new(
        first.written.clone(),
        problem,
        "keep one of them",
    ))
}

/// A value that nobody filled in, or that nobody meant to give like this.
fn left_over(given: &Given) -> Option<Bad> {
    let value = given.value.as_str();
    let option = given.option;
    if value.is_empty() {
        if option.may_be_empty {
            return None;
        }
        let fix = if option.is_public() {
            "give it a value, or leave it out"
        } else {
            "give it a value"
        };
        return Some(Bad::new("is empty", fix));
    }
    let enclosed = |start: &str, end: &str| {
        value.len() > start.len() + end.len() && value.starts_with(start) && value.ends_with(end)
    };
    let word = |inner: &str| {
        inner
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_- ".contains(&b))
    };
    // A secret may hold such brackets; the documentation's placeholders are a word between them.
    let bracketed = if option.is_public() {
        value.find('<').is_some_and(|at| value[at..].contains('>'))
    } else {
        enclosed("<", ">") && word(&value[1..value.len() - 1])
    };
    if bracketed && option.is_public() {
        let filled = value.replace(['<', '>'], "");
        let fix = if filled.contains("://") {
            format!(
                "write your own without the angle brackets, as in {}={filled}",
                given.written
            )
        } else {
            "write your own value in its place, without angle brackets".to_owned()
        };
        let problem = format!(
            "still holds the placeholder {} of the documentation",
            quoted(value)
        );
        return Some(Bad::new(problem, fix));
    }
    if bracketed {
        return Some(Bad::new(
            "still holds the placeholder of the documentation",
            "write your own value in its place, without angle brackets",
        ));
    }
    if (enclosed("$(", ")") && word(&value[2..value.len() - 1]))
        || (enclosed("${", "}") && word(&value[2..value.len() - 1]))
    {
        return Some(Bad::new(
            "still holds a variable's name in place of its value",
            "Kubernetes replaces only $(NAME) of a variable that the container has: define it under env",
        ));
    }
    if option.is_public() && (enclosed("\"", "\"") || enclosed("'", "'")) {
        return Some(Bad::new(
            format!("{} has quotes as part of the value", quoted(value)),
            "leave the quotes out: no shell takes them off here",
        ));
    }
    None
}
