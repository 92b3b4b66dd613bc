//! Where two tellings of a story part.

use std::fmt;

use serde_json::Value;

use crate::story::Told;

/// The first difference between two tellings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// At which step it shows, from 1.
    pub step: usize,
    at: String,
    real: String,
    other: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            at, real, other, ..
        } = self;
        write!(f, "{at}:\n  real  {real}\n  other {other}")
    }
}

/// The first difference; nothing if there is none.
pub fn difference(real: &Told, other: &Told) -> Option<Difference> {
    let longer = real.lines.len().max(other.lines.len());
    if let Some(at) = (0..longer).find(|at| real.lines.get(*at) != other.lines.get(*at)) {
        let step = [real, other]
            .iter()
            .filter_map(|told| told.lines.get(at)?["step"].as_u64())
            .min();
        let show = |told: &Told| match (told.lines.get(at), &told.broke) {
            (Some(line), _) => line.to_string(),
            (None, Some(broke)) => broke.clone(),
            (None, None) => "(nothing more)".to_owned(),
        };
        let step = step.unwrap_or_default();
        let step = usize::try_from(step).expect("stories are short");
        return Some(Difference {
            step,
            at: format!("step {step}, line {}", at + 1),
            real: show(real),
            other: show(other),
        });
    }
    let step = real
        .lines
        .iter()
        .filter(|line| line["what"] == "do")
        .count();
    if real.broke != other.broke {
        let show = |told: &Told| told.broke.clone().unwrap_or("came to its end".to_owned());
        return Some(Difference {
            step: step + 1,
            at: "at the end".to_owned(),
            real: show(real),
            other: show(other),
        });
    }
    let mut names = real.texts.keys().chain(other.texts.keys());
    let name = names.find(|name| real.texts.get(*name) != other.texts.get(*name))?;
    let show = |told: &Told| {
        told.texts
            .get(name)
            .map_or("(none)".to_owned(), Value::to_string)
    };
    Some(Difference {
        step,
        at: format!("target config {name}"),
        real: show(real),
        other: show(other),
    })
}
