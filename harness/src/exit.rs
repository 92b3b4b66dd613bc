//! Exit codes. People script against them: they do not change.

use std::fmt;
use std::process::ExitCode;

/// All held.
pub const HELD: u8 = 0;
/// The subject failed.
pub const SUBJECT_FAILED: u8 = 1;
/// Wrong usage or configuration.
pub const USAGE: u8 = 2;
/// The harness could not do its job, or nothing ran.
pub const INCONCLUSIVE: u8 = 3;
/// Interrupted by a signal.
pub const INTERRUPTED: u8 = 130;

/// Why a command gave no verdict.
#[derive(Debug)]
pub enum Failure {
    /// What the user asked for cannot be meant: exit 2.
    Usage(anyhow::Error),
    /// The harness could not do its job: exit 3.
    Harness(anyhow::Error),
    /// A signal ended it: exit 130.
    Interrupted,
}

impl Failure {
    /// The code it exits with.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Usage(_) => USAGE,
            Self::Harness(_) => INCONCLUSIVE,
            Self::Interrupted => INTERRUPTED,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) | Self::Harness(error) => write!(f, "{error:#}"),
            Self::Interrupted => write!(f, "interrupted by a signal"),
        }
    }
}

/// Anything that went wrong without anybody's wrong usage.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Harness(error)
    }
}

/// Turns an error into wrong usage.
pub trait OrUsage<T> {
    /// The same, exit 2.
    fn or_usage(self) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrUsage<T> for Result<T, E> {
    fn or_usage(self) -> Result<T, Failure> {
        self.map_err(|error| Failure::Usage(error.into()))
    }
}
