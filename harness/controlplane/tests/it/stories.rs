//! Every recorded story, replayed: each line that the real controllers left must come out of the model too, and the
//! judges find what they are known to find.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use kms_controlplane::cluster::Cluster;
use kms_controlplane::generation::{Generation, Quirks};
use kms_controlplane::invariant::{Invariant, Judge};
use serde_json::Value;

use crate::invariants::known_to_break;
use crate::player::Player;
use crate::recordings::{folder, operators};

pub use crate::recordings::{KAS_ONLY, recordings};

/// Plays a story; says how it differs from its recording, if it does. `watch` sees the cluster whenever the controllers
/// have settled. Target configs that the story names are taken along.
pub fn replay(
    generation: Generation,
    quirks: Quirks,
    (story, recorded): &(String, Vec<Value>),
    configs: &mut BTreeMap<String, Value>,
    watch: &mut dyn FnMut(&Cluster),
) -> Result<(), String> {
    let mut player = Player::new(generation, operators(story));
    player.cluster.quirks = quirks;
    for line in recorded.iter().filter(|line| line["what"] == "do") {
        player.play_watched(line["text"].as_str().unwrap(), watch);
    }
    configs.append(&mut player.configs);
    let recorded = &recorded[1..]; // after the title
    let played = &player.lines;
    let Some(at) =
        (0..recorded.len().max(played.len())).find(|i| recorded.get(*i) != played.get(*i))
    else {
        return Ok(());
    };
    let show = |line: Option<&Value>| line.map_or("(end)".to_owned(), Value::to_string);
    let (recorded, played) = (show(recorded.get(at)), show(played.get(at)));
    Err(format!(
        "line {}:\n  recorded {recorded}\n  played   {played}",
        at + 2
    ))
}

fn family(name: &str, generation: Generation, count: usize) {
    let recordings = recordings(name);
    assert_eq!(recordings.len(), count, "stories of {name}");
    let mut table = String::new();
    let mut lines = 0;
    let mut different = 0;
    let mut configs = BTreeMap::new();
    let mut broken: BTreeMap<Invariant, BTreeSet<String>> = BTreeMap::new();
    for recording in &recordings {
        let (story, recorded) = recording;
        lines += recorded.len();
        let mut judge = Judge::default();
        let mut watch = |cluster: &Cluster| {
            for violation in judge.look(cluster) {
                let short = story.split('-').next().unwrap();
                broken
                    .entry(violation.invariant)
                    .or_default()
                    .insert(format!("{name}/{short}"));
            }
        };
        if let Err(why) = replay(
            generation,
            Quirks::REAL,
            recording,
            &mut configs,
            &mut watch,
        ) {
            different += 1;
            writeln!(table, "{story}: {why}").unwrap();
        }
    }
    // Two stories may name the same text: the later one wrote it.
    for (config, played) in &configs {
        let text = fs::read_to_string(folder(name).join("configs").join(format!("{config}.json")))
            .unwrap();
        let recorded: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(recorded, *played, "config text {config} of {name}");
    }
    println!(
        "{name}: {} stories alike, {different} different ({lines} lines, {} config texts)",
        count - different,
        configs.len()
    );
    assert!(
        different == 0,
        "{different} of {count} stories of {name} differ:\n{table}"
    );
    assert_eq!(broken, known_to_break(name));
}

#[test]
fn generic_stories_line_by_line() {
    family("generic", Generation::Generic, 51);
}

#[test]
fn v1_stories_line_by_line() {
    family("v1", Generation::V1, 42);
}

#[test]
fn v2_stories_line_by_line() {
    family("v2", Generation::V2, 61);
}
