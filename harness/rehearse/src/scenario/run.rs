//! A file played as a scenario: one seed, one verdict.
//!
//! The verdict is about the fault: it shows, the procedure's commands find it, the remedy brings the cluster back, and no
//! rule was broken but those that the file names. That other expectations of the procedure do not hold meanwhile is the
//! point of a fault, and no failure.

use std::sync::Arc;
use std::time::Duration;

use kms_apiserver_api::Trouble;
use kms_scenario::verdict::{FaultOutcome, InvariantOutcome, Outcome, Verdict};
use sha2::{Digest, Sha256};

use super::Row;
use crate::options::Options;
use crate::report::{Expectation, FaultStory, Part, Rehearsal, Rule};

/// What came of it.
#[derive(Clone, Debug)]
pub struct Played {
    /// Everything that was shown.
    pub rehearsal: Rehearsal,
    /// The verdict.
    pub outcome: Outcome,
    /// How long it was on the cluster's clock.
    pub simulated: Duration,
}

/// The wish for a file and a seed.
pub fn options(row: &Arc<Row>, seed: u64) -> Options {
    let table = &row.form.rehearsal;
    Options {
        procedure: table.procedure,
        category: None,
        fault: Some((Arc::clone(row), row.at)),
        mode: table.mode,
        nodes: table.nodes.unwrap_or(3),
        objects: table.objects,
        seed,
    }
}

/// Plays a file. The same seed gives the same digest.
///
/// # Errors
/// The rehearsal could not go on, so there is no verdict.
pub fn play(row: &Arc<Row>, seed: u64) -> Result<Played, Trouble> {
    let rehearsal = crate::rehearse(&options(row, seed))?;
    let outcome = outcome(row, &rehearsal)?;
    let seconds = rehearsal.parts.iter().map(|part| part.simulated_seconds);
    Ok(Played {
        outcome,
        simulated: Duration::from_secs(seconds.sum()),
        rehearsal,
    })
}

/// Judges what was played.
///
/// # Errors
/// It cannot be written, which the digest is made of.
pub fn outcome(row: &Row, rehearsal: &Rehearsal) -> Result<Outcome, Trouble> {
    let story = rehearsal.parts.iter().find_map(|part| part.fault.as_ref());
    let hits = story.map_or(0, shown);
    let mut invariants = Vec::new();
    if let Some(story) = story {
        // a fault that nothing shows of proves nothing, whatever is well afterwards
        let missing = if hits == 0 { "unseen" } else { "broken" };
        let detected = story
            .detected
            .iter()
            .map(|it| (it.command.as_str(), &it.expectation));
        let seen = story.seen.iter().map(|it| ("", it));
        for (command, it) in seen.chain(detected) {
            let (kind, text) = match command {
                "" => ("seen", it.text.clone()),
                _ => ("detected", format!("{command}: {}", it.text)),
            };
            invariants.push(invariant(kind, text, it, missing));
        }
        let recovered = story.recovered.iter();
        invariants
            .extend(recovered.map(|it| invariant("recovered", it.text.clone(), it, "broken")));
    }
    invariants.extend(rules(row, &rehearsal.parts));
    let verdict = if invariants.iter().any(|it| it.result == "broken") {
        Verdict::Fail
    } else if hits == 0 || invariants.iter().any(|it| it.result == "unseen") {
        Verdict::Inconclusive
    } else {
        Verdict::Pass
    };
    Ok(Outcome {
        verdict,
        digest: digest(rehearsal)?,
        faults: vec![FaultOutcome {
            id: row.id().to_owned(),
            hits,
            at_least: 1,
            refused: None,
        }],
        invariants,
    })
}

/// How much shows of a fault.
fn shown(story: &FaultStory) -> u64 {
    let detected = story.detected.iter().map(|it| &it.expectation);
    let held = story.seen.iter().chain(detected).filter(|it| it.held);
    held.count() as u64
}

fn invariant(
    kind: &str,
    text: String,
    expectation: &Expectation,
    missing: &'static str,
) -> InvariantOutcome {
    InvariantOutcome {
        id: format!("{kind}:{text}"),
        result: if expectation.held { "held" } else { missing },
        detail: expectation.found.clone(),
        at: None,
    }
}

/// Every rule: it holds, or the file says that the fault breaks it; then it must be seen broken.
fn rules(row: &Row, parts: &[Part]) -> Vec<InvariantOutcome> {
    let judge = |rule: Rule| {
        let broken = parts.iter().any(|part| part.rules.contains(&rule));
        let (mode, result) = match (row.breaks().contains(&rule), broken) {
            (false, false) => ("always", "held"),
            (false, true) => ("always", "broken"),
            (true, true) => ("sometimes-not", "held"),
            (true, false) => ("sometimes-not", "unseen"),
        };
        let texts = parts.iter().flat_map(|part| &part.broken);
        let detail = match result {
            "broken" => texts.cloned().collect::<Vec<_>>().join("; "),
            _ => String::new(),
        };
        InvariantOutcome {
            id: format!("{mode}:{}", rule.word()),
            result,
            detail,
            at: None,
        }
    };
    Rule::ALL.into_iter().map(judge).collect()
}

/// SHA-256 over everything that was shown.
fn digest(rehearsal: &Rehearsal) -> Result<String, Trouble> {
    let text = serde_json::to_vec(rehearsal).map_err(|error| Trouble::new(error.to_string()))?;
    let hash = Sha256::digest(&text);
    Ok(hash.iter().map(|byte| format!("{byte:02x}")).collect())
}
