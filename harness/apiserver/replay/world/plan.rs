//! What the recording says beforehand: which dials fail, what the real jitter was, when timers fired.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use kms_apiserver::seam::DialError;

use super::super::trace::Trace;
use super::Dial;

/// When the recorded client dialled, and with what outcome; and the jitter that it drew.
pub(super) fn dial_plan(trace: &Trace) -> (BTreeMap<String, VecDeque<Dial>>, VecDeque<f64>) {
    let mut plan: BTreeMap<String, VecDeque<Dial>> = BTreeMap::new();
    let mut all: Vec<(Duration, String, bool)> = Vec::new();
    for (index, event) in trace.events.iter().enumerate() {
        let text = event.text("msg");
        let Some((_, address)) = text.rsplit_once("addr=\"") else {
            continue;
        };
        let address = address.trim_end_matches('"').to_owned();
        let outcome = if let Some((_, rest)) = text.split_once("err=\"") {
            let why = rest.split("\" addr=").next().unwrap_or("").to_owned();
            Some(Err(DialError::Connect(why)))
        } else if trace.scenario == "start-silent-listener" {
            None
        } else if trace.scenario == "start-accept-then-close" {
            let next = trace.events[index..]
                .iter()
                .find(|event| event.text("msg").contains("failed health check"));
            let broken = next.is_some_and(|next| next.text("msg").contains("broken pipe"));
            Some(Err(DialError::Preface(if broken {
                format!(
                    "transport: failed to write client preface: write unix @->{address}: write: broken pipe"
                )
            } else {
                "error reading server preface: connection reset by peer".to_owned()
            })))
        } else {
            Some(Ok(()))
        };
        all.push((event.at, address.clone(), outcome == Some(Ok(()))));
        plan.entry(address).or_default().push_back(Dial {
            at: event.at,
            outcome,
        });
    }
    let loads: Vec<Duration> = trace
        .events
        .iter()
        .filter(|event| event.kind == "load")
        .map(|event| event.at)
        .collect();
    let held = if trace.scenario == "start-silent-listener" {
        20.0
    } else {
        0.0
    };
    let mut jitter = Vec::new();
    let mut by_address: BTreeMap<String, (u32, Duration)> = BTreeMap::new();
    for (index, (at, address, good)) in all.iter().enumerate() {
        let (failures, last) = by_address.entry(address.clone()).or_default();
        if loads.iter().any(|load| *last < *load && load <= at) {
            *failures = 0;
        }
        *last = *at;
        if *failures > 0 {
            let next = all[index + 1..]
                .iter()
                .find(|(_, other, _)| other == address);
            let pause = next.map_or(0.0, |(next, _, _)| (*next - *at).as_secs_f64() - held);
            let exact = 1.6f64.powi(*failures as i32).min(120.0);
            jitter.push(((pause / exact - 1.0) / 0.2).clamp(-1.0, 0.999));
        }
        *failures = if *good { 0 } else { *failures + 1 };
    }
    (plan, jitter.into())
}

/// When timers fired: Status calls, dials after a failure, failed checks.
pub(super) fn fired(trace: &Trace) -> Vec<Duration> {
    let mut fired: Vec<Duration> = trace
        .events
        .iter()
        .filter_map(|event| {
            let timed = event.text("method") == "Status"
                || event.text("msg").contains("failed health check");
            let ran_out = event.kind == "read" && event.text("error").contains("DeadlineExceeded");
            match (timed, ran_out) {
                (true, _) => Some(event.at),
                (_, true) => Some(event.at + event.millis("took_ms")?),
                _ => None,
            }
        })
        .collect();
    fired.sort();
    fired
}
