//! What is compared at a trace's end or at its counts: metrics, log lines, closed connections.

use std::collections::BTreeMap;
use std::time::Duration;

use kms_apiserver::encryption::Encryption;

use super::super::compare::{Outcome, normal};
use super::super::trace::Event;
use super::health::same_race;
use super::words::{near, same};
use super::{LATE, World};

impl<'t> World<'t> {
    pub(super) fn count(&mut self, event: &Event) {
        let outcome = match event.text("what") {
            "resources with a transformer" => {
                let model = self.servers[self.current].model.as_ref();
                let names: Vec<String> = model
                    .map_or(Vec::new(), Encryption::resources)
                    .iter()
                    .map(ToString::to_string)
                    .collect();
                same(
                    "resources",
                    &format!("[{}]", names.join(" ")),
                    event.text("resources"),
                )
            }
            // Each of the calls is compared by itself.
            "rpcs" => Outcome::Alike,
            _ => Outcome::Elsewhere("counted, not listed: a test of its own repeats it"),
        };
        self.table.note("count", outcome);
    }

    pub(super) fn metrics(&mut self, event: &Event) {
        if matches!(self.trace.scenario.as_str(), "decrypt-herd" | "metrics-lru") {
            let why = "counted, not listed: a test of its own repeats it";
            return self.table.note("metrics", Outcome::Elsewhere(why));
        }
        let mut pages = self.past.clone();
        for server in &self.servers {
            pages.extend(server.model.as_ref().map(Encryption::metrics));
        }
        let mut ours: BTreeMap<String, f64> = BTreeMap::new();
        for line in pages.iter().flat_map(|page| page.lines()) {
            let Some((name, value)) = comparable(line) else {
                continue;
            };
            let value: f64 = value.parse().expect("a number");
            let sum = name.contains("_total") || name.contains("_count");
            let known = ours.entry(name.to_owned()).or_default();
            *known = if sum { *known + value } else { value };
        }
        let lines = event.body["lines"].as_array().into_iter().flatten();
        let lines = lines.filter_map(|line| comparable(line.as_str()?));
        let theirs: BTreeMap<String, f64> = lines
            .map(|(name, value)| (name.to_owned(), value.parse().expect("a number")))
            .collect();
        let mut names: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let outcome = match (ours.get(name), theirs.get(name)) {
                (Some(ours), Some(theirs)) if ours == theirs => Outcome::Alike,
                (ours, theirs) => Outcome::Different(format!(
                    "at {:?}: {name} {ours:?}, recorded {theirs:?}",
                    self.now
                )),
            };
            self.table.note("metrics", outcome);
        }
    }

    /// Each recorded line of those that the model writes too must be among its lines.
    pub(super) fn compare_logs(&mut self) {
        const OURS: [&str; 10] = [
            "\"kms plugin failed health check probe\"",
            "\"encrypting content using envelope service\"",
            "\"decrypting content using envelope service\"",
            "\"encrypting content using DEK\"",
            "\"successfully rotated DEK\"",
            "\"failed to decrypt data\"",
            "\"failed to encrypt data\"",
            "\"Configure KMS provider\"",
            "\"Unhandled Error\" err=\"",
            "\"Encryption config has not changed",
        ];
        let mut ours: BTreeMap<String, Vec<Duration>> = BTreeMap::new();
        for (at, text) in &self.logs {
            ours.entry(without_request(&normal(text, false)))
                .or_default()
                .push(*at);
        }
        let listed = !matches!(self.trace.scenario.as_str(), "decrypt-herd" | "metrics-lru");
        for event in self.trace.events.iter().filter(|event| event.kind == "log") {
            let text = event.text("msg");
            if !OURS.iter().any(|start| text.starts_with(start)) {
                let why = if text.contains("dialed") || text.contains("failed to create connection")
                {
                    // Compared as dials.
                    continue;
                } else if text.starts_with("Trace[") {
                    "traces of slow transformations: not modelled (KMS2-LOG-03)"
                } else {
                    "log lines of other components"
                };
                self.table.note("log", Outcome::Elsewhere(why));
                continue;
            }
            if text.contains("decrypting content") && !listed {
                let why = "counted, not listed: a test of its own repeats it";
                self.table.note("log", Outcome::Elsewhere(why));
                continue;
            }
            let times = ours.get_mut(&without_request(&normal(text, false)));
            // What the real plugin's call took is part of the time of the line after it.
            let slack = LATE;
            let fits = times.and_then(|times| {
                let at = times.iter().position(|at| at.abs_diff(event.at) <= slack)?;
                Some(times.remove(at))
            });
            let outcome = match fits {
                Some(_) => Outcome::Alike,
                None if deadline_line(text) && self.deadline_logged(event) => Outcome::Alike,
                None => Outcome::Different(format!("line at {:?}: {text}", event.at)),
            };
            self.table.note("log", outcome);
        }
    }

    pub(super) fn deadline_logged(&self, event: &Event) -> bool {
        let theirs = normal(event.text("msg"), false);
        self.logs.iter().any(|(at, text)| {
            at.abs_diff(event.at) <= LATE && same_race(&normal(text, false), &theirs)
        })
    }

    /// Connections that the server closed by itself, in the traces that are about that.
    pub(super) fn compare_closes(&mut self) {
        let about = [
            "conn-drain",
            "reload-basic",
            "reload-retry",
            "reload-sick-5s",
            "reload-sick-40s",
        ];
        let closes = self
            .trace
            .events
            .iter()
            .filter(|event| event.kind == "conn" && event.text("why") == "client closed (EOF)");
        let closes: Vec<Duration> = closes.map(|event| event.at).collect();
        let others = self
            .trace
            .events
            .iter()
            .filter(|event| event.kind == "conn")
            .count();
        if !about.contains(&self.trace.scenario.as_str()) {
            for _ in 0..others {
                let why =
                    "accepted and closed connections: seen as dials, cuts and the script's ends";
                self.table.note("conn", Outcome::Elsewhere(why));
            }
            return;
        }
        for _ in closes.len()..others {
            let why = "accepted and closed connections: seen as dials, cuts and the script's ends";
            self.table.note("conn", Outcome::Elsewhere(why));
        }
        for (index, theirs) in closes.iter().enumerate() {
            let outcome = match self.closed.get(index) {
                Some(ours) => near("close", *ours, *theirs, LATE),
                None => Outcome::Different(format!("close at {theirs:?} was never made")),
            };
            self.table.note("conn", outcome);
        }
    }
}

/// A log line without the request's fields: the recording's callers gave them or not.
pub(super) fn without_request(text: &str) -> String {
    text.split(" group=").next().unwrap_or(text).to_owned()
}

pub(super) fn deadline_line(text: &str) -> bool {
    text.contains("DeadlineExceeded")
}

/// A line of metrics that does not depend on how long things took.
pub(super) fn comparable(line: &str) -> Option<(&str, &str)> {
    let timed = ["_sum", "_bucket", "timestamp_seconds"];
    if line.starts_with('#') || timed.iter().any(|part| line.contains(part)) {
        return None;
    }
    line.rsplit_once(' ')
}
