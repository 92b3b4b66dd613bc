//! The program itself, judged: recordings of the real controllers must come out of it again. For our KMS mode that is all
//! there is to believe it for.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use kms_controlplane::generation::Generation;
use serde_json::Value;

use crate::compare::difference;
use crate::real::Real;
use crate::recordings::{folder, operators, recordings};
use crate::story::{Story, Told};

/// How often a story is played until it comes out as recorded: one of them waits for a second that must not pass.
const TRIES: u32 = 3;

/// Plays every recorded story of a family on the program.
pub fn family(part: &Path, generation: Generation, name: &str) -> Result<()> {
    let mut real = Real::new(generation, part);
    let recordings = recordings(name);
    let mut differ = Vec::new();
    for (story, recorded) in &recordings {
        same_as_in_shared(name, story, recorded)?;
        let steps = recorded.iter().filter(|line| line["what"] == "do");
        let steps = steps.map(|line| line["text"].as_str().unwrap_or_default().to_owned());
        let told = Story::new(operators(story), steps);
        let mut recorded = Told {
            lines: recorded[1..].to_vec(),
            ..Told::default()
        };
        recorded.blunt();
        let mut why = None;
        for _ in 0..TRIES {
            let mut played = real.play(&told);
            let texts = std::mem::take(&mut played.texts);
            why = difference(&played, &recorded);
            if why.is_none() {
                recorded_texts(name, texts)?;
                break;
            }
        }
        differ.extend(why.map(|why| format!("{story} {why}")));
    }
    println!(
        "{name}: {} of {} stories as recorded",
        recordings.len() - differ.len(),
        recordings.len()
    );
    ensure!(differ.is_empty(), "{}", differ.join("\n"));
    Ok(())
}

/// The target configs that a story names, against their recorded texts.
fn recorded_texts(family: &str, texts: std::collections::BTreeMap<String, Value>) -> Result<()> {
    for (name, played) in texts {
        let file = folder(family).join("configs").join(format!("{name}.json"));
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let recorded: Value =
            serde_json::from_str(&text).with_context(|| format!("read {}", file.display()))?;
        ensure!(
            recorded == played,
            "target config {name}:\n  real     {played}\n  recorded {recorded}"
        );
    }
    Ok(())
}

/// The recording here is the one that lies in the folder `shared`, where that is.
fn same_as_in_shared(family: &str, story: &str, here: &[Value]) -> Result<()> {
    let shared = std::env::var_os("KMS_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let folder = shared.join("contract/openshift-live");
    let folder = if family == "generic" {
        folder
    } else {
        folder.join(family)
    };
    let Ok(text) = fs::read_to_string(folder.join(format!("{story}.jsonl"))) else {
        return Ok(());
    };
    let there: Vec<Value> = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    ensure!(
        there == here,
        "{story} is recorded otherwise in {}",
        folder.display()
    );
    Ok(())
}
