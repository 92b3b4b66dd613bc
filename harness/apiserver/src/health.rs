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
    /// 200, 404 or 500.
    pub status: u16,
    /// The body, as plain text.
    pub body: String,
}

/// What a request to a health endpoint asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    /// `healthz`, `readyz` or `livez`.
    pub endpoint: &'a str,
    /// One check, if the path names one.
    pub check: Option<&'a str>,
    /// Names after `exclude=`; the checks are not even run.
    pub exclude: Vec<&'a str>,
    /// Whether passed checks are listed too.
    pub verbose: bool,
}

impl<'a> Query<'a> {
    /// Takes a request's path and query apart, such as `/readyz?verbose&exclude=kms-providers`.
    pub fn parse(target: &'a str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = path.trim_start_matches('/');
        let (endpoint, check) = match path.split_once('/') {
            Some((endpoint, check)) => (endpoint, Some(check)),
            None => (path, None),
        };
        let values = || query.split('&').filter(|part| !part.is_empty());
        Query {
            endpoint,
            check,
            exclude: values()
                .filter_map(|part| part.strip_prefix("exclude="))
                .collect(),
            verbose: values().any(|part| part == "verbose" || part.starts_with("verbose=")),
        }
    }

    /// Whether a check of this name has to be run for it.
    pub fn wants(&self, name: &str) -> bool {
        match self.check {
            Some(check) => check == name,
            None => !self.exclude.contains(&name),
        }
    }

    /// The answer, with the outcomes of all checks that are installed at the endpoint; those that
    /// were not wanted may say anything.
    pub fn answer(&self, checks: &[Check]) -> Answer {
        match self.check {
            None => root(self.endpoint, checks, &self.exclude, self.verbose),
            Some(name) => match checks.iter().find(|check| check.name == name) {
                Some(check) => single(check),
                None => Answer {
                    status: 404,
                    body: "404 page not found\n".to_owned(),
                },
            },
        }
    }
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
