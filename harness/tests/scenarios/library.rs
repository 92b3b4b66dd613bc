//! What the library is about. That it passes, twice alike, is in `determinism`.

use std::collections::BTreeSet;

/// What the library is about: each of the mission's faults, and most of the public bugs.
#[test]
fn the_library_covers_the_mission_and_the_bugs() {
    let (mut count, mut missions, mut bugs) = (0, BTreeSet::new(), BTreeSet::new());
    for (_, scenario) in crate::support::library() {
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
    assert!(count >= 70, "{count} scenarios");
    assert_eq!(missions.len(), 4, "{missions:?}");
    assert!(bugs.len() >= 50, "{} bugs: {bugs:?}", bugs.len());
}
