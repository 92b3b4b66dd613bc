//! Pure judges over a recorded transcript, one per check.
//!
//! A judge sees the contract and a history, nothing else: a stored run can be judged again by newer
//! checks. A pass needs at least one assertion; where nothing was seen the verdict is `not_run` or
//! `inconclusive` with a reason code.
//!
//! Reading order: [`result`], [`stimuli`] (the names both sides use), `tally`, then one module per
//! area: `wire`, `status`, `encrypt`, `decrypt`, `robust`, `operator`,
//! `nodes`, `process`, `beside`.

mod beside;
mod decrypt;
mod encrypt;
mod nodes;
mod operator;
mod process;
pub mod result;
mod robust;
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

/// Runs every check over a history.
pub fn judge(history: &History) -> Vec<CheckResult> {
    checks()
        .iter()
        .flat_map(|check| (check.judge)(check, history))
        .collect()
}
