//! What the control port's requests carry: read strictly, so that a misspelt field is an error and no fault that never hits.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::ControlError;
use crate::sim::{Action, Fault};

fn fault<T>(field: &'static str, problem: impl Into<String>) -> Result<T, ControlError> {
    let problem = problem.into();
    Err(ControlError::Field { field, problem })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FaultBody {
    #[serde(default)]
    path: String,
    method: Option<String>,
    #[serde(default)]
    skip: u64,
    count: Option<u64>,
    action: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatusBody {
    status: u16,
    #[serde(default)]
    body: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
}

impl FaultBody {
    pub(super) fn fault(self) -> Result<Fault, ControlError> {
        if !self.path.is_empty() && !self.path.starts_with('/') {
            return fault(
                "path",
                format!("{:?} begins with no slash, so nothing is hit", self.path),
            );
        }
        if self.count == Some(0) {
            return fault("count", "0 hits nothing; leave it out to hit all");
        }
        Ok(Fault {
            method: self.method,
            path_prefix: self.path,
            body: None,
            skip: self.skip,
            count: self.count,
            action: action(&self.action)?,
        })
    }
}

const ACTIONS: &str = "one of \"hold\", \"hold_after\", \"close_before\", \"close_after\", \"reset\", \"wrong_content_length\", \
    or an object with one of status, delay_ms, cut_body, garbage, raw, redirect";

fn action(value: &Value) -> Result<Action, ControlError> {
    let wrong = || fault("action", format!("{value} is not {ACTIONS}"));
    if let Value::String(name) = value {
        return Ok(match name.as_str() {
            "hold" => Action::Hold,
            "hold_after" => Action::HoldAfter,
            "close_before" => Action::CloseBefore,
            "close_after" => Action::CloseAfter,
            "reset" => Action::Reset,
            "wrong_content_length" => Action::WrongContentLength,
            _ => return wrong(),
        });
    }
    let Value::Object(fields) = value else {
        return wrong();
    };
    if fields.contains_key("status") {
        let body: StatusBody = serde_json::from_value(value.clone())?;
        if !(100..=999).contains(&body.status) {
            return fault(
                "action.status",
                format!("{} is not between 100 and 999", body.status),
            );
        }
        return Ok(Action::Status {
            code: body.status,
            body: body.body.into(),
            headers: body.headers,
        });
    }
    let (Some((name, given)), 1) = (fields.iter().next(), fields.len()) else {
        return wrong();
    };
    let (number, text) = (given.as_u64(), given.as_str().map(str::to_owned));
    let found = match name.as_str() {
        "delay_ms" => number.map(|ms| Action::Delay(Duration::from_millis(ms))),
        "cut_body" => number
            .and_then(|n| usize::try_from(n).ok())
            .map(Action::CutBody),
        "garbage" => text.map(|t| Action::Garbage(t.into())),
        "raw" => text.map(|t| Action::Raw(t.into())),
        "redirect" => text.map(Action::Redirect307),
        _ => None,
    };
    found.map_or_else(wrong, Ok)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyBody {
    pub mount: String,
    pub key: String,
}

impl KeyBody {
    pub(super) fn missing(&self) -> ControlError {
        ControlError::Missing(format!("key {:?} at mount {:?}", self.key, self.mount))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VersionsBody {
    pub mount: String,
    pub key: String,
    min_decryption_version: Option<u64>,
    min_encryption_version: Option<u64>,
}

impl VersionsBody {
    /// The fields for the key's own configuration.
    pub(super) fn config(&self) -> Result<Value, ControlError> {
        let mut config = Map::new();
        for (name, version) in [
            ("min_decryption_version", self.min_decryption_version),
            ("min_encryption_version", self.min_encryption_version),
        ] {
            if let Some(version) = version {
                config.insert(name.to_owned(), version.into());
            }
        }
        if config.is_empty() {
            let field = "min_decryption_version or min_encryption_version";
            return fault(field, "one of the two must be given");
        }
        Ok(Value::Object(config))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RevokeBody {
    pub token: Option<String>,
    pub mount: Option<String>,
}

impl RevokeBody {
    pub(super) fn check(&self) -> Result<(), ControlError> {
        if self.token.is_none() && self.mount.is_none() {
            return fault("token or mount", "one of the two must be given");
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenBody {
    pub token: String,
}

fn duration(seconds: f64) -> Result<Duration, ControlError> {
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) => Ok(duration),
        Err(_) => fault("seconds", format!("{seconds} is no time that can pass")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SecondsBody {
    seconds: f64,
}

impl SecondsBody {
    pub(super) fn duration(&self) -> Result<Duration, ControlError> {
        duration(self.seconds)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IdleBody {
    seconds: Option<f64>,
}

impl IdleBody {
    /// `null` is none.
    pub(super) fn limit(&self) -> Result<Option<Duration>, ControlError> {
        self.seconds.map(duration).transpose()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AdminBody {
    pub method: String,
    pub path: String,
    #[serde(default)]
    pub namespace: String,
    #[serde(default = "nothing")]
    pub body: Value,
}

fn nothing() -> Value {
    json!(null)
}
