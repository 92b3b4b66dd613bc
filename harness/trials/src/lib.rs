//! The suite in a plugin author's own `cargo test`: each requirement is a test of its own.
//!
//! ```no_run
//! # use std::process::ExitCode;
//! use kms_trials::Subject;
//!
//! fn main() -> ExitCode {
//!     kms_trials::main(|| Subject::command("target/debug/my-kms", ["--listen=unix://{socket}"]))
//! }
//! ```
//!
//! Names are requirement ids, so filters, `--list` and nextest's run work as they do for any test. Everything is sent once,
//! when the first test needs it. What could not be looked at (a rotation, say: nobody told how) is ignored with the reason.
//! With [`main_with`] each scenario of a library is a test as well.
//! Not for verdicts that others read: those are `kms-harness run`'s.

#![forbid(unsafe_code)]

mod scenarios;
mod subject;
mod suite;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

pub use scenarios::Scenarios;
pub use subject::Subject;
use suite::Suite;

/// Runs the tests as the command line of a test binary says. `subject` is asked for once, and only if a test runs.
pub fn main(subject: impl FnOnce() -> Subject + Send + 'static) -> ExitCode {
    main_with(subject, None)
}

/// The same with a test for each scenario of a library, named `scenario::<id>`.
pub fn main_with(
    subject: impl FnOnce() -> Subject + Send + 'static,
    scenarios: Option<Scenarios>,
) -> ExitCode {
    let suite = Arc::new(Suite::new(Box::new(subject)));
    let ids: BTreeSet<&'static str> = kms_judge::checks()
        .iter()
        .flat_map(|check| check.requirements)
        .copied()
        .collect();
    let requirements = ids.into_iter().map(|id| {
        let suite = Arc::clone(&suite);
        Trial::ignorable_test(id, move || outcome(&suite, id))
    });
    let scenarios = scenarios.into_iter().flat_map(Scenarios::trials);
    let trials = requirements.chain(scenarios).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn outcome(suite: &Suite, id: &str) -> Result<Completion, Failed> {
    use kms_judge::CheckStatus::{Fail, Inconclusive, NotApplicable, NotRun, Pass, Skipped, Warn};

    let rows = suite.rows().as_ref().map_err(Failed::from)?;
    let Some(row) = rows.iter().find(|row| row.id == id) else {
        return Ok(Completion::ignored_with("it does not hold for this server"));
    };
    let worst = row.checks.iter().find(|check| check.status == row.status);
    match row.status {
        Pass | Warn => Ok(Completion::Completed),
        NotApplicable | Skipped | NotRun => {
            let why = worst.map_or("nothing looked at it", |check| check.explanation.as_str());
            Ok(Completion::ignored_with(why))
        }
        Fail | Inconclusive => {
            let mut text = format!("{}\n{}", row.title, row.sentence);
            if let Some(check) = worst {
                for expected in &check.expected {
                    text.push_str(&format!("\nexpected: {expected}"));
                }
                text.push_str(&format!("\nobserved: {}", check.observed));
                text.push_str(&format!("\nbecause: {}", check.explanation));
            }
            Err(Failed::from(text))
        }
    }
}
