//! What scenarios on a real plugin say to the requirements that need a fault under it.
//!
//! Each run gives [`Facts`]; [`results`] judges those of all runs together. A run that could not show something says
//! nothing, and where no run could the result has no assertion.

use std::collections::BTreeSet;
use std::time::Duration;

use kms_history::chaos::{Entry, OpKind, Phase, VaultPath};

use crate::invariant::view::{Fault, Op, Sample, View};
use crate::{Check, CheckResult, CheckStatus};

/// From the backend's heal to a healthy check (KMS2-AVAIL-01): a 10 s poll, two timeouts of 3 s and slack.
const HEALTHY_WITHIN: Duration = Duration::from_secs(20);
/// The bound of KMS2-AVAIL-07 for logins: so many of one plugin in this time.
const LOGINS: (u64, Duration) = (12, Duration::from_secs(120));
/// The bound for all requests that no call of an API server asks for: neither Encrypt nor Decrypt.
const OTHERS: (u64, Duration) = (120, Duration::from_secs(60));
/// Runs that are written out; the rest is counted.
const SHOWN: usize = 3;

/// Faults after which the backend itself is as before: what people call an outage.
const OUTAGES: [&str; 10] = [
    "vault-seal",
    "vault-stop",
    "vault-hold",
    "vault-error",
    "vault-garbage",
    "vault-cut-body",
    "vault-storage-failed",
    "net-partition",
    "net-partition-one-way",
    "net-hold",
];

/// Checks that only scenarios answer.
pub const CHECKS: &[Check] = &[
    Check {
        id: "healthy-after-heal",
        requirements: &["KMS2-AVAIL-01"],
        title: "after an outage of the backend the API server soon has a healthy check",
        stimuli: &[],
        judge: |_, _| Vec::new(),
    },
    Check {
        id: "refused-writes",
        requirements: &["KMS2-AVAIL-02"],
        title: "writes that were refused during faults, and for how long",
        stimuli: &[],
        judge: |_, _| Vec::new(),
    },
    Check {
        id: "no-storm",
        requirements: &["KMS2-AVAIL-07"],
        title: "through faults and heal the backend sees a bounded number of requests",
        stimuli: &[],
        judge: |_, _| Vec::new(),
    },
];

/// What one run shows of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// `<scenario>#<seed>`.
    pub run: String,
    /// From the backend's heal to each node's healthy check; nothing where no outage ended, or the plugin was touched.
    pub healthy_after: Option<Healthy>,
    /// Writes that did not succeed while faults were there or after them, and from the first of them to the next success.
    pub refused: Option<(u64, Duration)>,
    /// The most logins and the most other requests of one plugin in their windows.
    pub most: Option<(u64, u64)>,
}

/// How an API server's checks went after an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Healthy {
    /// On the slowest node after this.
    After(Duration),
    /// On some node not before the run ended.
    Never,
}

impl Facts {
    /// What this history shows.
    #[must_use]
    pub fn of(run: String, history: &[Entry]) -> Self {
        let view = View::of(history, None);
        Self {
            run,
            healthy_after: healthy_after(&view),
            refused: refused(&view),
            most: most(history),
        }
    }
}

/// The kind of a fault, which its words begin with.
fn kind<'a>(fault: &Fault<'a>) -> &'a str {
    fault.what.split(' ').next().unwrap_or_default()
}

fn healthy_after(view: &View<'_>) -> Option<Healthy> {
    let faults = view.faults();
    let outage = |fault: &Fault<'_>| OUTAGES.contains(&kind(fault)) && !fault.hinders_rpcs;
    // Another fault beside it may be what still keeps the plugin from serving.
    if !faults.iter().all(outage) {
        return None;
    }
    let healed = faults.iter().filter_map(|fault| fault.recovered).max()?;
    // A fresh server of the audit is another one.
    let audit = view.phase(Phase::Audit).unwrap_or(Duration::MAX);
    let mut polls = view.polls();
    polls.retain(|poll| poll.at < audit);
    let nodes: BTreeSet<u32> = polls.iter().map(|poll| poll.node).collect();
    let mut slowest = Duration::ZERO;
    for node in nodes {
        let own: Vec<&Sample<'_>> = polls.iter().filter(|poll| poll.node == node).collect();
        let Some(last_bad) = own.iter().rposition(|poll| !poll.good()) else {
            continue;
        };
        let Some(good) = own.get(last_bad + 1) else {
            return Some(Healthy::Never);
        };
        slowest = slowest.max(good.at.saturating_sub(healed));
    }
    (!polls.is_empty()).then_some(Healthy::After(slowest))
}

fn refused(view: &View<'_>) -> Option<(u64, Duration)> {
    let (from, _) = view.span(Phase::Fault)?;
    let ops = view.ops();
    let writes: Vec<&Op<'_>> = ops
        .iter()
        .filter(|op| op.kind == OpKind::Write && op.start >= from && op.end.is_some())
        .collect();
    let bad = |op: &&&Op<'_>| op.acknowledged().is_none();
    let first = writes.iter().find(bad).map(|op| op.start);
    let last = writes.iter().rfind(bad).map(|op| op.start);
    let lasted = match (first, last) {
        (Some(first), Some(last)) => {
            let next = writes.iter().find(|op| op.start > last);
            next.map_or(last, |op| op.start) - first
        }
        _ => Duration::ZERO,
    };
    let count = writes.iter().filter(bad).count() as u64;
    (!writes.is_empty()).then_some((count, lasted))
}

