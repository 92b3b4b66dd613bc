//! Checks and the contract's registry name the same requirements.

use std::collections::BTreeSet;

use kms_contract::Who;

fn judged() -> BTreeSet<&'static str> {
    kms_judge::all_checks()
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
fn every_requirement_on_a_plugin_has_a_check() {
    let missing: Vec<_> = kms_contract::all()
        .filter(|r| Who::Plugin.includes(r.who))
        .map(|r| r.id)
        .filter(|id| !judged().contains(id))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn check_ids_are_unique_and_well_formed() {
    let mut seen = BTreeSet::new();
    for check in kms_judge::all_checks() {
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
