//! What would be worth nothing if it did not work: the comparison, the search, the table of steps.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::compare::difference;
use crate::recordings::KAS_ONLY;
use crate::search::Search;
use crate::story::{Story, Told, play};
use crate::{KMS, PLAIN, Side, steps};

/// A model without one of the real controllers' quirks is found out by a story of a few steps, which the model tells
/// rightly with the quirk.
pub fn planted(part: &Path) -> Result<()> {
    let planted = Side {
        plant: |cluster| cluster.quirks.completed_during_change = false,
        ..PLAIN
    };
    let mut search = Search::new(part, planted, 7);
    let found = search.next(200)?.context("no story showed it")?;
    println!("{}{}", found.story, found.why);
    ensure!(
        found.why.to_string().contains("EncryptionInProgress"),
        "{}",
        found.why
    );
    ensure!(found.story.steps.len() <= 4, "not shrunk:\n{}", found.story);
    let right = difference(&found.real, &found.story.on_the_model(PLAIN));
    ensure!(right.is_none(), "the model itself differs: {right:?}");
    Ok(())
}

/// Where real controllers die and the model does not, or the other way round, that is a difference.
pub fn death(part: &Path) -> Result<()> {
    let planted = Side {
        plant: |cluster| cluster.quirks.empty_config_panics = false,
        ..KMS
    };
    let steps = [
        "spec KMS",
        "complete",
        "auto off",
        "key 1 force-delete",
        "only state",
    ];
    let story = Story::new(KAS_ONLY, steps.map(str::to_owned));
    let real = crate::real::Real::new(KMS.generation, part).play(&story);
    ensure!(
        difference(&real, &story.on_the_model(KMS)).is_none(),
        "the model itself differs"
    );
    let why = difference(&real, &story.on_the_model(planted)).context("no difference")?;
    ensure!(why.to_string().contains("index out of range"), "{why}");
    Ok(())
}

/// A line that is missing, too many, or other; another text; another end.
pub fn lines_that_differ() -> Result<()> {
    let told = |lines: &[&str]| Told {
        lines: lines
            .iter()
            .map(|text| json!({"what": "do", "text": text}))
            .collect(),
        ..Told::default()
    };
    let real = told(&["spec KMS", "rollout"]);
    ensure!(difference(&real, &real.clone()).is_none());
    for other in [
        told(&["spec KMS"]),
        told(&["spec KMS", "rollout", "settle"]),
        told(&["spec KMS", "settle"]),
    ] {
        ensure!(difference(&real, &other).is_some(), "{:?}", other.lines);
    }
    let mut other = real.clone();
    other.texts.insert("one".to_owned(), json!({}));
    ensure!(
        difference(&real, &other).is_some_and(|why| why.to_string().contains("target config one"))
    );
    let mut other = real.clone();
    other.broke = Some("the model died".to_owned());
    ensure!(
        difference(&real, &other).is_some_and(|why| why.to_string().contains("the model died"))
    );
    Ok(())
}

/// No step of the table is one that the player does not know or dies of, and stories are read as they are written.
pub fn every_step_can_be_played() -> Result<()> {
    for (_, text) in steps::all() {
        let text = ["$NEWEST", "$OLDER", "$REVISION", "$BEFORE"]
            .iter()
            .fold(text, |text, word| text.replace(word, "1"))
            .replace("$NEXT", "2")
            .replace("$AFTER", "2")
            .replace("$FIRST", "secrets")
            .replace("$LAST", "configmaps")
            .replace("$STEP", "2");
        let steps = ["spec aescbc", "auto off", text.as_str()];
        let story = Story::new(KAS_ONLY, steps.map(str::to_owned));
        let again = Story::parse(&story.to_string())?;
        ensure!(again == story, "{text:?} is not read as it is written");
        let mut player = story.player(PLAIN);
        let died = story.steps.iter().find_map(|step| play(&mut player, step));
        ensure!(died.is_none(), "{died:?}");
        let unknown = player.lines.iter().any(|line| {
            let text = line["text"].as_str().unwrap_or_default();
            line["what"] == "note" && text.contains("unknown")
        });
        ensure!(!unknown, "the player knows no step {text:?}");
    }
    Ok(())
}
