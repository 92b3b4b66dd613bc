//! Before anything that the simulation shows is believed: the same seed gives the same run, event by event, in two
//! processes. CI runs this first.

use serde_json::{Value, json};

use crate::share::share;
use crate::support::{harness, library};

/// Where the second run of some scenario was another one than the first.
fn differences(first: &Value, second: &Value) -> Vec<String> {
    let rows = |document: &Value| document["scenarios"].as_array().unwrap().clone();
    let (first, second) = (rows(first), rows(second));
    let mut wrong = Vec::new();
    if first.len() != second.len() {
        wrong.push(format!("{} runs, then {}", first.len(), second.len()));
    }
    for (one, other) in first.iter().zip(&second) {
        let same = ["id", "seed", "digest", "verdict"]
            .iter()
            .all(|key| one[*key] == other[*key]);
        if one["digest"].is_null() || !same {
            let (id, before, after) = (&one["id"], &one["digest"], &other["digest"]);
            wrong.push(format!("{id}: {before}, then {after}"));
        }
    }
    wrong
}

/// Two processes, one result: the digest is over every event of a run. And what runs equally also passes.
#[test]
fn every_scenario_of_the_library_twice() {
    let simulated = library().into_iter().filter(|(_, scenario)| {
        let arms = scenario["arms"].as_array().unwrap();
        arms.iter().any(|arm| arm.as_str() == Some("sim"))
    });
    let files = share(simulated.map(|(file, _)| file), 6);
    let mut words = vec!["chaos", "--format", "json"];
    words.extend(files.iter().map(String::as_str));
    let run = || harness(&words).json();
    let (first, second) = (run(), run());
    let wrong = differences(&first, &second);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let rows = first["scenarios"].as_array().unwrap().iter();
    let failed: Vec<_> = rows.filter(|row| row["verdict"] != "pass").collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn a_run_that_differs_is_noticed() {
    let row =
        |id: &str, digest: Value| json!({"id": id, "seed": 1, "verdict": "pass", "digest": digest});
    let of = |rows: &[Value]| json!({ "scenarios": rows });
    let first = of(&[row("a", json!("00")), row("b", json!("01"))]);
    assert!(differences(&first, &first).is_empty());
    for second in [
        of(&[row("a", json!("00")), row("b", json!("02"))]),
        of(&[row("a", json!("00"))]),
        of(&[row("b", json!("01")), row("a", json!("00"))]),
    ] {
        assert!(!differences(&first, &second).is_empty(), "{second}");
    }
    let nothing = of(&[row("a", Value::Null)]);
    assert_eq!(
        differences(&nothing, &nothing).len(),
        1,
        "no digest is no equal one"
    );
}
