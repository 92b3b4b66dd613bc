//! `--subject FILE`: how any plugin is started, told and stopped, as a small strict TOML.
//!
//! ```toml
//! name = "acme-kms"
//! command = ["acme-kms", "--listen=unix://{socket}", "--vault={vault}", "--token-file={token_file}"]
//!
//! [environment]
//! ACME_CA = "{ca}"
//!
//! [readiness]
//! within = "30s"        # socket there and Status good
//!
//! [stop]
//! signal = "SIGTERM"
//! within = "10s"        # then SIGKILL
//!
//! [restart]             # left out: stop, then start again
//! command = ["acme-ctl", "restart", "{socket}"]
//!
//! [metrics]             # with "--metrics=127.0.0.1:{metrics_port}" in the command
//! url = "http://127.0.0.1:{metrics_port}/metrics"
//! ```
//!
//! `several = true`, above the tables, says that more of it may run at once, each with a `{socket}`,
//! `{folder}` and `{metrics_port}` of its own: a second node, and processes that are started for one
//! question each, such as how it bears a false Vault.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use kms_conformance::HttpMetrics;
use nix::sys::signal::Signal;
use serde::{Deserialize, Deserializer};

/// How a plugin is run.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectFile {
    /// What the report calls it.
    pub name: String,
    /// Its version, for the report.
    pub version: Option<String>,
    /// Who makes it, for the report.
    pub organization: Option<String>,
    /// Where it lives, for the report.
    pub url: Option<String>,
    /// Program and arguments, with placeholders.
    pub command: Vec<Template>,
    /// Environment variables, with placeholders in their values.
    #[serde(default)]
    pub environment: BTreeMap<String, Template>,
    /// When it counts as started.
    #[serde(default)]
    pub readiness: Readiness,
    /// How it is stopped.
    #[serde(default)]
    pub stop: Stop,
    /// How it is restarted; stop and start when left out.
    pub restart: Option<Restart>,
    /// Where it shows its metrics; nowhere when left out.
    pub metrics: Option<MetricsPlace>,
    /// Whether more of it may run at once.
    #[serde(default)]
    pub several: bool,
}

/// Where a plugin shows its metrics.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsPlace {
    /// `http://HOST:PORT/PATH`, with placeholders.
    pub url: Template,
}

impl MetricsPlace {
    /// The address in a run with these values.
    pub fn at(&self, values: &Values) -> Result<HttpMetrics> {
        let url = self.url.fill(values)?;
        HttpMetrics::parse(&url).map_err(|error| anyhow!("metrics.url: {error}"))
    }
}

/// When a plugin counts as started: its socket is there and Status is good.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Readiness {
    /// Limit for that.
    #[serde(deserialize_with = "duration")]
    pub within: Duration,
}

impl Default for Readiness {
    fn default() -> Self {
        Self {
            within: Duration::from_secs(30),
        }
    }
}

/// How a plugin is stopped.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Stop {
    /// The signal that asks it to.
    #[serde(deserialize_with = "parsed")]
    pub signal: Signal,
    /// How long it may take before it is killed.
    #[serde(deserialize_with = "duration")]
    pub within: Duration,
}

impl Default for Stop {
    fn default() -> Self {
        Self {
            signal: Signal::SIGTERM,
            within: Duration::from_secs(10),
        }
    }
}

/// A restart that somebody else carries out.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restart {
    /// Program and arguments; it has restarted the plugin when it ends with exit code 0.
    pub command: Vec<Template>,
}

