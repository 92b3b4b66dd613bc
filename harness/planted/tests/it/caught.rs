//! One run a bug.

use kms_planted::{SCENARIO, Variant};
use kms_scenario::plan::Plan;
use kms_scenario::verdict::Verdict;

use crate::bugs::{Bug, carry_out, scenario};

#[test]
fn every_bug_is_caught_by_its_invariant() {
    let plan = Plan::of(&scenario(SCENARIO), 1);
    let mut wrong = Vec::new();
    for bug in Variant::ALL {
        let outcome = match carry_out(&plan, Bug::new(*bug)) {
            Ok(outcome) => outcome,
            Err(trouble) => {
                wrong.push(format!("{bug}: {trouble}"));
                continue;
            }
        };
        let broken: Vec<_> = outcome.broken().map(|broken| broken.id.as_str()).collect();
        if !broken.contains(&bug.breaks()) {
            wrong.push(format!("{bug}: {} is not among {broken:?}", bug.breaks()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The middlemen themselves do no harm, and neither does the scenario.
#[test]
fn without_a_bug_everything_holds() {
    let plan = Plan::of(&scenario(SCENARIO), 1);
    let outcome = carry_out(&plan, Bug::none()).unwrap();
    assert_eq!(outcome.verdict, Verdict::Pass, "{outcome:#?}");
}
