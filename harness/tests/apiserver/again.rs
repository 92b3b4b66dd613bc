//! Two servers in real time differ once in a while by chance alone: a probe that falls a second later, a machine that
//! stops for a moment. So a story that showed an unexplained difference is played again from its start, and only what
//! shows in both playings is a failure.

use std::fmt;

use crate::allowed::Difference;

/// The end of a failure's text fits on a screen: so many lines of all stories together, each cut to [`WIDTH`].
pub const LINES: usize = 36;
/// Characters of one shown line.
const WIDTH: usize = 220;

/// One playing of a story.
#[derive(Clone, Debug, Default)]
pub struct Playing {
    /// What was found, by chapter.
    pub found: Vec<Found>,
    /// Where and why it ended before the story did.
    pub broke: Option<(usize, String)>,
    /// Facts that were compared.
    pub facts: usize,
    /// How long it took.
    pub seconds: f32,
}

/// A difference and where it was.
#[derive(Clone, Debug)]
pub struct Found {
    /// Name of the story.
    pub story: String,
    /// Number of the chapter, from 0.
    pub chapter: usize,
    /// What differed.
    pub difference: Difference,
}

/// What all playings of a story say together.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Real: in both playings, or nobody could see that it is not.
    pub lasting: Vec<Found>,
    /// Chance: in one of them only.
    pub once: Vec<Found>,
    /// Facts of all playings.
    pub facts: usize,
    /// Seconds of all playings.
    pub seconds: f32,
}

impl Playing {
    fn is_clean(&self) -> bool {
        self.found.is_empty() && self.broke.is_none()
    }

    /// Whether this fact of this chapter differed here, or was never reached.
    fn may_hold(&self, other: &Found) -> bool {
        let unreached = self
            .broke
            .as_ref()
            .is_some_and(|(chapter, _)| *chapter <= other.chapter);
        unreached || self.found.iter().any(|found| found.is_at(other))
    }
}

impl Found {
    fn is_at(&self, other: &Self) -> bool {
        self.chapter == other.chapter && self.difference.label == other.difference.label
    }
}

/// Plays a story once, and again if there was something.
pub async fn judged(story: &str, mut play: impl AsyncFnMut() -> Playing) -> Verdict {
    let first = play().await;
    if first.is_clean() {
        return Verdict {
            facts: first.facts,
            seconds: first.seconds,
            ..Verdict::default()
        };
    }
    let why = first.broke.as_ref().map_or_else(
        || format!("{} unexplained differences", first.found.len()),
        |(chapter, why)| format!("it broke off in chapter {chapter}: {why}"),
    );
    println!("    {story}: {why}: played again");
    for found in &first.found {
        println!("    {story}: first playing: {}", found.whole());
    }
    let second = play().await;
    both(story, &first, second)
}

fn both(story: &str, first: &Playing, second: Playing) -> Verdict {
    let mut verdict = Verdict {
        facts: first.facts + second.facts,
        seconds: first.seconds + second.seconds,
        ..Verdict::default()
    };
    let only_first = first
        .found
        .iter()
        .filter(|found| !second.found.iter().any(|other| other.is_at(found)));
    for found in only_first.cloned() {
        // what the second playing did not reach it did not refute
        if second.may_hold(&found) {
            verdict.lasting.push(found);
        } else {
            verdict.once.push(found);
        }
    }
    for found in second.found {
        if first.may_hold(&found) {
            verdict.lasting.push(found);
        } else {
            verdict.once.push(found);
        }
    }
    let ends = [&first.broke, &second.broke];
    let list = if ends.iter().all(|end| end.is_some()) {
        &mut verdict.lasting
    } else {
        &mut verdict.once
    };
    for (chapter, why) in ends.into_iter().flatten() {
        list.push(Found {
            story: story.to_owned(),
            chapter: *chapter,
            difference: Difference {
                label: "broke off".into(),
                real: why.clone(),
                simulated: String::new(),
            },
        });
    }
    verdict
}

impl Found {
    /// Everything of it.
    pub fn whole(&self) -> String {
        let Difference {
            label,
            real,
            simulated,
        } = &self.difference;
        format!(
            "chapter {}: {label}\n        real:      {real}\n        simulated: {simulated}",
            self.chapter
        )
    }
}

/// One line, cut where it is long.
impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference {
            label,
            real,
            simulated,
        } = &self.difference;
        let cut = |text: &str, width: usize| -> String {
            let mut short: String = text.chars().take(width).collect();
            if short.len() < text.len() {
                short.push('…');
            }
            short.replace('\n', " ")
        };
        let shown = format!("{} {}: {}", self.story, self.chapter, cut(label, 100));
        let left = WIDTH.saturating_sub(shown.chars().count()) / 2;
        write!(
            f,
            "{shown} | {} | {}",
            cut(real, left),
            cut(simulated, left)
        )
    }
}

/// The text of a failure: one line a difference, [`LINES`] in all; a truncated log shows its end, so it is short.
pub fn compact(mut lines: Vec<String>) -> String {
    let more = lines.len().saturating_sub(LINES);
    if more > 0 {
        lines.truncate(LINES);
        lines.push(format!("and {more} more, above"));
    }
    lines.join("\n")
}