impl SubjectFile {
    /// Reads a file; an error names it and the position.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("read the subject file {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in the subject file {}", path.display()))
    }

    /// Parses and checks the text.
    pub fn parse(text: &str) -> Result<Self> {
        let subject: Self = toml::from_str(text)?;
        ensure!(
            !subject.name.trim().is_empty(),
            "name is empty: say what the report should call the plugin"
        );
        ensure!(
            !subject.command.is_empty(),
            "command is empty: give the program and its arguments"
        );
        if let Some(restart) = &subject.restart {
            ensure!(
                !restart.command.is_empty(),
                "restart.command is empty: give a program, or leave [restart] out"
            );
        }
        if let Some(metrics) = &subject.metrics {
            // Any value does for a look at its form.
            let any = PLACEHOLDERS.map(|(name, _)| (name, "1".to_owned()));
            metrics.at(&Values::from(any))?;
        }
        ensure!(
            !subject.several || subject.mentions("socket"),
            "several: command and environment have no {{socket}}, so each would take the socket of the one before"
        );
        let own_port = |metrics: &MetricsPlace| metrics.url.mentions("metrics_port");
        ensure!(
            !subject.several || subject.metrics.as_ref().is_none_or(own_port),
            "several: metrics.url has no {{metrics_port}}, and two of them cannot have one port"
        );
        Ok(subject)
    }

    /// The command as it stands in the file, and the environment.
    pub fn source(&self) -> String {
        let command = self.command.iter().map(Template::source);
        let environment = self.environment.iter();
        let environment = environment.map(|(name, value)| format!("{name}={}", value.source()));
        command
            .map(str::to_owned)
            .chain(environment)
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// The command fit for a report: the program's name, options' names, and values that are made
    /// of placeholders. Any other word may be a secret, and is left out.
    pub fn shown(&self) -> String {
        let words = self.command.iter().enumerate().map(|(position, word)| {
            let source = word.source();
            let name = source.split_once('=').map_or(source, |(name, _)| name);
            match position {
                0 => source.rsplit('/').next().unwrap_or(source).to_owned(),
                _ if word.has_placeholder() => source.to_owned(),
                _ if name.len() < source.len() => format!("{name}=[redacted]"),
                _ if source.starts_with('-') => source.to_owned(),
                _ => "[redacted]".to_owned(),
            }
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// Whether the command or the environment has this placeholder.
    pub fn mentions(&self, placeholder: &str) -> bool {
        self.command
            .iter()
            .chain(self.environment.values())
            .any(|text| text.mentions(placeholder))
    }
}

/// A text with placeholders such as `{socket}`; `{{` and `}}` are braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    source: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Placeholder(&'static str),
}

/// What can be filled in: name and meaning.
pub const PLACEHOLDERS: [(&str, &str); 19] = [
    ("socket", "path of the unix socket"),
    ("folder", "an empty folder of this run, mode 0700"),
    ("metrics_port", "a free port on loopback"),
    ("vault", "address of Vault, http[s]://host:port"),
    ("ca", "CA bundle of that address; empty for plain http"),
    ("namespace", "Vault namespace, empty for the root"),
    ("mount", "path of the Transit mount"),
    ("key", "name of the Transit key"),
    ("token", "a token itself"),
    ("token_file", "file with it"),
    ("approle_mount", "mount of AppRole below auth/"),
    ("role_id", "role id itself"),
    ("role_id_file", "file with it"),
    ("secret_id", "secret id itself"),
    ("secret_id_file", "file with it"),
    ("userpass_mount", "mount of userpass below auth/"),
    ("username", "user name"),
    ("password", "password itself"),
    ("password_file", "file with it"),
];

/// A value for each of [`PLACEHOLDERS`].
pub type Values = BTreeMap<&'static str, String>;

impl Template {
    /// As it stands in the file.
    pub fn source(&self) -> &str {
        &self.source
    }

    fn has_placeholder(&self) -> bool {
        self.parts
            .iter()
            .any(|part| matches!(part, Part::Placeholder(_)))
    }

    /// Whether it has this placeholder.
    pub fn mentions(&self, placeholder: &str) -> bool {
        self.parts
            .iter()
            .any(|part| matches!(part, Part::Placeholder(name) if *name == placeholder))
    }

    /// With everything filled in.
    pub fn fill(&self, values: &Values) -> Result<String> {
        self.parts.iter().try_fold(String::new(), |mut text, part| {
            text.push_str(match part {
                Part::Text(text) => text,
                Part::Placeholder(name) => values.get(name).with_context(|| {
                    format!("{{{name}}} has no value in this run, see {:?}", self.source)
                })?,
            });
            Ok(text)
        })
    }
}

impl FromStr for Template {
    type Err = anyhow::Error;

    fn from_str(source: &str) -> Result<Self> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = source;
        while let Some(at) = rest.find(['{', '}']) {
            text.push_str(&rest[..at]);
            let tail = &rest[at..];
            if tail.starts_with("{{") || tail.starts_with("}}") {
                text.push_str(&tail[..1]);
                rest = &tail[2..];
                continue;
            }
            let Some(end) = tail.find('}').filter(|_| tail.starts_with('{')) else {
                bail!("a lone brace in {source:?}: write {{{{ or }}}} for a brace");
            };
            let name = &tail[1..end];
            let Some((known, _)) = PLACEHOLDERS.iter().find(|(known, _)| *known == name) else {
                let all: Vec<&str> = PLACEHOLDERS.iter().map(|(name, _)| *name).collect();
                bail!(
                    "{source:?} has the unknown placeholder {{{name}}}; there are {}",
                    all.join(", ")
                );
            };
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            parts.push(Part::Placeholder(known));
            rest = &tail[end + 1..];
        }
        text.push_str(rest);
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Ok(Self {
            source: source.to_owned(),
            parts,
        })
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer)
    }
}

