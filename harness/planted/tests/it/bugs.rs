//! Bugs in a simulated world.

use std::sync::Arc;

use kms_scenario::language::{self, Scenario};
use kms_scenario::plan::Plan;
use kms_scenario::verdict::{Outcome, outcome};
pub use kms_sim::planted::Bug;
use kms_sim::run::{Company, run_with};

/// A scenario of a test.
pub fn scenario(text: &str) -> Scenario {
    language::read(text, None).unwrap_or_else(|problems| {
        let all: Vec<_> = problems.iter().map(ToString::to_string).collect();
        panic!("{}", all.join("\n"))
    })
}

/// What a plan comes to with a bug, or why it could not be carried out.
pub fn carry_out(plan: &Plan, bug: Arc<Bug>) -> Result<Outcome, String> {
    let company = Company {
        between: Some(bug),
        ..Company::default()
    };
    let ran = run_with(plan, company);
    match ran.trouble {
        Some(trouble) => Err(trouble.to_string()),
        None => Ok(outcome(plan, &ran.history)),
    }
}
