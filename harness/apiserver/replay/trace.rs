//! A recorded trace, as its file says it.

use std::time::Duration;

use serde_json::Value;

/// One recording.
pub struct Trace {
    /// Its name.
    pub scenario: String,
    /// The configuration texts.
    pub configs: Vec<String>,
    /// The events, in the file's order.
    pub events: Vec<Event>,
    /// The minor version of the recorded server.
    pub minor: u8,
    /// Whether it was recorded in virtual time: without connections, and exact.
    pub is_virtual: bool,
}

/// One event.
pub struct Event {
    /// When it began, after the script's zero.
    pub at: Duration,
    /// What it is.
    pub kind: String,
    /// Everything else.
    pub body: Value,
}

impl Trace {
    /// Reads a file's text.
    pub fn parse(text: &str) -> Self {
        let file: Value = serde_json::from_str(text).expect("a trace is JSON");
        let scenario = file["scenario"].as_str().expect("a name").to_owned();
        let is_virtual = scenario.starts_with("virtual-");
        let library = file["modules"]["k8s.io/apiserver"]
            .as_str()
            .unwrap_or("v0.37.2");
        let minor = library
            .split('.')
            .nth(1)
            .and_then(|minor| minor.parse().ok());
        let configs = file["configs"].as_array().into_iter().flatten();
        let mut events: Vec<Event> = file["events"]
            .as_array()
            .expect("events")
            .iter()
            .map(Event::read)
            .collect();
        // What the script did before its zero may be sorted just behind the load.
        for event in &mut events {
            let early = event.at < Duration::from_millis(5);
            if early && event.kind == "script" && event.text("text") == "plugin listens" {
                event.at = Duration::ZERO;
            }
        }
        Trace {
            configs: configs
                .filter_map(|config| Some(config.as_str()?.to_owned()))
                .collect(),
            scenario,
            events,
            minor: minor.unwrap_or(37),
            is_virtual,
        }
    }
}

impl Event {
    fn read(event: &Value) -> Self {
        let exact = event["at_ns"].as_u64().map(Duration::from_nanos);
        let millis = event["t_ms"].as_f64().expect("a time");
        let mut at = exact.unwrap_or_else(|| Duration::from_secs_f64(millis / 1000.0));
        // The one event that is told in words how late it is.
        if event["note"]
            .as_str()
            .is_some_and(|note| note.ends_with("and 1 ns"))
        {
            at += Duration::from_nanos(1);
        }
        Event {
            at,
            kind: event["kind"].as_str().expect("a kind").to_owned(),
            body: event.clone(),
        }
    }

    /// A text of it, or nothing.
    pub fn text(&self, field: &str) -> &str {
        self.body[field].as_str().unwrap_or("")
    }

    /// Milliseconds of it.
    pub fn millis(&self, field: &str) -> Option<Duration> {
        let millis = self.body[field].as_f64()?;
        Some(Duration::from_secs_f64(millis.max(0.0) / 1000.0))
    }

    /// Bytes of it, given in hexadecimal.
    pub fn bytes(&self, field: &str) -> Option<Vec<u8>> {
        unhex(self.body[field].as_str()?)
    }

    /// Whether it says that all went well.
    pub fn ok(&self) -> bool {
        self.body["ok"] == true
    }
}

/// Bytes from hexadecimal digits.
pub fn unhex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
