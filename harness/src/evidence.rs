//! What a transcript shows besides verdicts: latencies, properties, how the subject called itself.
//! Pure functions of a history.

use std::collections::BTreeMap;

use kms_history::{Body, Call, History, Outcome, What};
use kms_judge::stimuli;
use kms_report::model::{Arm, LatencyKey, LatencySeries, Phase, Property};

use crate::bundle::sha256;

/// `version` of the first Status that was answered.
pub fn status_version(history: &History) -> Option<String> {
    first_status(history).map(|(version, _)| version)
}

/// Digest of the first key_id that Status gave.
pub fn key_id_hash(history: &History) -> Option<String> {
    first_status(history).map(|(_, key_id)| format!("sha256:{}", sha256(key_id.as_bytes())))
}

fn first_status(history: &History) -> Option<(String, String)> {
    history.calls().find_map(|call| match &call.answer()?.body {
        Body::Status {
            version, key_id, ..
        } => Some((version.text.clone(), key_id.text.clone())),
        _ => None,
    })
}

/// Latencies of ordinary calls, by method and outcome. Calls that present something damaged or
/// odd have a case and are left out.
pub fn latency(history: &History) -> Vec<LatencySeries> {
    let mut samples: BTreeMap<(String, String), Vec<u64>> = BTreeMap::new();
    for call in history.calls().filter(|call| call.sent.case.is_empty()) {
        if let (Some(answered), Some(outcome)) = (call.answered, outcome(&call)) {
            let op = call.sent.method.to_lowercase();
            samples
                .entry((op, outcome))
                .or_default()
                .push(answered.elapsed_ns);
        }
    }
    samples
        .into_iter()
        .filter_map(|((op, outcome), samples)| {
            let key = LatencyKey {
                op,
                arm: Arm::Process,
                phase: Phase::Baseline,
                outcome,
            };
            LatencySeries::from_samples(key, samples, None)
        })
        .collect()
}

fn outcome(call: &Call<'_>) -> Option<String> {
    match call.outcome()? {
        Outcome::Ok(_) => Some("ok".to_owned()),
        Outcome::Error { code, .. } => Some(format!("grpc-{code}")),
        _ => None,
    }
}

/// The round trips as a property: how many, of which lengths, and the smallest one that failed.
pub fn properties(history: &History) -> Vec<Property> {
    let mut distribution: BTreeMap<String, u64> = BTreeMap::new();
    let mut cases = 0;
    for call in history.calls_of(stimuli::ROUND_TRIPS) {
        if let kms_history::Request::Encrypt { plaintext } = &call.sent.request {
            cases += 1;
            *distribution
                .entry(format!("{} bytes", plaintext.len))
                .or_default() += 1;
        }
    }
    let minimal = history
        .stimulus(stimuli::ROUND_TRIPS)
        .find_map(|event| match &event.what {
            What::Minimal(minimal) => Some(minimal),
            _ => None,
        });
    if cases == 0 {
        return Vec::new();
    }
    vec![Property {
        id: "round-trip-gives-the-plaintext-back".to_owned(),
        cases,
        discarded: 0,
        distribution,
        seed: history.header().seed,
        shrinks: minimal.map_or(0, |minimal| minimal.steps),
        minimal: minimal.map(|minimal| minimal.input.to_string()),
    }]
}
