//! Stories that once showed a difference: recordings of the real controllers, in folders by generation. The model tells
//! them on every machine, the real controllers where they are.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::compare::difference;
use crate::real::Real;
use crate::story::{Operator, Story, Told};
use crate::{KMS, PLAIN, Side};

const FOLDERS: [(&str, Side); 2] = [("plain", PLAIN), ("kms", KMS)];

/// A story with its recording.
struct Recording {
    name: String,
    story: Story,
    told: Told,
}

/// Every recording comes out of the model.
pub fn on_the_model() -> Result<()> {
    each(|side, recording| recording.story.on_the_model(side))
}

/// Every recording comes out of the real controllers, still.
pub fn on_the_real_ones(part: &Path) -> Result<()> {
    let mut plain = Real::new(PLAIN.generation, part);
    let mut kms = Real::new(KMS.generation, part);
    each(|side, recording| {
        let real = if side.generation == KMS.generation {
            &mut kms
        } else {
            &mut plain
        };
        real.play(&recording.story)
    })
}

fn each(mut play: impl FnMut(Side, &Recording) -> Told) -> Result<()> {
    let mut differ = Vec::new();
    let mut count = 0;
    for (folder, side) in FOLDERS {
        for recording in recordings(folder)? {
            count += 1;
            let mut played = play(side, &recording);
            played.texts.clear();
            if let Some(why) = difference(&recording.told, &played) {
                differ.push(format!("{folder}/{} {why}", recording.name));
            }
        }
    }
    println!(
        "{} of {count} found stories as recorded",
        count - differ.len()
    );
    ensure!(differ.is_empty(), "{}", differ.join("\n"));
    Ok(())
}

fn recordings(folder: &str) -> Result<Vec<Recording>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/differential/found")
        .join(folder);
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))? {
        files.push(entry?.path());
    }
    files.sort();
    files.iter().map(|file| recording(file)).collect()
}

fn recording(file: &Path) -> Result<Recording> {
    let wrong = || {
        format!(
            "{}: begins with no title that names its operators",
            file.display()
        )
    };
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let mut lines: Vec<Value> = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .with_context(|| format!("read {}", file.display()))?;
    ensure!(!lines.is_empty(), wrong());
    let title = lines.remove(0);
    let operators: Vec<(String, Vec<String>, usize)> =
        serde_json::from_value(title["data"]["operators"].clone()).with_context(wrong)?;
    let operators = operators
        .into_iter()
        .map(|(name, resources, nodes)| Operator {
            name,
            resources,
            nodes,
        });
    let steps = lines.iter().filter(|line| line["what"] == "do");
    let steps = steps.map(|line| line["text"].as_str().unwrap_or_default().to_owned());
    Ok(Recording {
        name: title["name"].as_str().unwrap_or_default().to_owned(),
        story: Story {
            operators: operators.collect(),
            steps: steps.collect(),
        },
        told: Told {
            lines,
            ..Told::default()
        },
    })
}
