//! The subcommands and what is told to one of them alone.

use std::path::PathBuf;

use super::error::Bad;
use super::values;

/// The word after the program's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Subcommand {
    /// Run the plugin; also without a word.
    #[default]
    Serve,
    /// Try each precondition.
    Doctor,
    /// Print the Vault policy.
    Policy,
    /// Resolve and check everything, then stop.
    ConfigCheck,
    /// Print the version.
    Version,
    /// Print the options.
    Help,
}

impl Subcommand {
    /// All of them with one sentence each.
    pub const ALL: [(Self, &'static str); 6] = [
        (
            Self::Serve,
            "run the plugin (what it does without a subcommand)",
        ),
        (
            Self::Doctor,
            "try every precondition against the real server and say what is missing",
        ),
        (
            Self::Policy,
            "print the Vault policy that the configured places need",
        ),
        (
            Self::ConfigCheck,
            "resolve and check the configuration without serving",
        ),
        (Self::Version, "print the version"),
        (Self::Help, "print this text"),
    ];

    /// As written on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Doctor => "doctor",
            Self::Policy => "policy",
            Self::ConfigCheck => "config check",
            Self::Version => "version",
            Self::Help => "help",
        }
    }
}

/// What `doctor` is told besides the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DoctorArgs {
    /// Old data that must stay readable.
    pub sample: Option<Sample>,
    /// Major and minor version of the API server, to compare `-status-version` with (KMS2-STATUS-01).
    pub kubernetes: Option<(u32, u32)>,
    /// How the findings are printed.
    pub format: Findings,
}

/// How `doctor` prints what it found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Findings {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
}

/// `text` or `json`.
pub fn findings(value: &str) -> Result<Findings, Bad> {
    match value {
        "text" => Ok(Findings::Text),
        "json" => Ok(Findings::Json),
        _ => Err(Bad::new("is no format of findings", "write text or json")),
    }
}

/// Old data for `doctor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sample {
    /// A key_id as the API server stored or reported it.
    KeyId(String),
    /// A file that holds an etcd value.
    File(PathBuf),
}

/// With a slash it is a file, else a key_id: those have none, ours (`v1.…`) or another plugin's.
pub fn sample(value: &str) -> Result<Sample, Bad> {
    if value.contains('/') {
        return Ok(Sample::File(PathBuf::from(value)));
    }
    // KMS2-STATUS bounds a key_id at 1024 bytes.
    if value.len() > 1024 || !value.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Bad::new(
            "is neither a key_id (1 to 1024 printable characters) nor a file",
            "give a key_id, or a file with a slash in its path, such as ./value.bin",
        ));
    }
    Ok(Sample::KeyId(value.to_owned()))
}

/// `1.29`, also as `v1.29.3`.
pub fn kubernetes_version(value: &str) -> Result<(u32, u32), Bad> {
    let bad = || {
        Bad::new(
            "is not a Kubernetes version",
            "write major and minor, such as 1.29",
        )
    };
    let mut parts = value.trim_start_matches('v').split('.');
    let mut number = || parts.next().and_then(values::digits).ok_or_else(bad);
    Ok((number()?, number()?))
}
