//! Every recording of the real client code, played on the model.

use std::path::Path;

use crate::replay::{Table, Trace, play};

fn tables() -> Vec<Table> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let texts = files
        .iter()
        .map(|file| std::fs::read_to_string(file).unwrap());
    texts.map(|text| play(&Trace::parse(&text))).collect()
}

/// RPC order and times, requests, results, texts, stored values, metrics and log lines are those
/// of the real code, in every recording.
#[test]
fn the_recorded_traces_agree() {
    let tables = tables();
    assert_eq!(tables.len(), 89);
    let mut wrong = Vec::new();
    for table in &tables {
        for (kind, whys) in &table.different {
            wrong.extend(
                whys.iter()
                    .map(|why| format!("{}: {kind}: {why}", table.scenario)),
            );
        }
    }
    assert!(
        wrong.is_empty(),
        "{} different:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    let alike: usize = tables.iter().map(Table::alike_count).sum();
    assert!(alike > 6_300, "only {alike} events were compared");
}

/// A comparison that cannot fail proves nothing: what the model did is held against a recording
/// with one event changed.
#[test]
fn a_changed_recording_is_noticed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces");
    let changed = |name: &str, from: &str, to: &str| {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        assert!(text.contains(from), "{name}: {from}");
        let trace = Trace::parse(&text.replacen(from, to, 1));
        play(&trace).different_count()
    };
    let cases = [
        (
            "virtual-steady-2h.json",
            "\"t_ms\":120000",
            "\"t_ms\":120001",
        ),
        ("version-flip.json", "got v2\\n", "got v3\\n"),
        ("virtual-rotate.json", "\"stale\":true", "\"stale\":false"),
        ("conn-drain.json", "\"took_ms\":497.3", "\"took_ms\":997.3"),
        (
            "object-decode.json",
            "encrypted data is empty",
            "encrypted data is gone",
        ),
        (
            "decrypt-codes.json",
            "cache_misses_total 24",
            "cache_misses_total 23",
        ),
        (
            "conn-backoff-8min.json",
            "\"t_ms\":1002.8",
            "\"t_ms\":1502.8",
        ),
    ];
    for (name, from, to) in cases {
        assert!(
            changed(name, from, to) > 0,
            "{name}: {from} changed and not noticed"
        );
    }
}
