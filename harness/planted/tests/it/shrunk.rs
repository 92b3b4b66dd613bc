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

/// Vault is sealed, and a plugin says that all is well. Sealed for a moment, or not at all, an honest one says so, too.
const SEALED: &str = r#"
id = "sealed"
title = "Vault is sealed for three minutes, which Status says."
proves = ["KMS2-STATUS-12"]
arms = ["sim"]

[load]
objects = 2

[phases]
settle = "10s"
baseline = "10s"
fault = "3m"
heal = "5s"
liveness = "1m"

[[fault]]
id = "sealed"
kind = "vault-seal"
at = "1s"
for = "2m50s"

[[expect]]
sometimes = "status-bad"

[[expect]]
eventually = "reads-ok"
within = "1m"
"#;

/// A scenario without its fault would fail with an honest plugin as well, and show nothing of the bug.
#[test]
fn what_did_not_come_to_pass_keeps_its_occasion() {
    let run = |plan: &Plan| carry_out(plan, Bug::new(Variant::AlwaysOk)).ok();
    let shrunk = shrink(&scenario(SEALED), 1, RUNS, run).unwrap();
    assert_eq!(shrunk.keeps, "sometimes:status-bad");
    assert_eq!((shrunk.form.fault.len(), shrunk.form.expect.len()), (1, 1));
    let plan = Plan::of(&scenario(&write(&shrunk.form).unwrap()), 1);
    assert_eq!(run(&plan).unwrap().broken().count(), 1);
    let honest = carry_out(&plan, Bug::none()).unwrap();
    assert_eq!(honest.broken().count(), 0);
}

/// What says more is kept rather.
#[test]
fn a_violation_that_needs_no_occasion_is_kept_rather() {
    let more = "\n[[expect]]\nalways = \"status-truthful\"\nwithin = \"1m\"\n";
    let run = |plan: &Plan| carry_out(plan, Bug::new(Variant::AlwaysOk)).ok();
    let shrunk = shrink(&scenario(&format!("{SEALED}{more}")), 1, RUNS, run).unwrap();
    assert_eq!(shrunk.keeps, "always:status-truthful");
    let plan = Plan::of(&scenario(&write(&shrunk.form).unwrap()), 1);
    assert_eq!(carry_out(&plan, Bug::none()).unwrap().broken().count(), 0);
}
