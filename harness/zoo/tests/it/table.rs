//! The table names what there is, all of it, once.

use std::collections::{BTreeMap, BTreeSet};

use kms_contract::Who;
use kms_planted::Variant;
use kms_zoo::{Arm, Bug, digest, find, table, version};

#[test]
fn every_bug_has_one_row_and_a_sentence() {
    let mut rows = BTreeMap::<&str, u32>::new();
    for mutant in table() {
        *rows.entry(mutant.id).or_default() += 1;
        assert!(
            mutant.why.ends_with('.') && mutant.why.len() > 30,
            "{}: {:?}",
            mutant.id,
            mutant.why
        );
        let reasons = mutant.also.iter().map(|(_, reason)| reason);
        for reason in reasons {
            assert!(reason.len() > 10, "{}: {reason:?}", mutant.id);
        }
        match mutant.arm {
            Arm::Honest => assert_eq!((mutant.id, mutant.breaks().count()), ("honest", 0)),
            Arm::InProcess(bug) | Arm::Process(bug) => assert_eq!(mutant.id, bug.id()),
            Arm::Chaos(variant) => {
                assert_eq!(mutant.id, format!("chaos-{variant}"));
                assert_eq!(mutant.fails, [variant.breaks()]);
                assert!(!mutant.stands_for.is_empty(), "{}", mutant.id);
            }
        }
    }
    assert!(rows.values().all(|count| *count == 1), "{rows:?}");
    let known = Bug::ALL.len() + Variant::ALL.len() + 1;
    assert_eq!(rows.len(), known, "a bug without a row");
}

#[test]
fn rows_name_requirements_that_bind_a_plugin() {
    for mutant in table() {
        let follows = mutant.follows().filter(|id| id.starts_with("KMS2-"));
        for id in mutant.requirements().chain(follows) {
            let requirement = kms_contract::get(id).unwrap_or_else(|| panic!("no {id}"));
            let binds = Who::Plugin.includes(requirement.who);
            assert!(binds, "{}: {id} binds no plugin", mutant.id);
        }
        let breaks: Vec<_> = mutant.breaks().chain(mutant.follows()).collect();
        let distinct: BTreeSet<_> = breaks.iter().collect();
        assert_eq!(distinct.len(), breaks.len(), "{}: twice", mutant.id);
    }
}

/// Each defect that was found in a public plugin has somebody here who has it.
#[test]
fn the_defects_of_public_plugins_are_in_the_zoo() {
    let defects: [(&str, &[&str]); 9] = [
        (
            "Falco",
            &[
                "name-is-the-key-id",
                "key-id-of-another-request",
                "no-start-without-backend",
                "chaos-login-once",
                "chaos-request-storm",
                "old-socket-stops-start",
            ],
        ),
        ("AWS", &["version-unknown", "one-bad-object-makes-sick"]),
        ("GCP", &["key-id-before-first-contact", "key-id-ignored"]),
        ("Cosmian", &["status-knows-nothing", "chaos-always-ok"]),
        ("Infisical", &["status-refuses", "chaos-login-once"]),
        ("Trousseau", &["empty-ciphertext-on-error"]),
        ("Azure", &["series-for-each-error"]),
        ("dc-tec", &["restart-forgets-earlier-keys"]),
        ("HashiCorp", &["key-id-holds-address"]),
    ];
    for (peer, mutants) in defects {
        for id in mutants {
            let mutant = find(id).unwrap();
            assert!(mutant.why.contains(peer), "{id} does not name {peer}");
        }
    }
}

#[test]
fn an_unknown_id_is_answered_with_those_like_it() {
    let error = find("memory-shrinks").unwrap_err();
    assert!(error.contains("memory-grows"), "{error}");
    let error = find("xyz").unwrap_err();
    assert!(
        error.contains("honest") && error.contains("chaos-hangs"),
        "{error}"
    );
}

#[test]
fn the_version_holds_the_digest() {
    let digest = digest();
    assert!(digest.starts_with("sha256:") && digest.len() == 7 + 64);
    assert!(
        version().ends_with(&digest["sha256:".len()..][..12]),
        "{}",
        version()
    );
}
