//! The registry against the written contract, where that is at hand.
//!
//! It lies in the folder `shared` beside the workspace, or in `$KMS_SHARED`. With
//! `KMS_REQUIRE=all` its absence is a failure; otherwise there is nothing to compare with.

use std::collections::BTreeSet;
use std::path::PathBuf;

use kms_contract::{Confidence, Level, Who, all, get};

/// Entries that stand inside a section and not at a bullet.
const IN_SECTIONS: [&str; 8] = [
    "KMS2-OBJ-01",
    "KMS2-ETCD-01",
    "KMS2-ETCD-02",
    "KMS2-CRYPTO-01",
    "KMS2-CRYPTO-02",
    "KMS2-CRYPTO-03",
    "KMS2-CRYPTO-04",
    "KMS2-CACHE-07",
];

fn contract() -> Option<String> {
    let shared = std::env::var_os("KMS_SHARED").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")),
        PathBuf::from,
    );
    let path = shared.join("contract/kmsv2.md");
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) if std::env::var("KMS_REQUIRE").is_ok_and(|tiers| tiers == "all") => {
            panic!("cannot read the contract at {}: {error}", path.display())
        }
        Err(_) => None,
    }
}

/// Id and the rest of the line of each entry that is a bullet.
fn bullets(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines()
        .filter_map(|line| line.strip_prefix("- **")?.split_once("**"))
}

#[test]
fn ids_are_those_of_the_written_contract() {
    let Some(text) = contract() else { return };
    let mut written: BTreeSet<_> = bullets(&text).map(|(id, _)| id).collect();
    for id in IN_SECTIONS {
        assert!(
            text.contains(id) || text.contains("KMS2-CRYPTO-01..04"),
            "{id} is not written"
        );
        assert!(written.insert(id), "{id} is a bullet");
    }
    let own = ["RT", "AVAIL", "ROT", "SEC", "OBS", "PERF"];
    let registered: BTreeSet<_> = all()
        .filter(|one| !own.contains(&one.area()))
        .map(|one| one.id)
        .collect();
    assert_eq!(registered, written);
}

#[test]
fn who_level_and_measurements_are_those_of_the_written_contract() {
    let Some(text) = contract() else { return };
    for (id, rest) in bullets(&text) {
        let one = get(id).unwrap();
        for (mark, confidence) in [
            (" [measured]", Confidence::Measured),
            (" [live]", Confidence::Live),
            (" [doc]", Confidence::Doc),
        ] {
            let marked = rest.contains(mark);
            // Entries without any mark are known from documentation or code.
            let known = one.confidence.contains(&confidence);
            assert!(known || !marked, "{id} lacks {mark}");
            assert!(
                marked || !known || confidence == Confidence::Doc,
                "{id} invents {mark}"
            );
        }
        let Some((tag, _)) = rest
            .strip_prefix(" [")
            .and_then(|rest| rest.split_once(']'))
        else {
            continue;
        };
        let who = match tag.split([' ', ']']).next() {
            _ if tag.starts_with("P MUST, S") || tag.starts_with("P,S") => Who::Both,
            Some("P") => Who::Plugin,
            Some("S") => Who::ApiServer,
            Some("info") => Who::Info,
            _ => continue,
        };
        assert_eq!(one.who, who, "{id} [{tag}]");
        let level = match tag {
            _ if tag.contains("MUST") => Level::Must,
            _ if tag.contains("SHOULD") => Level::Should,
            _ => Level::May,
        };
        assert_eq!(one.level, level, "{id} [{tag}]");
    }
}
