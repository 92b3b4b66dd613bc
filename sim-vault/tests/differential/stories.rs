//! Rules as stories: calls, and what both real servers answered to them. The live servers are compared with the model on them
//! before any random calls, and `tests/it/stories.rs` holds the model to them where there is no server.
//!
//! A story begins with `## title`; a call is written as [`Call`] writes it; below it may stand `=> STATUS`, alone or with the
//! error's text or with JSON that the answer's `data` must contain, and before the status `openbao` or `vault` if the two differ.

use serde_json::Value;
use sim_vault::Flavour;

use crate::call::Call;

const FILES: [(&str, &str); 6] = [
    ("approle", include_str!("../stories/approle.txt")),
    ("jwt", include_str!("../stories/jwt.txt")),
    ("logins", include_str!("../stories/logins.txt")),
    ("engines", include_str!("../stories/engines.txt")),
    ("secrets", include_str!("../stories/secrets.txt")),
    ("rights", include_str!("../stories/rights.txt")),
];

/// Calls on a fresh server.
pub struct Story {
    /// File and title.
    pub title: String,
    pub steps: Vec<Step>,
}

/// One call and what came of it.
pub struct Step {
    pub call: Call,
    answers: Vec<Answer>,
}

struct Answer {
    flavour: Option<Flavour>,
    status: u64,
    /// Empty, an error's text, or JSON.
    said: String,
}

/// All stories.
pub fn all() -> Vec<Story> {
    FILES
        .iter()
        .flat_map(|(name, text)| read(name, text))
        .collect()
}

fn read(name: &str, text: &str) -> Vec<Story> {
    let mut stories: Vec<Story> = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(title) = line.strip_prefix("## ") {
            stories.push(Story {
                title: format!("{name}: {title}"),
                steps: Vec::new(),
            });
            continue;
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let story = stories.last_mut().expect("a title comes first");
        match line.strip_prefix("=> ") {
            Some(answer) => {
                let step = story.steps.last_mut().expect("a call comes first");
                step.answers.push(Answer::read(answer));
            }
            None => story.steps.push(Step {
                call: Call::parse(line).unwrap_or_else(|| panic!("no call: {line}")),
                answers: Vec::new(),
            }),
        }
    }
    stories
}

impl Answer {
    fn read(line: &str) -> Self {
        let (flavour, line) = match line.split_once(' ') {
            Some(("openbao", rest)) => (Some(Flavour::OpenBao), rest),
            Some(("vault", rest)) => (Some(Flavour::Vault), rest),
            _ => (None, line),
        };
        let (status, said) = line.split_once(' ').unwrap_or((line, ""));
        Self {
            flavour,
            status: status
                .parse()
                .unwrap_or_else(|_| panic!("no status: {line}")),
            said: said.to_owned(),
        }
    }
}

impl Step {
    /// Whether this is what the servers of the flavour answered; the error shows what was said instead.
    pub fn check(&self, flavour: Flavour, status: u64, body: &Value) -> Result<(), String> {
        let mut wanted = self.answers.iter();
        let Some(wanted) = wanted.find(|a| a.flavour.is_none_or(|f| f == flavour)) else {
            return Ok(());
        };
        let error = body["errors"][0].as_str().unwrap_or_default();
        // in one line, as the files have it
        let error = error.replace('\n', "\\n").replace('\t', "\\t");
        let fits = match serde_json::from_str::<Value>(&wanted.said) {
            Ok(part) => contains(&body["data"], &part),
            Err(_) => error == wanted.said,
        };
        if fits && status == wanted.status {
            return Ok(());
        }
        let shown = if error.is_empty() {
            body["data"].to_string()
        } else {
            error
        };
        Err(format!(
            "{}\n=> {flavour:?} {status} {shown}\nand not {} {}",
            self.call, wanted.status, wanted.said
        ))
    }
}

/// Objects may have more members than wanted.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(name, p)| whole.get(name).is_some_and(|w| contains(w, p))),
        _ => whole == part,
    }
}