fn parsed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    String::deserialize(deserializer)?
        .parse()
        .map_err(serde::de::Error::custom)
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let value = text
        .parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|value| Duration::try_from(value).ok())
        .filter(|value| !value.is_zero());
    value.ok_or_else(|| {
        serde::de::Error::custom(format!(
            "{text:?} is no duration above zero, such as \"30s\" or \"500ms\""
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
        name = "acme"
        command = ["acme", "--listen=unix://{socket}", "--json={{}}"]
        [environment]
        TOKEN = "{token_file}"
        [readiness]
        within = "2s"
        [stop]
        signal = "SIGINT"
        within = "500ms"
        [restart]
        command = ["ctl", "restart"]
        [metrics]
        url = "http://127.0.0.1:{metrics_port}/m"
    "#;

    #[test]
    fn whole_file_is_read_and_filled_in() {
        let subject = SubjectFile::parse(WHOLE).unwrap();
        let values = Values::from([
            ("socket", "/run/k.sock".to_owned()),
            ("token_file", "/run/t".to_owned()),
        ]);
        let command: Vec<String> = subject
            .command
            .iter()
            .map(|part| part.fill(&values).unwrap())
            .collect();
        assert_eq!(
            command,
            ["acme", "--listen=unix:///run/k.sock", "--json={}"]
        );
        assert_eq!(
            subject.environment["TOKEN"].fill(&values).unwrap(),
            "/run/t"
        );
        assert_eq!(
            subject.stop,
            Stop {
                signal: Signal::SIGINT,
                within: Duration::from_millis(500)
            }
        );
        assert_eq!(subject.readiness.within, Duration::from_secs(2));
        let values = Values::from([("metrics_port", "9090".to_owned())]);
        let metrics = subject.metrics.unwrap().at(&values).unwrap();
        assert_eq!(
            metrics,
            HttpMetrics::parse("http://127.0.0.1:9090/m").unwrap()
        );
    }

    #[test]
    fn what_is_left_out_has_defaults() {
        let subject = SubjectFile::parse("name = \"a\"\ncommand = [\"a\"]").unwrap();
        assert_eq!(subject.readiness, Readiness::default());
        assert_eq!(subject.stop, Stop::default());
        assert_eq!(subject.restart, None);
        assert_eq!(subject.metrics, None);
        assert!(!subject.several);
    }

    /// Each mistake gets an error that says where it is and what would be right.
    #[test]
    fn mistakes_are_named() {
        let good = "name = \"a\"\ncommand = [\"a\"]\n";
        for (text, needles) in [
            ("command = [\"a\"]", &["name"][..]),
            ("name = \"a\"", &["command"]),
            ("name = \" \"\ncommand = [\"a\"]", &["name is empty"]),
            ("name = \"a\"\ncommand = []", &["command is empty"]),
            (&format!("{good}colour = 1"), &["colour", "line 3"]),
            (
                &format!("{good}[stop]\nsignall = \"SIGTERM\""),
                &["signall", "line 4"],
            ),
            (
                &format!("{good}[stop]\nsignal = \"TERMINATE\""),
                &["TERMINATE", "line 4"],
            ),
            (
                &format!("{good}[readiness]\nwithin = \"soon\""),
                &["soon", "30s", "line 4"],
            ),
            (
                &format!("{good}[readiness]\nwithin = \"0s\""),
                &["above zero"],
            ),
            (
                &format!("{good}[restart]\ncommand = []"),
                &["restart.command is empty"],
            ),
            (
                "name = \"a\"\ncommand = [\"{sokcet}\"]",
                &["{sokcet}", "socket", "line 2"],
            ),
            ("name = \"a\"\ncommand = [\"{socket\"]", &["lone brace"]),
            ("name = \"a\"\ncommand = [\"a}\"]", &["lone brace"]),
            (
                &format!("{good}[metrics]\nurl = \"localhost:9090\""),
                &["metrics.url", "localhost:9090", "http://127.0.0.1"],
            ),
            (&format!("{good}[metrics]\nport = 1"), &["port", "line 4"]),
            (&format!("{good}several = true"), &["several", "{socket}"]),
            (
                "name = \"a\"\ncommand = [\"{socket}\"]\nseveral = true\n[metrics]\nurl = \"http://127.0.0.1:1/\"",
                &["several", "metrics.url", "{metrics_port}"],
            ),
            ("name = 3\ncommand = [\"a\"]", &["line 1"]),
        ] {
            let error = format!("{:#}", SubjectFile::parse(text).unwrap_err());
            for needle in needles {
                assert!(
                    error.contains(needle),
                    "{text:?}: {needle:?} is not in {error:?}"
                );
            }
        }
    }

    #[test]
    fn a_report_shows_no_word_that_may_be_a_secret() {
        let text = r#"
            name = "a"
            command = ["/opt/acme/kms", "serve", "-v", "--token=hvs.abc", "--password", "hunter2", "--socket={socket}"]
        "#;
        assert_eq!(
            SubjectFile::parse(text).unwrap().shown(),
            "kms [redacted] -v --token=[redacted] --password [redacted] --socket={socket}"
        );
    }

    #[test]
    fn a_value_that_this_run_lacks_is_named() {
        let template: Template = "{ca}".parse().unwrap();
        let error = template.fill(&Values::new()).unwrap_err().to_string();
        assert!(error.contains("{ca} has no value"), "{error}");
    }
}
