//! Health endpoints: what their answers say (KMS2-HEALTH-04).
//!
//! Pure: checks have been run before, whoever runs them.

use crate::gotext::quote;

/// A check that was run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Such as `kms-providers` or `poststarthook/storage-readiness`.
    pub name: String,
    /// The text of its error.
    pub result: Result<(), String>,
}

/// An HTTP answer of a health endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 200 or 500.
    pub status: u16,
    /// The body, as plain text.
    pub body: String,
}

/// The answer of `/<endpoint>/<check>`.
pub fn single(check: &Check) -> Answer {
    match &check.result {
        Ok(()) => Answer {
            status: 200,
            body: "ok".to_owned(),
        },
        Err(why) => Answer {
            status: 500,
            body: format!("internal server error: {why}\n"),
        },
    }
}

/// The answer of `/<endpoint>` (`healthz`, `readyz` or `livez`): reasons are withheld, checks in
/// `exclude` count as passed, and names in it that fit no check are mentioned.
pub fn root(endpoint: &str, checks: &[Check], exclude: &[&str], verbose: bool) -> Answer {
    let mut lines = String::new();
    let mut failed = false;
    let mut unused: Vec<&str> = exclude.to_vec();
    for Check { name, result } in checks {
        if exclude.contains(&name.as_str()) {
            unused.retain(|excluded| excluded != name);
            lines.push_str(&format!("[+]{name} excluded: ok\n"));
        } else if result.is_err() {
            failed = true;
            lines.push_str(&format!("[-]{name} failed: reason withheld\n"));
        } else {
            lines.push_str(&format!("[+]{name} ok\n"));
        }
    }
    if !unused.is_empty() {
        let names: Vec<String> = unused.iter().map(|name| quote(name)).collect();
        lines.push_str(&format!(
            "warn: some health checks cannot be excluded: no matches for {}\n",
            names.join(", ")
        ));
    }
    if failed {
        return Answer {
            status: 500,
            body: format!("{lines}{endpoint} check failed\n"),
        };
    }
    let body = if verbose {
        format!("{lines}{endpoint} check passed\n")
    } else {
        "ok".to_owned()
    };
    Answer { status: 200, body }
}
