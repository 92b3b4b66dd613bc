//! Checks and the contract's registry name the same requirements.

use std::collections::BTreeSet;

use kms_contract::Who;

/// Requirements on a plugin that no check judges yet, and what it takes to judge them. They stay
/// required: a profile that holds one is not earned without it.
const WITHOUT_CHECK: &[(&str, &[&str])] = &[
    (
        "a fault of the backend under the plugin that is judged, which no operator's ordinary action is: \
         recovery, and refused writes, are counted from where it begins and ends",
        &["AVAIL-01", "AVAIL-02"],
    ),
    (
        "such a fault, with every login and request at the backend counted through it and after it",
        &["AVAIL-07"],
    ),
];

fn judged() -> BTreeSet<&'static str> {
    kms_judge::checks()
        .iter()
        .flat_map(|check| check.requirements)
        .copied()
        .collect()
}

#[test]
fn every_judged_requirement_is_in_the_contract_and_obliges_a_plugin() {
    for id in judged() {
        let requirement = kms_contract::get(id).unwrap_or_else(|| panic!("{id} is unknown"));
        assert!(
            Who::Plugin.includes(requirement.who),
            "{id} is not the plugin's to obey"
        );
    }
}

#[test]
fn every_requirement_on_a_plugin_has_a_check_or_a_reason() {
    let excused: BTreeSet<String> = WITHOUT_CHECK
        .iter()
        .flat_map(|(_, ids)| *ids)
        .map(|id| format!("KMS2-{id}"))
        .collect();
    let all = kms_contract::all()
        .filter(|r| Who::Plugin.includes(r.who))
        .map(|r| r.id);
    let missing: Vec<_> = all
        .filter(|id| !judged().contains(id) && !excused.contains(*id))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    let both: Vec<_> = excused
        .iter()
        .filter(|id| judged().contains(id.as_str()))
        .collect();
    assert!(both.is_empty(), "have a check after all: {both:?}");
    assert!(excused.iter().all(|id| kms_contract::get(id).is_some()));
}

#[test]
fn check_ids_are_unique_and_well_formed() {
    let mut seen = BTreeSet::new();
    for check in kms_judge::checks() {
        assert!(seen.insert(check.id), "{} twice", check.id);
        assert!(
            check
                .id
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        );
        assert!(!check.title.is_empty() && !check.requirements.is_empty());
    }
}
