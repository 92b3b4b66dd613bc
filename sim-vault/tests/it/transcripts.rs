//! Every recorded request, on the flavour it was recorded from.

use sim_vault::Flavour;

use crate::replay::{replay, topics};
use crate::share::whole;

/// Recorded requests that cannot be made: flavour, topic, how many.
const NOT_APPLICABLE: &[(Flavour, &str, usize)] = &[
    // Vault's community edition cannot lock a namespace, so there is no key to unlock it with
    (Flavour::Vault, "namespaces", 1),
];

/// Bodies of many megabytes, and RSA keys: two thirds of the time. They are part of the whole alone.
const LARGE: [&str; 4] = [
    "sys-json-limits",
    "sys-limits",
    "transit-backup",
    "transit-keys",
];

fn all_alike(flavour: Flavour, requests: usize) {
    let mut alike = 0;
    let mut differences = Vec::new();
    for topic in topics(flavour) {
        if LARGE.contains(&&*topic) && !whole() {
            continue;
        }
        let report = replay(flavour, &topic);
        alike += report.alike;
        differences.extend(report.different);
        let excused = NOT_APPLICABLE
            .iter()
            .find(|(f, t, _)| *f == flavour && *t == topic)
            .map_or(0, |(_, _, n)| *n);
        assert_eq!(
            report.not_applicable.len(),
            excused,
            "{topic}: {:#?}",
            report.not_applicable
        );
    }
    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences.join("\n")
    );
    if whole() {
        assert_eq!(alike, requests, "recorded requests that were replayed");
    }
    assert!(alike > requests * 3 / 4, "{alike} were replayed");
}

#[test]
fn openbao_answers_as_recorded() {
    all_alike(Flavour::OpenBao, 1673);
}

#[test]
fn vault_answers_as_recorded() {
    all_alike(Flavour::Vault, 1687);
}
