//! What a transcript shows besides verdicts: latencies, properties, how the subject called itself.
//! Pure functions of a history.

use std::collections::BTreeMap;

use kms_history::chaos::{Entry, Event, Phase as ChaosPhase, RpcEnd};
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

/// What the subject was seen to have and to bear, in words that reports of several plugins share.
pub fn capabilities(history: &History) -> Vec<String> {
    let annotated = history.calls().any(|call| {
        let answer = call.answer().map(|answer| &answer.body);
        matches!(answer, Some(Body::Encrypt { annotations, .. }) if !annotations.is_empty())
    });
    let hook = |name: &str| {
        history.events().iter().any(|event| {
            matches!(&event.what, What::Hook(step)
                if step.hook == name && step.error.is_none() && step.effect_ns.is_some())
        })
    };
    let seen = |stimulus: &str| {
        history
            .calls_of(stimulus)
            .any(|call| call.answer().is_some())
    };
    let measured = |stimulus: &str| {
        let mut events = history.stimulus(stimulus);
        events.any(|event| matches!(event.what, What::Measured(_)))
    };
    [
        ("annotations", annotated),
        ("metrics", measured(stimuli::SERIES)),
        ("restart", hook("restart")),
        ("rotation", hook("rotate")),
        ("several-nodes", seen(stimuli::NODES)),
    ]
    .into_iter()
    .filter(|(_, has)| *has)
    .map(|(name, _)| name.to_owned())
    .collect()
}

/// Samples of latencies, in nanoseconds.
pub type Samples = BTreeMap<LatencyKey, Vec<u64>>;

/// Adds the harness's own calls in a run of a scenario, by phase. Their operations are `scenario/status` and
/// `scenario/encrypt`: they wait between other calls, and are not those of the checks.
pub fn scenario_latency(arm: Arm, history: &[Entry], samples: &mut Samples) {
    let mut phase = None;
    for entry in history {
        let (op, took, end) = match &entry.event {
            Event::Phase(begins) => {
                phase = match begins {
                    ChaosPhase::Baseline => Some(Phase::Baseline),
                    ChaosPhase::Fault => Some(Phase::Fault),
                    ChaosPhase::Heal | ChaosPhase::Liveness => Some(Phase::Heal),
                    ChaosPhase::Settle | ChaosPhase::Audit => None,
                };
                continue;
            }
            Event::Status { took, end } => ("scenario/status", took, end),
            Event::Encrypted { took, end } => ("scenario/encrypt", took, end),
            _ => continue,
        };
        let Some(phase) = phase else { continue };
        let outcome = match end {
            RpcEnd::Ok { .. } => "ok".to_owned(),
            RpcEnd::Failed { code, .. } => format!("grpc-{}", code.to_lowercase()),
        };
        let key = LatencyKey {
            op: op.to_owned(),
            arm,
            phase,
            outcome,
        };
        let took = took.as_nanos().try_into().unwrap_or(u64::MAX);
        samples.entry(key).or_default().push(took);
    }
}

/// The series of all samples.
pub fn series(samples: Samples) -> Vec<LatencySeries> {
    let series = samples.into_iter();
    series
        .filter_map(|(key, samples)| LatencySeries::from_samples(key, samples, None))
        .collect()
}

/// Latencies of ordinary calls, by method and outcome. Calls that present something damaged or
/// odd have a case and are left out.
pub fn latency(history: &History) -> Vec<LatencySeries> {
    let mut samples = Samples::new();
    for call in history.calls().filter(|call| call.sent.case.is_empty()) {
        if let (Some(answered), Some(outcome)) = (call.answered, outcome(&call)) {
            let key = LatencyKey {
                op: call.sent.method.to_lowercase(),
                arm: Arm::Process,
                phase: Phase::Baseline,
                outcome,
            };
            samples.entry(key).or_default().push(answered.elapsed_ns);
        }
    }
    series(samples)
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