fn most(history: &[Entry]) -> Option<(u64, u64)> {
    let nodes: BTreeSet<Option<u32>> = history.iter().map(|entry| entry.node).collect();
    let mut most = None;
    for node in nodes.into_iter().flatten() {
        let view = View::of(history, Some(node));
        let calls = view.vault_calls();
        if calls.is_empty() {
            continue;
        }
        let count = |wanted: fn(VaultPath) -> bool, per| {
            let counts = calls.iter().map(|(at, window)| {
                let own = window.iter().filter(|(path, _)| wanted(**path));
                (*at, own.map(|(_, count)| count).sum::<u64>())
            });
            most_in(&counts.collect::<Vec<_>>(), per)
        };
        let logins = count(|path| path == VaultPath::Login, LOGINS.1);
        let others = count(
            |path| !matches!(path, VaultPath::Encrypt | VaultPath::Decrypt),
            OTHERS.1,
        );
        let (before, also) = most.unwrap_or_default();
        most = Some((logins.max(before), others.max(also)));
    }
    most
}

/// The most in windows that lie wholly in a time of this length.
fn most_in(counts: &[(Duration, u64)], per: Duration) -> u64 {
    let start = |index: usize| {
        index
            .checked_sub(1)
            .map_or(Duration::ZERO, |at| counts[at].0)
    };
    let (mut first, mut sum, mut most) = (0, 0, 0);
    for (index, (end, count)) in counts.iter().enumerate() {
        sum += count;
        while first <= index && *end - start(first) > per {
            sum -= counts[first].1;
            first += 1;
        }
        most = most.max(sum);
    }
    most
}

/// Judges all runs together.
#[must_use]
pub fn results(facts: &[Facts]) -> Vec<CheckResult> {
    let [healthy, refused, storm] = CHECKS else {
        unreachable!("there are three");
    };
    vec![
        judged(
            healthy,
            format!(
                "a healthy check of every API server within {HEALTHY_WITHIN:?} of the backend's heal"
            ),
            "what an outage costs after it is over",
            facts.iter().filter_map(|facts| {
                let (held, seen) = match facts.healthy_after? {
                    Healthy::After(took) => (took <= HEALTHY_WITHIN, format!("after {took:.1?}")),
                    Healthy::Never => (false, "not before the end".to_owned()),
                };
                Some((facts.run.as_str(), held, seen))
            }),
        ),
        judged(
            refused,
            "a measurement: nothing is required".to_owned(),
            "a measurement; load, faults and the phase of the API server's polls decide it",
            facts.iter().filter_map(|facts| {
                let (count, lasted) = facts.refused?;
                let seen = format!("{count} refused over {lasted:.0?}");
                Some((facts.run.as_str(), true, seen))
            }),
        ),
        judged(
            storm,
            format!(
                "of one plugin at most {} logins in {:?}, and {} requests other than encrypt and decrypt in {:?}",
                LOGINS.0, LOGINS.1, OTHERS.0, OTHERS.1
            ),
            "a backend that comes back must not be felled by those who waited for it",
            facts.iter().filter_map(|facts| {
                let (logins, others) = facts.most?;
                let held = logins <= LOGINS.0 && others <= OTHERS.0;
                Some((
                    facts.run.as_str(),
                    held,
                    format!("{logins} logins, {others} others"),
                ))
            }),
        ),
    ]
}

fn judged<'a>(
    check: &Check,
    expected: String,
    why: &str,
    runs: impl Iterator<Item = (&'a str, bool, String)>,
) -> CheckResult {
    let runs: Vec<_> = runs.collect();
    let failed: Vec<_> = runs.iter().filter(|(_, held, _)| !held).collect();
    let told = if failed.is_empty() {
        runs.iter().collect()
    } else {
        failed.clone()
    };
    let shown = told.iter().take(SHOWN);
    let shown: Vec<_> = shown
        .map(|(run, _, seen)| format!("{run}: {seen}"))
        .collect();
    let rest = told.len().saturating_sub(SHOWN);
    let more = (rest > 0).then(|| format!(", and {rest} more"));
    let status = match (runs.len(), failed.len()) {
        (0, _) => CheckStatus::NotRun,
        (_, 0) => CheckStatus::Pass,
        _ => CheckStatus::Fail,
    };
    CheckResult {
        check_id: check.id.to_owned(),
        requirement: check.requirements[0].to_owned(),
        status,
        assertions: runs.len() as u64,
        expected: vec![expected],
        observed: format!(
            "{} of {} runs: {}{}",
            told.len(),
            runs.len(),
            shown.join("; "),
            more.unwrap_or_default()
        ),
        explanation: if runs.is_empty() {
            "no-scenario: no scenario of this run shows it".to_owned()
        } else {
            why.to_owned()
        },
        evidence: Vec::new(),
        scenario_runs: told.iter().map(|(run, ..)| (*run).to_owned()).collect(),
        duration_ns: 0,
    }
}
