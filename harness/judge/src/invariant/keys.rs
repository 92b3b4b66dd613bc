//! What plugins say of their key.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Result;
use super::pairs::behind;
use super::view::{Sample, View};

/// The keys that Status named, by node, each with the time it was first named in a row.
fn sequences<'a>(samples: &[Sample<'a>]) -> BTreeMap<u32, Vec<(Duration, &'a str)>> {
    let mut sequences: BTreeMap<u32, Vec<(Duration, &str)>> = BTreeMap::new();
    for sample in samples {
        if let Some(key) = sample.key() {
            let sequence = sequences.entry(sample.node).or_default();
            if sequence.last().is_none_or(|(_, last)| *last != key) {
                sequence.push((sample.at, key));
            }
        }
    }
    sequences
}

const NO_STATUS: &str = "no Status was ok";

/// The key_id changes no more often than the key.
pub(super) fn never_flaps(view: &View<'_>) -> Result {
    let faults = view.faults();
    let sequences = sequences(&view.statuses());
    if sequences.is_empty() {
        return Result::Nothing(NO_STATUS.to_owned());
    }
    for (node, sequence) in &sequences {
        for (changes, (at, key)) in (0_u32..).zip(sequence) {
            let allowed: u32 = faults
                .iter()
                .filter(|fault| fault.injected.is_some_and(|injected| injected <= *at))
                .map(|fault| fault.key_changes)
                .sum();
            if changes > allowed {
                return Result::Broken {
                    at: *at,
                    text: format!(
                        "node {node} names a new key for the {changes}. time, now {key:?}; the key changed {allowed} times"
                    ),
                };
            }
        }
    }
    Result::Held(format!("{} changes seen", changes(&sequences)))
}

fn changes(sequences: &BTreeMap<u32, Vec<(Duration, &str)>>) -> usize {
    sequences.values().map(|keys| keys.len() - 1).sum()
}

/// A key_id that was replaced does not come back.
pub(super) fn never_returns(view: &View<'_>) -> Result {
    let sequences = sequences(&view.statuses());
    if sequences.is_empty() {
        return Result::Nothing(NO_STATUS.to_owned());
    }
    for (node, sequence) in &sequences {
        let mut seen = BTreeSet::new();
        for (at, key) in sequence {
            if !seen.insert(key) {
                return Result::Broken {
                    at: *at,
                    text: format!("node {node} names {key:?} again after another one"),
                };
            }
        }
    }
    Result::Held(format!("{} changes seen", changes(&sequences)))
}

/// Status and Encrypt do not name different keys for longer than `within`.
pub(super) fn agrees(view: &View<'_>, within: Duration) -> Result {
    match behind(view, within, Sample::key) {
        (_, Some(behind)) => Result::Broken {
            at: behind.sample.at,
            text: format!(
                "on node {} Status names {:?} and Encrypt {:?} since {:?}",
                behind.sample.node, behind.status, behind.encrypt, behind.since
            ),
        },
        (0, None) => Result::Nothing("there was no pair of a Status and an Encrypt".to_owned()),
        (compared, None) => Result::Held(format!("{compared} pairs")),
    }
}

/// Everything stored is under the key that Status names last.
pub(super) fn stored_under_current(view: &View<'_>) -> Result {
    let current: BTreeSet<_> = sequences(&view.statuses())
        .into_values()
        .filter_map(|keys| keys.last().map(|(_, key)| *key))
        .collect();
    if current.is_empty() {
        return Result::Nothing(NO_STATUS.to_owned());
    }
    let facts = view.audit();
    if facts.is_empty() {
        return Result::Nothing("nothing was stored, or there was no audit".to_owned());
    }
    let old: Vec<_> = facts
        .iter()
        .filter(|(_, fact)| {
            !fact
                .key_id
                .as_deref()
                .is_some_and(|key| current.contains(key))
        })
        .collect();
    match old.first() {
        None => Result::Held(format!("{} objects", facts.len())),
        Some((at, fact)) => Result::Broken {
            at: *at,
            text: format!(
                "{} of {} objects are not; first {} under {:?}",
                old.len(),
                facts.len(),
                fact.object,
                fact.key_id.as_deref().unwrap_or("no key")
            ),
        },
    }
}
