//! What a run proved: faults with their hits, invariants with their results, one verdict.

use std::fmt::Write as _;
use std::time::Duration;

use kms_history::chaos::{Entry, Event, FaultStep};
use kms_judge::invariant::{self, Expectation, judge};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::plan::Plan;

/// The verdict of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything held, and every fault touched something.
    Pass,
    /// The same, but a server no longer shows the fault of its own that the scenario is about. Nothing has failed.
    NotShown,
    /// It could not run here.
    NotApplicable,
    /// Nothing was violated, but something that must be seen was not.
    Inconclusive,
    /// Something was violated.
    Fail,
}

impl Verdict {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::NotShown => "not_shown",
            Self::NotApplicable => "not_applicable",
            Self::Inconclusive => "inconclusive",
            Self::Fail => "fail",
        }
    }
}

/// One fault of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FaultOutcome {
    /// Its id.
    pub id: String,
    /// What it touched.
    pub hits: u64,
    /// What it had to touch at least.
    pub at_least: u64,
    /// Why it could not be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// One invariant of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InvariantOutcome {
    /// `always:no-wrong-bytes` and the like.
    pub id: String,
    /// `held`, `broken`, `unseen`; of a server's own fault `shown`, `not_shown` or `unseen`.
    pub result: &'static str,
    /// What was seen.
    pub detail: String,
    /// When it broke, in seconds after the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<f64>,
}

/// What a run proved.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// The verdict.
    pub verdict: Verdict,
    /// SHA-256 over the history's lines.
    pub digest: String,
    /// Faults in the order of their time.
    pub faults: Vec<FaultOutcome>,
    /// Invariants.
    pub invariants: Vec<InvariantOutcome>,
}

impl Outcome {
    /// The invariants that broke.
    pub fn broken(&self) -> impl Iterator<Item = &InvariantOutcome> {
        self.invariants
            .iter()
            .filter(|invariant| invariant.result == "broken")
    }
}

/// The digest of a history.
#[must_use]
pub fn digest(history: &[Entry]) -> String {
    let mut hash = Sha256::new();
    let mut line = String::new();
    for entry in history {
        line.clear();
        writeln!(line, "{entry}").expect("a String takes everything");
        hash.update(&line);
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Judges a run's history by its plan.
#[must_use]
pub fn outcome(plan: &Plan, history: &[Entry]) -> Outcome {
    let faults: Vec<_> = plan
        .faults
        .iter()
        .map(|fault| {
            let steps = history.iter().filter_map(|entry| match &entry.event {
                Event::Fault { id, step } if *id == fault.id => Some(step),
                _ => None,
            });
            let mut outcome = FaultOutcome {
                id: fault.id.clone(),
                hits: 0,
                at_least: fault.hits,
                refused: None,
            };
            for step in steps {
                match step {
                    FaultStep::Hits(hits) => outcome.hits = *hits,
                    FaultStep::Refused(why) => outcome.refused = Some(why.clone()),
                    _ => {}
                }
            }
            outcome
        })
        .collect();
    let judged = |expectation: &Expectation, (held, broken): (&'static str, &'static str)| {
        let seconds = |at: Duration| at.as_secs_f64();
        let (result, detail, at) = match judge(expectation, history) {
            invariant::Result::Held(text) => (held, text, None),
            invariant::Result::Broken { at, text } => (broken, text, Some(seconds(at))),
            invariant::Result::Nothing(text) => ("unseen", text, None),
        };
        InvariantOutcome {
            id: expectation.to_string(),
            result,
            detail,
            at,
        }
    };
    let own = plan.expectations.iter();
    let upstream = plan.upstream.iter();
    let invariants: Vec<_> = own
        .map(|it| judged(it, ("held", "broken")))
        .chain(upstream.map(|it| judged(it, ("shown", "not_shown"))))
        .collect();
    let any = |result| {
        invariants
            .iter()
            .any(|invariant: &InvariantOutcome| invariant.result == result)
    };
    let untouched = faults
        .iter()
        .any(|fault| fault.refused.is_some() || fault.hits < fault.at_least);
    let verdict = if any("broken") {
        Verdict::Fail
    } else if untouched || any("unseen") {
        Verdict::Inconclusive
    } else if any("not_shown") {
        Verdict::NotShown
    } else {
        Verdict::Pass
    };
    Outcome {
        verdict,
        digest: digest(history),
        faults,
        invariants,
    }
}
