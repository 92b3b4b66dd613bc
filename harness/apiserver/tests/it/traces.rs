//! Every recording of the real client code, played on the model.

use std::path::Path;

use crate::replay::{Trace, play};

/// Plays all recordings; what is different is printed.
#[test]
fn the_recorded_traces_agree() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert_eq!(files.len(), 89);
    let mut wrong = 0;
    let only = std::env::var("TRACE").ok();
    for file in files {
        let trace = Trace::parse(&std::fs::read_to_string(&file).unwrap());
        if only.as_ref().is_some_and(|only| *only != trace.scenario) {
            continue;
        }
        let table = play(&trace);
        println!("{}: {} alike, {} different", table.scenario, table.alike_count(), table.different_count());
        for (kind, whys) in &table.different {
            for why in whys.iter().take(6) {
                println!("    {kind}: {why}");
            }
        }
        wrong += table.different_count();
    }
    assert_eq!(wrong, 0);
}
