//! Every scenario of the library passes, twice, with the same history both times.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::harness;

/// Two processes, one result: the digest is over every event of a run.
#[test]
fn the_library_passes_and_repeats_exactly() {
    let run = || harness(&["chaos", "--format", "json"]);
    let (first, second) = (run(), run());
    let (first, second) = (first.json(), second.json());
    let rows = |document: &Value| document["scenarios"].as_array().unwrap().clone();
    let mut wrong = Vec::new();
    for (one, other) in rows(&first).iter().zip(rows(&second)) {
        let id = &one["id"];
        if one["verdict"] != "pass" {
            wrong.push(format!("{id}: {one:#}"));
        }
        if one["digest"].is_null() || one["digest"] != other["digest"] {
            wrong.push(format!("{id}: the second run was another one"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(rows(&first).len(), rows(&second).len());
}

/// What the library is about: each of the mission's faults, and most of the public bugs.
#[test]
fn the_library_covers_the_mission_and_the_bugs() {
    let (mut count, mut missions, mut bugs) = (0, BTreeSet::new(), BTreeSet::new());
    let folder = crate::support::root().join("scenarios");
    for kind in std::fs::read_dir(folder).unwrap() {
        for file in std::fs::read_dir(kind.unwrap().path()).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            let scenario: toml::Table = text.parse().unwrap();
            count += 1;
            if let Some(mission) = scenario.get("mission") {
                missions.insert(mission.as_str().unwrap().to_owned());
            }
            for id in scenario["proves"].as_array().unwrap() {
                if id.as_str().unwrap().starts_with("BUG-") {
                    bugs.insert(id.as_str().unwrap().to_owned());
                }
            }
        }
    }
    assert!(count >= 70, "{count} scenarios");
    assert_eq!(missions.len(), 4, "{missions:?}");
    assert!(bugs.len() >= 50, "{} bugs: {bugs:?}", bugs.len());
}
