//! The `doctor` subcommand: tries each precondition as the plugin would, and says what to do.
//!
//! One row each. It changes nothing but what a start would change as well: it logs in, encrypts a
//! text of its own, and revokes the token it got. Not here: serving.

mod local;
mod sample;
mod vault;

use std::fmt::Write as _;

use serde::Serialize;

use crate::config::{Config, DoctorArgs, StatusVersion};
use crate::fault::{Fault, Weight};
use crate::seam::Env;

/// All good.
pub const HEALTHY: u8 = 0;
/// At least one failure.
pub const FINDINGS: u8 = 1;
/// No failure, but something could not be looked at.
pub const BLIND: u8 = 3;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it must be.
    Good,
    /// Works, but somebody should know.
    Warning,
    /// The plugin will not work, or is not safe.
    Failed,
    /// Could not be looked at, mostly because an earlier check failed.
    Unknown,
    /// Does not apply, or needs rights that the plugin itself does not.
    Skipped,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warning => "WARNING",
            Self::Failed => "FAILED",
            Self::Unknown => "unknown",
            Self::Skipped => "skipped",
        }
    }
}

/// One check and its end. No text holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Stable name of the check.
    pub check: String,
    /// How it ended.
    pub result: Verdict,
    /// What was seen and what that means.
    pub meaning: String,
    /// What to do; empty where nothing is to be done.
    pub remedy: String,
}

impl Row {
    fn new(
        check: impl Into<String>,
        result: Verdict,
        meaning: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            check: check.into(),
            result,
            meaning: meaning.into(),
            remedy: remedy.into(),
        }
    }

    fn good(check: impl Into<String>, meaning: impl Into<String>) -> Self {
        Self::new(check, Verdict::Good, meaning, "")
    }

    fn unknown(check: impl Into<String>, after: &str) -> Self {
        let meaning = format!("not tried: {after} comes first");
        Self::new(check, Verdict::Unknown, meaning, "")
    }

    fn fault(check: impl Into<String>, fault: &Fault) -> Self {
        Self::new(check, Verdict::Failed, fault.to_string(), remedy(fault))
    }
}

/// What is to be done about a fault, where its own text does not say so.
fn remedy(fault: &Fault) -> &'static str {
    match fault {
        Fault::Transport { .. } | Fault::Timeout { .. } => {
            "look at name, route, firewall and proxy between this node and vault, and at the \
             certificate's authority and name"
        }
        Fault::Redirect { .. } => "name that node in -vault-address, or let vault forward requests",
        Fault::Sealed { .. } => "unseal vault",
        Fault::Denied { .. } => "grant what `vault-kubernetes-kms policy` prints",
        Fault::NoToken { .. } | Fault::TokenRefused { .. } => {
            "look at the credentials, -auth-method, -auth-mount and -vault-auth-namespace"
        }
        Fault::Key(_) | Fault::Refused { .. } | Fault::PinTooOld(_) => {
            "look at -transit-mount, -transit-key and -vault-namespace, and at the key in vault"
        }
        Fault::Quota { .. } => "raise the quota in vault",
        _ if fault.weight() == Weight::Transient => "look at vault's own log, and try again",
        _ => "",
    }
}

/// Checks everything. `warnings` are those of the configuration.
pub async fn examine(
    config: &Config,
    args: &DoctorArgs,
    warnings: &[String],
    env: &Env,
) -> Vec<Row> {
    let mut rows: Vec<Row> = warnings
        .iter()
        .map(|text| Row::new("configuration", Verdict::Warning, text, ""))
        .collect();
    rows.extend(status_version(config, args));
    rows.extend(local::rows(config).await);
    rows.extend(examine_vault(config, args, env).await);
    rows
}

/// The checks that need only Vault and the credentials.
pub async fn examine_vault(config: &Config, args: &DoctorArgs, env: &Env) -> Vec<Row> {
    vault::rows(config, args, env).await
}

/// What an API server of a version takes for `version` of Status (KMS2-STATUS-01).
fn status_version(config: &Config, args: &DoctorArgs) -> Option<Row> {
    let (major, minor) = args.kubernetes?;
    let check = "status-version";
    let word = config.status_version.as_str();
    let meaning = format!("Status says {word} to an API server {major}.{minor}");
    Some(match (major, minor) {
        (0, _) | (1, ..=24) => Row::new(
            check,
            Verdict::Failed,
            format!("API server {major}.{minor} has no KMS v2"),
            "use 1.29 or later",
        ),
        (1, 25 | 26) => Row::new(
            check,
            Verdict::Failed,
            format!("API server {major}.{minor} speaks v2alpha1 only, which this plugin does not"),
            "use 1.29 or later",
        ),
        (1, 27 | 28) if config.status_version == StatusVersion::V2 => Row::new(
            check,
            Verdict::Failed,
            format!("{meaning}, which takes v2beta1 only"),
            "set -status-version=v2beta1 until the API server is 1.29 or later",
        ),
        _ => Row::good(check, meaning),
    })
}

/// Exit code for these rows.
pub fn exit_code(rows: &[Row]) -> u8 {
    let any = |verdict| rows.iter().any(|row| row.result == verdict);
    if any(Verdict::Failed) {
        FINDINGS
    } else if any(Verdict::Unknown) {
        BLIND
    } else {
        HEALTHY
    }
}

/// For people.
pub fn text(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.check.len()).max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        let word = row.result.word();
        writeln!(text, "{word:<8} {:<width$}  {}", row.check, row.meaning)
            .expect("writing to a String does not fail");
        if !row.remedy.is_empty() {
            writeln!(text, "{:8} {:<width$}  -> {}", "", "", row.remedy)
                .expect("writing to a String does not fail");
        }
    }
    let count = |verdict| rows.iter().filter(|row| row.result == verdict).count();
    writeln!(
        text,
        "{} good, {} warnings, {} failed, {} unknown",
        count(Verdict::Good),
        count(Verdict::Warning),
        count(Verdict::Failed),
        count(Verdict::Unknown)
    )
    .expect("writing to a String does not fail");
    text
}

/// One JSON document: `{"format": 1, "exit_code": N, "rows": [...]}`.
pub fn json(rows: &[Row]) -> String {
    let document = serde_json::json!({
        "format": 1,
        "exit_code": exit_code(rows),
        "rows": rows,
    });
    format!("{document:#}\n")
}
