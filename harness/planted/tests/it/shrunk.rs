//! A bug under many faults that have nothing to do with it: what is left of the scenario is what shows it.

use kms_planted::Variant;
use kms_scenario::fault::Kind;
use kms_scenario::language::{ScenarioFile, write};
use kms_scenario::plan::Plan;
use kms_scenario::shrink::shrink;
use kms_scenario::swarm::{MOST_FAULTS, draw};

use crate::bugs::{Bug, carry_out, scenario};

/// Enough for the faults; the rest of a scenario needs more.
const RUNS: u32 = 30;

/// The first drawn scenario of one node with all faults that there can be, one of this kind among them, that shows the
/// bug.
fn drawn(bug: Variant, kind: Kind) -> (u64, ScenarioFile) {
    let full = |form: &ScenarioFile| {
        let most = u64::try_from(form.fault.len()).is_ok_and(|count| count == MOST_FAULTS);
        let mut faults = form.fault.iter();
        most && form.world.nodes == 1 && faults.any(|fault| fault.kind == kind)
    };
    let seeds = (1..10_000).map(|seed| (seed, draw(seed)));
    let mut fitting = seeds.filter(|(_, form)| full(form));
    let shows = fitting.find(|(seed, form)| {
        let plan = Plan::of(&scenario(&write(form).unwrap()), *seed);
        carry_out(&plan, Bug::new(bug)).is_ok_and(|outcome| outcome.broken().count() > 0)
    });
    shows.unwrap()
}

fn shrinks(bug: Variant, kind: Kind) {
    let (seed, form) = drawn(bug, kind);
    let whole = scenario(&write(&form).unwrap());
    let run = |plan: &Plan| carry_out(plan, Bug::new(bug)).ok();
    let shrunk = shrink(&whole, seed, RUNS, run).unwrap();
    let kinds: Vec<Kind> = shrunk.form.fault.iter().map(|fault| fault.kind).collect();
    assert!(kinds.len() <= 2, "{bug} with seed {seed}: {kinds:?}");

    // what is printed shows the same, and is the same run each time
    let smallest = scenario(&write(&shrunk.form).unwrap());
    let plan = Plan::of(&smallest, seed);
    let again = run(&plan).unwrap();
    let broken: Vec<&str> = again.broken().map(|broken| broken.id.as_str()).collect();
    assert!(broken.contains(&shrunk.keeps.as_str()), "{broken:?}");
    assert_eq!(run(&plan).unwrap().digest, again.digest);
    let honest = carry_out(&plan, Bug::none()).unwrap();
    assert_eq!(honest.broken().count(), 0, "the bug has no part in it");
}

#[test]
fn a_stale_key_id_to_its_rotation() {
    shrinks(Variant::StaleKeyId, Kind::VaultRotate);
}

#[test]
fn a_plugin_that_forgets_to_its_restart() {
    shrinks(Variant::ForgetsAtRestart, Kind::PluginRestart);
}
