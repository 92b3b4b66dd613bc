//! The table of a replay: per kind of event, how many were alike.

use std::collections::BTreeMap;

/// How one event compared.
pub enum Outcome {
    /// The model did the same.
    Alike,
    /// It did something else.
    Different(String),
    /// It is not the model's business, for this reason.
    Elsewhere(&'static str),
}

/// What came of a replay.
pub struct Table {
    /// The trace's name.
    pub scenario: String,
    /// By kind: events alike.
    pub alike: BTreeMap<String, usize>,
    /// By kind: what was different.
    pub different: BTreeMap<String, Vec<String>>,
    /// By reason: events that another part answers for.
    pub elsewhere: BTreeMap<&'static str, usize>,
}

impl Table {
    pub(super) fn new(scenario: &str) -> Self {
        Table {
            scenario: scenario.to_owned(),
            alike: BTreeMap::new(),
            different: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
        }
    }

    pub(super) fn note(&mut self, kind: &str, outcome: Outcome) {
        match outcome {
            Outcome::Alike => *self.alike.entry(kind.to_owned()).or_default() += 1,
            Outcome::Different(why) => {
                self.different.entry(kind.to_owned()).or_default().push(why);
            }
            Outcome::Elsewhere(why) => *self.elsewhere.entry(why).or_default() += 1,
        }
    }

    /// Events alike, all kinds together.
    pub fn alike_count(&self) -> usize {
        self.alike.values().sum()
    }

    /// Events that were different, all kinds together.
    pub fn different_count(&self) -> usize {
        self.different.values().map(Vec::len).sum()
    }
}

/// A text without what random or the clock puts into it: uids and times of expiry.
pub fn normal(text: &str, keep_times: bool) -> String {
    // The blank after `proto:` differs by build.
    let text = text.replace('\u{a0}', " ");
    let bytes = text.as_bytes();
    let mut out = String::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if is_uuid(rest) {
            out.push_str("UID");
            at += 36;
        } else if !keep_times && is_time(rest) {
            out.push_str("TIME");
            at += 20;
        } else {
            let length = (1..5)
                .find(|length| text.is_char_boundary(at + length))
                .unwrap_or(1);
            out.push_str(&text[at..at + length]);
            at += length;
        }
    }
    debug_assert!(at == bytes.len());
    out
}

fn is_uuid(text: &str) -> bool {
    shaped(text, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")
}

fn is_time(text: &str) -> bool {
    shaped(text, "dddd-dd-ddTdd:dd:ddZ") && !text.starts_with("0001")
}

fn shaped(text: &str, shape: &str) -> bool {
    text.len() >= shape.len()
        && text
            .bytes()
            .zip(shape.bytes())
            .all(|(byte, wanted)| match wanted {
                b'x' => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
                b'd' => byte.is_ascii_digit(),
                wanted => byte == wanted,
            })
}
