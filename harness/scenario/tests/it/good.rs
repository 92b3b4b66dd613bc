//! A right scenario, what a plan makes of it, and the schema.

use std::time::Duration;

use kms_scenario::language::{read, schema, write};
use kms_scenario::plan::Plan;

/// Every test begins with this one.
pub const GOOD: &str = r#"id = "token-revoked"
title = "Tokens are revoked under load; the plugin logs in again."
proves = ["BUG-001", "KMS2-RT-01"]
mission = "expired-tokens"
arms = ["sim", "process"]

[world]
nodes = 3
server-version = "1.37"
vault = { flavour = "openbao", nodes = 3, auth = "approle", token-ttl = "60s", token-max-ttl = "10m" }
latency = { vault = "1ms..3ms", socket = "100us" }
providers = ["kms", "identity"]

[load]
writes = "6/min"
reads = "30/min"
objects = 20
size = 1024

[phases]
settle = "30s"
baseline = "2m"
fault = "5m"
heal = "10s"
liveness = "3m"

[[fault]]
id = "revoke"
kind = "vault-revoke-tokens"
at = "10s..60s"
hits = { at-least = 1 }

[[fault]]
id = "parted"
kind = "net-partition"
edge = "vault"
at = "90s"
for = "30s"
node = "any"

[[expect]]
always = "no-acknowledged-write-lost"

[[expect]]
eventually = "status-ok"
within = "15s"
after = "heal"

[[expect]]
always = "vault-logins-at-most"
limit = 20
per = "10m"

[scale]
process = 0.1
"#;

#[test]
fn it_is_read_and_written_back_the_same() {
    let scenario = read(GOOD, Some("token-revoked")).unwrap();
    let again = read(&write(&scenario.form).unwrap(), None).unwrap();
    assert_eq!(scenario, again);
}

#[test]
fn a_seed_decides_all_that_is_open_and_a_fault_taken_away_moves_no_other() {
    let scenario = read(GOOD, None).unwrap();
    let plan = Plan::of(&scenario, 7);
    assert_eq!(plan, Plan::of(&scenario, 7));
    let times: Vec<_> = (0..50)
        .map(|seed| Plan::of(&scenario, seed).faults[0].at)
        .collect();
    assert!(times.iter().all(|at| (10..=60).contains(&at.as_secs())));
    assert!(times.iter().max() > times.iter().min());
    let nodes: std::collections::BTreeSet<_> = (0..50)
        .map(|seed| Plan::of(&scenario, seed).faults[1].nodes.clone())
        .collect();
    assert_eq!(nodes.len(), 3, "every node is drawn at times");

    let mut form = scenario.form.clone();
    form.fault.remove(0);
    let fewer = read(&write(&form).unwrap(), None).unwrap();
    assert_eq!(Plan::of(&fewer, 7).faults[..], plan.faults[1..]);
    assert_eq!(
        plan.phases.total(),
        Duration::from_secs(30 + 120 + 300 + 10 + 180)
    );
}

#[test]
fn what_the_scenario_states_itself_is_judged_once() {
    let plan = Plan::of(&read(GOOD, None).unwrap(), 1);
    let lost = plan
        .expectations
        .iter()
        .filter(|expectation| expectation.claim.name() == "no-acknowledged-write-lost");
    assert_eq!(lost.count(), 1);
    let waived = GOOD.replace("[world]", "waives = [\"no-wrong-bytes\"]\n[world]");
    let plan = Plan::of(&read(&waived, None).unwrap(), 1);
    assert!(
        !plan
            .expectations
            .iter()
            .any(|expectation| expectation.claim.name() == "no-wrong-bytes")
    );
}

#[test]
fn the_schema_knows_every_key_and_allows_no_other() {
    let schema = schema();
    assert_eq!(schema["additionalProperties"], false);
    for key in [
        "id", "proves", "world", "load", "phases", "fault", "expect", "scale",
    ] {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
    assert!(schema.to_string().contains("vault-min-decryption-version"));
}
