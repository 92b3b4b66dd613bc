//! Where two tellings of a story part.

use serde_json::Value;

use crate::story::Told;

/// The first difference, with the step at which it shows; nothing if there is none.
pub fn difference(real: &Told, model: &Told) -> Option<String> {
    let longer = real.lines.len().max(model.lines.len());
    let lines = (0..longer).find(|at| real.lines.get(*at) != model.lines.get(*at));
    if let Some(at) = lines {
        let step = real.lines[..at.min(real.lines.len())]
            .iter()
            .rev()
            .find(|line| line["what"] == "do")
            .map_or("(no step)", |line| {
                line["text"].as_str().unwrap_or_default()
            });
        let show = |told: &Told| match (told.lines.get(at), &told.broke) {
            (Some(line), _) => line.to_string(),
            (None, Some(broke)) => broke.clone(),
            (None, None) => "(nothing more)".to_owned(),
        };
        return Some(format!(
            "at {step:?}, line {at}:\n  real  {}\n  model {}",
            show(real),
            show(model)
        ));
    }
    if real.broke != model.broke {
        let show = |broke: &Option<String>| broke.clone().unwrap_or("came to its end".to_owned());
        return Some(format!(
            "at the end:\n  real  {}\n  model {}",
            show(&real.broke),
            show(&model.broke)
        ));
    }
    let mut names = real.texts.keys().chain(model.texts.keys());
    let name = names.find(|name| real.texts.get(*name) != model.texts.get(*name))?;
    let show = |told: &Told| {
        told.texts
            .get(name)
            .map_or("(none)".to_owned(), Value::to_string)
    };
    Some(format!(
        "target config {name}:\n  real  {}\n  model {}",
        show(real),
        show(model)
    ))
}
