//! A story: operators and steps, as text and on the model.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::compare::difference;
use crate::player::Player;
use crate::real::Real;
use crate::recordings::Operators;
use crate::search::keep;
use crate::{KMS, PLAIN, Side};

/// An operator: its name, what it encrypts, on how many nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    pub name: String,
    pub resources: Vec<String>,
    pub nodes: usize,
}

/// A story.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Story {
    pub operators: Vec<Operator>,
    pub steps: Vec<String>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// Line by line, without the first line of a recording.
    pub lines: Vec<Value>,
    /// Target configs that the story asked for, by the name that it gave them.
    pub texts: BTreeMap<String, Value>,
    /// How it ended before its end.
    pub broke: Option<String>,
}

impl Story {
    pub fn new(operators: Operators, steps: impl IntoIterator<Item = String>) -> Self {
        let operator = |(name, resources, nodes): &(&str, &[&str], usize)| Operator {
            name: (*name).to_owned(),
            resources: resources.iter().map(|r| (*r).to_owned()).collect(),
            nodes: *nodes,
        };
        Self {
            operators: operators.iter().map(operator).collect(),
            steps: steps.into_iter().collect(),
        }
    }

    /// Reads what [`fmt::Display`] writes; empty lines and those that begin with `#` mean nothing.
    pub fn parse(text: &str) -> Result<Self> {
        let mut story = Self::default();
        let lines = text.lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["component", name, resources, nodes] => story.operators.push(Operator {
                    name: (*name).to_owned(),
                    resources: resources.split(',').map(str::to_owned).collect(),
                    nodes: nodes
                        .parse()
                        .with_context(|| format!("nodes in {line:?}"))?,
                }),
                ["component", ..] => bail!("{line:?}: component NAME RESOURCES NODES"),
                _ => story.steps.push(line.to_owned()),
            }
        }
        Ok(story)
    }

    /// A player of the model on which the story begins.
    pub fn player(&self, side: Side) -> Player {
        let resources: Vec<Vec<&str>> = self
            .operators
            .iter()
            .map(|o| o.resources.iter().map(String::as_str).collect())
            .collect();
        let operators: Vec<(&str, &[&str], usize)> = self
            .operators
            .iter()
            .zip(&resources)
            .map(|(o, resources)| (o.name.as_str(), resources.as_slice(), o.nodes))
            .collect();
        let mut player = Player::new(side.generation, &operators);
        (side.plant)(&mut player.cluster);
        player
    }

    /// Plays it on the model.
    pub fn on_the_model(&self, side: Side) -> Told {
        let mut player = self.player(side);
        let broke = self.steps.iter().find_map(|step| play(&mut player, step));
        Told::of(player, broke)
    }
}

/// Plays a step; says how the model died of it, if it did.
pub fn play(player: &mut Player, step: &str) -> Option<String> {
    let died = catch_unwind(AssertUnwindSafe(|| player.play(step))).err()?;
    Some(format!("the model died at {step:?}: {}", cause(&died)))
}

fn cause(died: &(dyn Any + Send)) -> String {
    let text = died.downcast_ref::<String>().cloned();
    text.or_else(|| died.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_default()
}

impl Told {
    /// What a player has after its last step.
    pub fn of(player: Player, broke: Option<String>) -> Self {
        let mut told = Self {
            lines: player.lines,
            texts: player.configs,
            broke,
        };
        told.blunt();
        told
    }

    /// Why a step was not possible is said in other words here and there.
    pub fn blunt(&mut self) {
        for line in self.lines.iter_mut().filter(|line| line["what"] == "note") {
            let text = line["text"].as_str().unwrap_or_default();
            if text.starts_with("step not possible: ") {
                line["text"] = "step not possible".into();
            }
        }
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for o in &self.operators {
            writeln!(
                f,
                "component {} {} {}",
                o.name,
                o.resources.join(","),
                o.nodes
            )?;
        }
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

/// Plays the story of a file on both, in both generations, and keeps recordings of the real ones; an error where they
/// differ.
pub fn tell_file(file: &Path, part: &Path) -> Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let story = Story::parse(&text)?;
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let mut differ = Vec::new();
    for side in [PLAIN, KMS] {
        let generation = format!("{:?}", side.generation);
        let real = Real::new(side.generation, part).play(&story);
        let kept = keep(&format!("{generation}-{name}"), &story, &real)?;
        println!(
            "{generation}: {} lines, kept as {}",
            real.lines.len(),
            kept.display()
        );
        let difference = difference(&real, &story.on_the_model(side));
        differ.extend(difference.map(|difference| format!("{generation}: {difference}")));
    }
    if differ.is_empty() {
        Ok(())
    } else {
        bail!("{}", differ.join("\n"))
    }
}
