//! Health checks of the script. Whose answer a check gets may be a race of the recording's threads.

use std::time::Duration;

use kms_apiserver::encryption::Encryption;
use kms_apiserver::health::{Check, Query};

use super::super::compare::{Outcome, normal};
use super::super::trace::{Event, Trace};
use super::words::{near, same};
use super::{Job, Op, World};

impl<'t> World<'t> {
    pub(super) fn probe(&mut self, event: &'t Event) {
        let server = self.current;
        let now = self.at();
        let op = self.next_op();
        let query = Query::parse(event.text("path"));
        let direct = event.body["path"].is_null();
        let runs = direct || {
            let model = self.servers[server].model.as_ref();
            let names = model.map_or(Vec::new(), Encryption::check_names);
            names.iter().any(|name| query.wants(name))
        };
        if !runs {
            return self.probed(server, event, Ok(()));
        }
        // The one trace with impatient probers.
        let took = event.millis("took_ms").unwrap_or_default();
        let impatient =
            self.trace.scenario == "health-cancel" && (90..110).contains(&took.as_millis());
        let own = event.text("body").contains("DeadlineExceeded");
        let deadline = (impatient && own).then(|| self.now + Duration::from_millis(100));
        let Some(model) = &mut self.servers[server].model else {
            let why = "no server to probe".to_owned();
            return self.table.note("healthz", Outcome::Different(why));
        };
        let probe = model.probe(now, deadline);
        self.ops.insert(
            op,
            Op::Probe {
                event,
                server,
                probe,
            },
        );
        self.servers[server].probes.insert(probe, op);
        if impatient && !own {
            self.schedule(Duration::from_millis(100), Job::CancelProbe(op));
        }
        self.poll(server);
    }

    /// Which of several checks that began at one time came first is a race: takes the one that
    /// ended like this.
    pub(super) fn settle(&mut self, event: &'t Event, ours: &str) -> &'t Event {
        let trace: &'t Trace = self.trace;
        let rivals = trace.events.iter().enumerate().filter(|(index, other)| {
            other.kind == "healthz"
                && other.text("path") == event.text("path")
                && other.at.abs_diff(event.at) < Duration::from_millis(1)
                && !self.taken.contains(index)
        });
        let rivals: Vec<_> = rivals.collect();
        let fits = rivals
            .iter()
            .find(|(_, other)| normal(other.text("body"), false) == ours)
            .or(rivals.first());
        match fits {
            Some((index, other)) => {
                self.taken.insert(*index);
                other
            }
            None => event,
        }
    }

    pub(super) fn probed(&mut self, server: usize, event: &'t Event, result: Result<(), String>) {
        let took = self.now - event.at.min(self.now);
        let recorded = event.millis("took_ms").unwrap_or_default();
        if event.body["path"].is_null() {
            let ours = result.err().unwrap_or_else(|| "<nil>".to_owned());
            let outcome = same(
                &format!("check at {:?}", event.at),
                &normal(&ours, false),
                &normal(event.text("error"), false),
            );
            return self.table.note("healthz", outcome);
        }
        let names = self.servers[server].model.as_ref();
        let names = names.map_or(Vec::new(), Encryption::check_names);
        let checks = names.into_iter().map(|name| Check {
            name,
            result: result.clone(),
        });
        let checks: Vec<Check> = checks.collect();
        let answer = Query::parse(event.text("path")).answer(&checks);
        let ours = normal(&answer.body, false);
        let event = self.settle(event, &ours);
        let theirs = normal(event.text("body"), false);
        let outcome = if ours != theirs && !same_race(&ours, &theirs) {
            Outcome::Different(format!(
                "{} at {:?}: {ours:?}, recorded {theirs:?}",
                event.text("path"),
                event.at
            ))
        } else if Some(u64::from(answer.status)) != event.body["status"].as_u64() {
            Outcome::Different(format!("status {}", answer.status))
        } else {
            near("check took", took, recorded, self.late())
        };
        self.table.note("healthz", outcome);
    }
}

/// Two sides time the same call: which of them notices first is a race (KMS2-CONN-06). And of two
/// faulty annotations either may come first.
pub(super) fn same_race(ours: &str, theirs: &str) -> bool {
    let swapped = theirs
        .replace("Invalid value: \"A\"", "Invalid value: \"?\"")
        .replace("Invalid value: \"B\"", "Invalid value: \"A\"")
        .replace("Invalid value: \"?\"", "Invalid value: \"B\"");
    if swapped == ours {
        return true;
    }
    const FROM: &str = "stream terminated by RST_STREAM with error code: CANCEL";
    theirs.replace(FROM, "context deadline exceeded") == ours
}
