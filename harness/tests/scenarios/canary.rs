//! A scenario that must fail for a known share of seeds: who finds nothing in it finds nothing elsewhere either.

use std::fs;

use crate::support::harness;

const CANARY: &str = include_str!("canary.toml");
const SEEDS: u64 = 40;

/// How many seeds of this text fail.
fn failures(text: &str) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("canary.toml");
    fs::write(&path, text).unwrap();
    let seeds = SEEDS.to_string();
    let path = path.to_str().unwrap();
    let said = harness(&["chaos", path, "--seeds", &seeds, "--format", "json"]);
    let summary = &said.json()["summary"];
    let count = |what: &str| summary[what].as_u64().unwrap();
    assert_eq!(count("pass") + count("fail"), SEEDS, "{summary}");
    count("fail")
}

/// Half of them, give or take what chance does to forty.
fn sings(failures: u64) -> bool {
    (SEEDS / 4..=SEEDS - SEEDS / 4).contains(&failures)
}

#[test]
fn the_canary_fails_for_half_of_the_seeds() {
    let failed = failures(CANARY);
    assert!(sings(failed), "{failed} of {SEEDS} seeds failed");
}

/// One that nothing can hurt, and one that is always hurt, are both noticed.
#[test]
fn a_canary_that_does_not_depend_on_the_seed_is_noticed() {
    for (node, all) in [("node = 0\nat", SEEDS), ("node = 1\nat", 0)] {
        let text = CANARY.replace("node = \"any\"\nat", node);
        let failed = failures(&text);
        assert_eq!(failed, all, "{node}");
        assert!(!sings(failed));
    }
}
