//! Pure judges over a recorded transcript, one per check.
//!
//! A judge sees the contract and a history, nothing else: a stored run can be judged again by newer
//! checks. A pass needs at least one assertion; where nothing was seen the verdict is `not_run` or
//! `inconclusive` with a reason code.
//!
//! Reading order: [`result`], [`stimuli`] (the names both sides use), `tally`, then one module per
//! area: `wire`, `status`, `encrypt`, `decrypt`, `robust`, `operator`,
//! `nodes`, `process`, `beside`; [`passage`] judges what only some runs ask for, [`invariant`] a chaos run,
//! [`scenario`] what chaos runs say to requirements.

mod beside;
mod decrypt;
mod encrypt;
pub mod invariant;
mod nodes;
mod operator;
pub mod passage;
mod process;
pub mod result;
mod robust;
pub mod scenario;
mod status;
pub mod stimuli;
mod tally;
mod wire;

use std::sync::LazyLock;

use kms_history::History;

pub use result::{CheckResult, CheckStatus};

/// A check: what it judges, and from the traces of which stimuli.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Kebab-case name of what must be true.
    pub id: &'static str,
    /// Requirements it judges; there is one result for each.
    pub requirements: &'static [&'static str],
    /// The same in a sentence.
    pub title: &'static str,
    /// Stimuli that it needs.
    pub stimuli: &'static [&'static str],
    /// Gives the results, in the order of `requirements`.
    pub judge: fn(&Check, &History) -> Vec<CheckResult>,
}

/// All checks, in the order of a report.
pub fn checks() -> &'static [Check] {
    static CHECKS: LazyLock<Vec<Check>> = LazyLock::new(|| {
        [
            wire::CHECKS,
            status::CHECKS,
            encrypt::CHECKS,
            decrypt::CHECKS,
            robust::CHECKS,
            operator::CHECKS,
            nodes::CHECKS,
            process::CHECKS,
            beside::CHECKS,
        ]
        .concat()
    });
    &CHECKS
}

/// Checks of what a run has to be asked for. Where it was not, they have no result, so that their silence does not
/// outweigh what the others saw.
pub fn asked_for() -> &'static [Check] {
    passage::CHECKS
}

/// All of them: every run's, those it has to be asked for, and those that scenarios answer.
pub fn all_checks() -> impl Iterator<Item = &'static Check> {
    checks().iter().chain(asked_for()).chain(scenario::CHECKS)
}

/// Runs every check over a history.
pub fn judge(history: &History) -> Vec<CheckResult> {
    let asked_for = asked_for().iter().filter(|check| {
        let mut stimuli = check.stimuli.iter();
        stimuli.any(|name| history.stimulus(name).next().is_some())
    });
    checks()
        .iter()
        .chain(asked_for)
        .flat_map(|check| (check.judge)(check, history))
        .collect()
}
